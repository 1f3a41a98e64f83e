"""What a live training shows: losses, accuracy and errors over the steps, and what the network says of three people."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from plotly.subplots import make_subplots
from torch import Tensor

from spinkit import job, view
from spinkit.job import Prepared
from spinkit.lab.canvas import GRID, canvas
from spinkit.lab.sheets import sheet
from spinkit.smplify import Start
from spinkit.spin import Run
from spinkit.view.style import INK, PALETTE, css, page

SIDE = 140
"""Pixels of a person's picture."""
ANSWERS = 4
"""At so many steps the network's answers stand beside one another: the first, the newest, and between."""

Series = dict[str, tuple[list[int], list[float]]]
"""Name of a curve: steps, and values there."""


def series(history: Sequence[dict], truth: bool = True) -> dict[str, Series]:
    """A run's records as three charts of curves, by title with unit.

    Args:
        history: as a run keeps it.
        truth: whether any is known of the training people. Else the dictionary's error is how far its fits are from
            the keypoints.
    """

    def of(**names: str) -> Series:
        rows = {name: [r for r in history if key in r] for name, key in names.items()}
        return {name: ([r["step"] for r in rows[name]], [r[key] for r in rows[name]]) for name, key in names.items()}

    return {
        "loss (no unit)": of(total="loss_total", keypoints="loss_keypoints", pose="loss_pose"),
        "held-out people (mm)": of(MPJPE="test_mpjpe", **{"PA-MPJPE": "test_pa_mpjpe"}),
        **(
            {"dictionary (mm)": of(MPJPE="dictionary_mpjpe", **{"PA-MPJPE": "dictionary_pa_mpjpe"})}
            if truth
            else {"dictionary (px²)": of(median="stored_error")}
        ),
    }


class Growing:
    """The three charts as one figure whose curves grow."""

    def __init__(self, charts: dict[str, Series], steps: int):
        figure = make_subplots(1, 3, subplot_titles=list(charts), horizontal_spacing=0.08)
        for column, curves in enumerate(charts.values(), 1):
            for number, (name, (at, values)) in enumerate(curves.items()):
                line = {"color": css(PALETTE[number]), "dash": ("solid", "dash", "dot")[number]}
                points = {"x": np.array(at, float), "y": np.array(values, float), "mode": "lines+markers"}
                trace = go.Scatter(name=name, line=line, marker={"size": 4}, legend=_legend(column), **points)
                figure.add_trace(trace, 1, column)
        _lay_out(figure, steps)
        self.figure = canvas(figure)

    def show(self, charts: dict[str, Series]) -> None:
        """Give every curve its points, all at once."""
        found = [points for curves in charts.values() for points in curves.values()]
        with self.figure.batch_update():
            for trace, (steps, values) in zip(self.figure.data, found, strict=True):
                trace.x, trace.y = np.array(steps, float), np.array(values, float)


def _legend(column: int) -> str:
    return f"legend{column}" if column > 1 else "legend"


def _lay_out(figure: go.Figure, steps: int) -> None:
    below = {"y": -0.3, "orientation": "h", "font": {"size": 10}}
    figure.update_layout(
        template="none",
        height=260,
        width=840,
        margin={"l": 45, "r": 10, "t": 30, "b": 60},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": INK, "size": 11},
        **{_legend(column): {"x": (column - 1) * 0.36, **below} for column in (1, 2, 3)},
    )
    figure.update_annotations(font_size=12)
    figure.update_xaxes(title={"text": "step", "standoff": 4}, range=(0, steps), gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID, rangemode="tozero")
    figure.update_yaxes(type="log", row=1, col=1)


def charts_still(charts: dict[str, Series], steps: int) -> PillowImage.Image:
    """The same charts for paper."""
    with page(9.0, 2.5, 1, len(charts)) as (figure, axes):
        for place, (title, curves) in zip(axes[0], charts.items(), strict=True):
            for number, (name, (at, values)) in enumerate(curves.items()):
                place.plot(at, values, ("-", "--", ":")[number], marker=".", markersize=4, label=name)
            place.set(title=title, xlabel="step", xlim=(0, steps))
            if not any(values for _, values in curves.values()):
                place.text(0.5, 0.5, "nothing yet", transform=place.transAxes, ha="center")
            elif title.startswith("loss"):
                place.set_yscale("log")
            else:
                place.set_ylim(bottom=0)
            place.legend()
        figure.canvas.draw()
        return PillowImage.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


class Answers:
    """What the network said of some held-out people, each time it was judged; drawn when it is looked at.

    Args:
        ready: of the run.
        people: how many, evenly spread over all who were held out.
    """

    def __init__(self, ready: Prepared, people: int = 3):
        self.ready, self.keys = ready, torch.linspace(0, len(ready.test) - 1, people).long().unique()
        self.said: dict[int, Start] = {}
        self._drawn: dict[tuple[str, int], PillowImage.Image] = {}
        self._crops: Float[Tensor, "people 3 side side"] = view.crops(ready.test, self.keys)
        self._truth = job.truth(ready, self.keys)

    def hear(self, run: Run) -> None:
        """Ask the network as it is now; it is left in the mode in which it was."""
        self.said[run.steps_done] = job.regress(self.ready, run, self.keys)

    def sheet(self) -> PillowImage.Image:
        """A row a person: the crop, the answers from the first to the newest, the truth."""
        steps = sorted(self.said)
        chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, ANSWERS).round().astype(int))]
        columns = {"image": None, **{f"step {step:,}": self.said[step] for step in chosen}, "truth": self._truth}
        pictures = [self._of(name, fit, row) for row in range(len(self.keys)) for name, fit in columns.items()]
        return sheet(pictures, list(columns) * len(self.keys), len(columns))

    def _of(self, name: str, fit: Start | None, row: int) -> PillowImage.Image:
        if (name, row) not in self._drawn:
            image = self._crops[row]
            drawn = view.as_picture(image) if fit is None else view.overlay(image, self.ready.body, fit, row, side=SIDE)
            self._drawn[name, row] = PillowImage.fromarray(np.asarray(drawn)).resize((SIDE, SIDE))
        return self._drawn[name, row]
