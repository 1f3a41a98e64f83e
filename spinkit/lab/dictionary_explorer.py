"""Any run's dictionary of fits, to be looked through and to be cut by other thresholds."""

import time
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from spinkit.body import Body
from spinkit.data import Samples
from spinkit.fits import SOURCES
from spinkit.job import Peek, peek, runs
from spinkit.lab.canvas import canvas
from spinkit.lab.dictionary_data import SORTS, Distance, Ledger, ShapeLimit, Threshold, distance, ranked
from spinkit.lab.dictionary_figures import Rules, Timeline, log_span, still
from spinkit.lab.dictionary_pictures import Album, cards
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.sheets import jpeg

ON_PAGE = 6
"""Cards on a page of the gallery."""
WIDE = ipywidgets.Layout(width="560px")
LABEL = {"description_width": "110px"}


class Shown:
    """A run as the explorer shows it: its numbers sorted, and its people where they are in memory.

    Args:
        run: what its folder told.
        people: its training set, or None: then there are no pictures, and nothing is known of the truth.
        body: that the fits are of.
    """

    def __init__(self, run: Peek, people: Samples | None, body: Body | None):
        self.ledger = Ledger.of(run)
        self.people = people if people is not None and len(people) == len(run.fits) else None
        self.truth: Distance | None = None
        if self.people is not None and body is not None:
            self.truth = distance(self.ledger, self.people, body)
        self.threshold, self.limit = Threshold(self.ledger, self.truth), ShapeLimit(self.ledger, self.truth)
        self.album = Album(self.people, body, run.fits) if self.people is not None and body is not None else None
        self.seen = self.ledger.seen_error()
        self.source = run.fits.source(run.spin["steps"]).numpy()
        self.far = {} if self.truth is None else dict(zip(self.truth.key.tolist(), self.truth.pa_mpjpe, strict=True))
        self._orders: dict[str, np.ndarray] = {}

    def order(self, sort: str) -> np.ndarray:
        """Everyone in the order of a gallery, sorted when first asked for."""
        if sort not in self._orders:
            self._orders[sort] = ranked(self.ledger, sort, self.truth)
        return self._orders[sort]

    def page(self, sort: str, number: int, threshold: float) -> np.ndarray:
        """The samples of one page of the gallery."""
        if sort == "at the threshold":
            return self.threshold.edge(threshold, ON_PAGE)
        return self.order(sort)[number * ON_PAGE : (number + 1) * ON_PAGE]

    def pages(self, sort: str) -> int:
        """How many pages a gallery has."""
        return 1 if sort == "at the threshold" else max(1, -(-len(self.order(sort)) // ON_PAGE))

    def caption(self, key: int, threshold: float) -> str:
        """A card's two lines."""
        error, began = float(self.ledger.error[key]), float(self.ledger.began[key])
        far = f", {self.far[key]:.0f} mm off the truth" if key in self.far else ""
        refused = "" if self.seen[key] < threshold else ", refused"
        return f"person {key}: {SOURCES[self.source[key]]}{refused}\n{square(began)} → {square(error)} px²{far}"

    def sentence(self, threshold: float, limit: float) -> str:
        """What the two sliders say, in words."""
        kept, n = self.threshold.kept(threshold), len(self.ledger)
        says = [f"<b>{kept.count}</b> of {n} fits supervise ({100 * kept.share:.1f} %)"]
        if self.truth is not None:
            says.append(
                f"they are <b>{kept.pa_mpjpe:.1f} mm</b> (PA-MPJPE) and {kept.mpjpe:.1f} mm (MPJPE) off the truth"
            )
            if self.truth.known > len(self.truth.key):
                says.append(f"measured on {len(self.truth.key)} of {self.truth.known}")
        affected, away = self.limit.affected(limit), self.limit.away(limit)
        rule = f"betas of {affected} people are not believed"
        if np.isfinite(away[0]):
            rule += f"; theirs were {away[0]:.2f} off the true ones, zeros are {away[1]:.2f} off"
        return "; ".join(says) + f".<br>{rule[0].upper()}{rule[1:]}."


class _Board:
    """The handles, and what each of them moves."""

    def __init__(self, run: Peek, people: Samples | None, body: Body | None, folder: Path):
        self.first, self.people, self.body, self.folder = run, people, body, folder
        self.timeline, self.rules = Timeline(), Rules()
        self._make_handles(run.folder)
        self._show(self.first)
        for chart in (self.timeline, self.rules):
            chart.figure = canvas(chart.figure)
        answer = {handle: answering(self.trouble, act) for handle, act in self._acts().items()}
        for handle, act in answer.items():
            handle.on_click(act) if isinstance(handle, ipywidgets.Button) else handle.observe(act, names="value")

    def _make_handles(self, run: Path) -> None:
        self.trouble, self.state, self.says = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.run = ipywidgets.Dropdown(options=self._runs(run), value=run, description="run", layout=WIDE, style=LABEL)
        self.again = ipywidgets.Button(description="look again", tooltip="read the run's folder anew")
        self.cut = ipywidgets.FloatLogSlider(
            base=10, step=0.01, description="threshold", readout_format=".1f", layout=WIDE, style=LABEL
        )
        self.beta = ipywidgets.FloatSlider(
            3.0, min=0, max=6, step=0.05, description="limit of betas", layout=WIDE, style=LABEL
        )
        self.sort = ipywidgets.Dropdown(options=SORTS, description="gallery", style=LABEL)
        self.leaf = ipywidgets.BoundedIntText(
            1, min=1, max=1, description="page", layout=ipywidgets.Layout(width="150px")
        )
        self.person = ipywidgets.BoundedIntText(
            0, min=0, max=0, description="person", layout=ipywidgets.Layout(width="170px")
        )
        self.gallery = ipywidgets.Image(format="jpeg", layout=ipywidgets.Layout(max_width="100%"))
        self.run.add_class("spinkit-choose-run")
        self.cut.add_class("spinkit-slider-threshold")
        self.sort.add_class("spinkit-choose-sort")

    def _runs(self, run: Path) -> list[tuple[str, Path]]:
        found = [one for one in runs(self.folder) if one.resolve() != run.resolve()]
        return [(str(one), one) for one in (run, *found)]

    def _acts(self) -> dict:
        return {
            self.run: lambda change: self._show(peek(change["new"])),
            self.again: lambda button: self._show(peek(self.run.value), again=True),
            self.cut: lambda change: self._cut(),
            self.beta: lambda change: self._limit(),
            self.sort: lambda change: self._turn_to_first(),
            self.leaf: lambda change: self._draw_page(),
            self.person: lambda change: self.timeline.show_person(self.shown.ledger, self.person.value),
        }

    def _show(self, run: Peek, again: bool = False) -> None:
        """Set every figure to a run, and every handle too, unless the same run was only looked at again."""
        known = run.same_people(self.first)
        self.shown = Shown(run, self.people if known else None, self.body)
        ledger, spin = self.shown.ledger, run.spin
        state = "finished" if run.finished else f"training, read at {time.strftime('%H:%M:%S')}"
        note = "" if self.shown.album else "; without its people: no pictures, no truth"
        self.state.value = f"{state}, step {run.steps_done} of {spin['steps']}, {len(ledger.key)} updates{note}"
        cut = self.cut.value if again else spin["reprojection_threshold"]
        span = log_span(self.shown.threshold, cut)
        self.timeline.show_run(ledger)
        self.rules.show_run(self.shown.threshold, self.shown.limit, span)
        # Together, for in between a new lower end could lie above the old upper one.
        with self.cut.hold_trait_notifications():
            self.cut.min, self.cut.max, self.cut.value = *span, cut
        self.person.max = len(ledger) - 1
        if not again:
            self.beta.value = spin["betas_limit"]
            self.person.value = int(self.shown.order("gained most")[0])
        self.timeline.show_person(ledger, self.person.value)
        self._cut()
        self._limit()
        self._turn_to_first()

    def _cut(self) -> None:
        self.rules.show_threshold(self.shown.threshold, self.cut.value)
        self._say()
        if self.sort.value == "at the threshold":
            self._draw_page()

    def _limit(self) -> None:
        self.rules.show_limit(self.shown.limit, self.beta.value)
        self._say()

    def _say(self) -> None:
        self.says.value = self.shown.sentence(self.cut.value, self.beta.value)

    def _turn_to_first(self) -> None:
        # Pictures follow the threshold when it rests: on its way it would leave a queue of them behind.
        self.cut.continuous_update = self.sort.value != "at the threshold"
        self.leaf.max = self.shown.pages(self.sort.value)
        if self.leaf.value == 1:
            self._draw_page()
        else:
            self.leaf.value = 1

    def _draw_page(self) -> None:
        keys = self.shown.page(self.sort.value, self.leaf.value - 1, self.cut.value)
        lines = [self.shown.caption(int(key), self.cut.value) for key in keys]
        picture = self.shown.album.sheet(keys, lines) if self.shown.album else cards([], lines, 1)
        self.gallery.value = jpeg(picture)

    def box(self) -> ipywidgets.VBox:
        """All handles in one column."""
        row = ipywidgets.HBox
        parts = [
            row([self.run, self.again]),
            self.state,
            self.timeline.figure,
            row([self.cut, self.beta]),
            self.says,
            self.rules.figure,
            row([self.sort, self.leaf, self.person]),
            self.gallery,
            self.trouble,
        ]
        return ipywidgets.VBox(parts).add_class("spinkit-dictionary")

    def draw(self) -> Figure:
        """The still, of what the handles say now."""
        return still(self.shown.ledger, self.shown.threshold, self.cut.value, self.person.value)


def square(error: float) -> str:
    """An error in px^2, with as many digits as are worth reading."""
    return f"{error:.0f}" if error >= 100 else f"{error:.1f}"


def dictionary_explorer(
    run: str | Path, people: Samples | None = None, body: Body | None = None, folder: str | Path | None = None
) -> Explorer:
    """Everything that a run's dictionary tells, for a run that is finished or still trains.

    Args:
        run: its folder.
        people: its training set, as `job.prepare` gives it; pictures and the truth need it. Other runs share it, if
            they are of the same people.
        body: that the fits are of.
        folder: where other runs are looked for; the folder that holds the run, if not given.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a snapshot.
        ValueError: the people are not those of the run.
    """
    first = peek(run)
    if people is not None and len(people) != len(first.fits):
        raise ValueError(
            f"{run}: a run of {len(first.fits)} people, but {len(people)} were given; give those that it trains on"
        )
    board = _Board(first, people, body, Path(folder) if folder else first.folder.parent)
    alt = "errors of all fits over time; errors cut by the threshold; what the threshold does to the supervision"
    return Explorer(board.box(), board.draw, alt)
