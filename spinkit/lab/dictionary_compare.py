"""Two runs of the same people: who got better, who got worse, and what they look like."""

from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from spinkit.body import Body
from spinkit.data import Samples
from spinkit.job import Peek, peek
from spinkit.lab.canvas import canvas
from spinkit.lab.dictionary_data import Ledger, distance
from spinkit.lab.dictionary_figures import LEAST, TICKS, blank
from spinkit.lab.dictionary_pictures import Album, cards
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.sheets import jpeg
from spinkit.view.style import BLUE, INK, VERMILION, css, page

ERROR, TRUTH = ("error in the picture (px²)", "distance from the truth (mm)")
BETTER = "better in the second"
LISTS = (BETTER, "worse in the second")
DOTS = 2000
"""With more people than this, the chart counts them in squares and draws dots for those listed alone."""
SQUARES = 50
LISTED = 4
"""People on a page of a list."""
LARGE = 20
"""Pixels of the captions' font in the still, which a page shows at three quarters of its size."""


@dataclass(frozen=True)
class Pairing:
    """One number of the same samples in two runs, with the samples in the order of what they gained."""

    key: Int[np.ndarray, "n"]
    first: Float[np.ndarray, "n"]
    second: Float[np.ndarray, "n"]

    def listed(self, which: str, number: int) -> Int[np.ndarray, "k"]:
        """Places in this record of a page of a list; a page holds nobody who belongs to the other list."""
        with np.errstate(invalid="ignore"):
            gain = np.nan_to_num(self.first - self.second, nan=0.0, posinf=np.inf, neginf=-np.inf)
        gain = gain if which == BETTER else -gain
        order = np.argsort(-gain, kind="stable")[number * LISTED : (number + 1) * LISTED]
        return order[gain[order] > 0]

    def pages(self, which: str) -> int:
        """How many pages a list has."""
        count = (self.second < self.first).sum() if which == BETTER else (self.second > self.first).sum()
        return max(1, -(-int(count) // LISTED))

    def sentence(self) -> str:
        """How many gained and lost, and the medians."""
        n, better, worse = len(self.key), (self.second < self.first).sum(), (self.second > self.first).sum()
        medians = f"{np.median(self.first):.1f} and {np.median(self.second):.1f}"
        return f"<b>{better}</b> of {n} are better in the second run, {worse} worse; medians {medians}"


def paired(first: Ledger, second: Ledger, people: Samples | None, body: Body | None) -> dict[str, Pairing]:
    """Both runs' errors, and where the truth is in memory the distances from it, by the measure's name."""
    found = {ERROR: Pairing(np.arange(len(first)), first.error, second.error)}
    truth = distance(first, people, body) if people is not None and body is not None else None
    if truth is not None:
        other = distance(second, people, body, truth.key)
        found[TRUTH] = Pairing(truth.key, truth.pa_mpjpe, other.pa_mpjpe)
    return found


class _Comparison:
    def __init__(self, runs: tuple[Peek, Peek], people: Samples | None, body: Body | None):
        self.names = [one.folder.name for one in runs]
        first, second = (Ledger.of(one) for one in runs)
        self.pairs = paired(first, second, people, body)
        self.album = Album(people, body, runs[0].fits, runs[1].fits) if people is not None and body else None
        self.figure = self._new_figure()
        self.measure = ipywidgets.Dropdown(options=list(self.pairs), value=list(self.pairs)[-1], description="by")
        self.which = ipywidgets.Dropdown(options=LISTS, description="show")
        self.leaf = ipywidgets.BoundedIntText(1, min=1, max=1, description="page")
        self.says, self.trouble = ipywidgets.HTML(), ipywidgets.HTML()
        self.gallery = ipywidgets.Image(format="jpeg", layout=ipywidgets.Layout(max_width="100%"))
        self._show()
        self.figure = canvas(self.figure)
        self.measure.observe(answering(self.trouble, lambda change: self._show()), names="value")
        self.which.observe(answering(self.trouble, lambda change: self._turn_to_first()), names="value")
        self.leaf.observe(answering(self.trouble, lambda change: self._list()), names="value")

    def _new_figure(self) -> go.Figure:
        figure = blank([(f"first: {self.names[0]}", f"second: {self.names[1]}")], height=430)
        figure.add_heatmap(colorscale="Blues", showscale=False, hovertemplate="%{z} people<extra></extra>")
        dots = {"mode": "markers", "hovertemplate": "person %{text}<extra></extra>"}
        figure.add_scatter(**dots, marker={"size": 5, "color": css(BLUE), "opacity": 0.6}, name="people")
        figure.add_scatter(mode="lines", line={"color": INK, "dash": "dot"}, name="no change", hoverinfo="skip")
        figure.add_scatter(**dots, marker={"size": 10, "color": css(VERMILION)}, name="listed")
        figure.update_layout(width=560)
        return figure

    @property
    def pair(self) -> Pairing:
        """What is being looked at."""
        return self.pairs[self.measure.value]

    def _show(self) -> None:
        """Another measure."""
        pair, scaled = self.pair, self._scaled(self.pair)
        low, high = float(min(v.min() for v in scaled)), float(max(v.max() for v in scaled))
        many, squares, people, even = len(pair.key) > DOTS, *self.figure.data[:3]
        edges = np.linspace(low, high, SQUARES + 1)
        with self.figure.batch_update():
            # One batch a trace, as `canvas` asks.
            counts = np.histogram2d(*scaled, bins=(edges, edges))[0].T if many else np.zeros((0, 0))
            squares.x = squares.y = (edges[1:] + edges[:-1]) / 2 if many else []
            squares.z = np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.3, np.nan)
        with self.figure.batch_update():
            people.x, people.y, people.text = ([], [], []) if many else (*scaled, pair.key)
        with self.figure.batch_update():
            even.x = even.y = [low, high]
            for axis, name in zip((self.figure.layout.xaxis, self.figure.layout.yaxis), self.names, strict=True):
                logarithmic = self.measure.value == ERROR
                axis.tickvals = np.log10(TICKS) if logarithmic else None
                axis.ticktext = [f"{t:g}" for t in TICKS] if logarithmic else None
                axis.title.text = f"{name}: {self.measure.value}"
        self.says.value = pair.sentence()
        self._turn_to_first()

    def _scaled(self, pair: Pairing) -> tuple[np.ndarray, np.ndarray]:
        """Both runs' numbers as the axes have them: errors by their logarithm, useless fits at the far end."""
        both = [pair.first, pair.second]
        if self.measure.value != ERROR:
            return both[0], both[1]
        top = max(float(v[np.isfinite(v)].max(initial=10 * LEAST)) for v in both)
        return tuple(np.log10(np.clip(v, LEAST, 2 * top)) for v in both)

    def _turn_to_first(self) -> None:
        self.leaf.max = self.pair.pages(self.which.value)
        if self.leaf.value == 1:
            self._list()
        else:
            self.leaf.value = 1

    def _list(self) -> None:
        pair, rows = self.pair, self.pair.listed(self.which.value, self.leaf.value - 1)
        first, second = self._scaled(pair)
        with self.figure.batch_update():
            marked = self.figure.data[3]
            marked.x, marked.y, marked.text = first[rows], second[rows], pair.key[rows]
        self.gallery.value = jpeg(self._sheet(rows))

    def _sheet(self, rows: np.ndarray, text: int = 11) -> PillowImage.Image:
        pair, unit = self.pair, self.measure.value.split("(")[1].rstrip(")")
        lines = [
            f"person {pair.key[i]}: keypoints, {self.names[0]}, {self.names[1]}\n"
            f"{pair.first[i]:.1f} → {pair.second[i]:.1f} {unit}"
            for i in rows
        ]
        if self.album is None:
            return cards([], lines, 1)
        return self.album.sheet(pair.key[rows], lines, columns=2, text=text)

    def box(self) -> ipywidgets.VBox:
        """All handles in one column."""
        handles = ipywidgets.HBox([self.measure, self.which, self.leaf])
        parts = [handles, self.says, self.figure, self.gallery, self.trouble]
        return ipywidgets.VBox(parts).add_class("spinkit-compare")

    def draw(self) -> Figure:
        """The still: the chart, and the page of the list below it."""
        first, second = self._scaled(self.pair)
        rows = self.pair.listed(self.which.value, self.leaf.value - 1)
        ends = [min(first.min(), second.min()), max(first.max(), second.max())]
        ticks = [t for t in TICKS[::2] if ends[0] <= np.log10(t) <= ends[1]] if self.measure.value == ERROR else None
        with page(7.0, 6.6, 2, 1, heights=[1.0, 1.0]) as (figure, axes):
            above, below = axes[:, 0]
            above.plot(ends, ends, ":", color=INK, label="no change")
            above.scatter(first, second, 6, color=[BLUE], alpha=0.4, lw=0)
            above.scatter(first[rows], second[rows], 30, color=[VERMILION], label=self.which.value)
            above.set(xlabel=f"{self.names[0]}: {self.measure.value}", ylabel=self.names[1], aspect="equal")
            if ticks:
                above.set(xticks=np.log10(ticks), yticks=np.log10(ticks), xticklabels=ticks, yticklabels=ticks)
            above.legend()
            below.imshow(self._sheet(rows, LARGE))
            below.set_axis_off()
        return figure


def compare_runs(
    first: str | Path, second: str | Path, people: Samples | None = None, body: Body | None = None
) -> Explorer:
    """Two runs of the same people side by side: the samples that got better and worse, with pictures.

    Args:
        first: folder of a run.
        second: folder of another.
        people: the training set of both; pictures and the truth need it.
        body: that the fits are of.

    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: the runs are not of the same people.
    """
    runs = peek(first), peek(second)
    if not runs[0].same_people(runs[1]):
        raise ValueError(f"{first} and {second}: runs of different people; choose two of one preset and data")
    if people is not None and len(people) != len(runs[0].fits):
        raise ValueError(f"{first}: a run of {len(runs[0].fits)} people, but {len(people)} were given")
    comparison = _Comparison(runs, people, body)
    return Explorer(comparison.box(), comparison.draw, "every person's fit in one run against that in the other")
