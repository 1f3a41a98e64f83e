"""Two solvers from one start, recorded once and replayed by hand: Levenberg-Marquardt and Adam."""

from dataclasses import dataclass, replace

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure

from spinkit.body import Body
from spinkit.keypoints import Keypoints
from spinkit.lab.canvas import GRID, canvas
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.fit_panels import flat
from spinkit.lab.fit_trace import Trace, trace_fit
from spinkit.lab.sheets import jpeg
from spinkit.priors import Mixture
from spinkit.smplify import SmplifySettings, Start
from spinkit.solvers import Adam
from spinkit.view import overlay
from spinkit.view.images import Image
from spinkit.view.style import BLUE, INK, VERMILION, Colour, css, page

ADAM_STEPS = 300
"""Three times as many as published: it is still going down."""
WARM_UP = 3
"""Steps before the clock runs: whatever is done for the first time in a process takes longer."""
TICKS = 60
"""Positions of the slider after the start, evenly spread over a logarithmic scale."""
TIME, STEPS = "processor time (ms)", "steps taken"
SIDE_OF_BODIES = 280
"""Pixels: two are drawn for every move of the slider."""
CLOCKS = (TIME, STEPS)
"""What a race can be told along."""


@dataclass(frozen=True)
class Runner:
    """One solver's way through the body stage."""

    name: str
    colour: Colour
    trace: Trace

    @property
    def energy(self) -> np.ndarray:
        """px^2, from the start of the body stage on."""
        return self.trace.total[self.trace.turned :].numpy()

    def clock(self, by: str) -> np.ndarray:
        """What a clock showed when each step was done; 0 at the start."""
        if by == STEPS:
            return np.arange(len(self.energy))
        done = 1000 * self.trace.seconds[self.trace.turned + 1 :].numpy()
        return np.concatenate([np.zeros(1), done])

    def step_at(self, by: str, limit: float) -> int:
        """The last step that was done when the clock showed so much."""
        return int(np.searchsorted(self.clock(by), limit, side="right")) - 1

    def at(self, step: int) -> Start:
        """The body after a step of the body stage."""
        return self.trace[self.trace.turned + step]


@dataclass(frozen=True)
class Course:
    """Both runners, and where the slider may stand."""

    runners: tuple[Runner, Runner]

    def ticks(self, by: str) -> np.ndarray:
        """Readings of the clock that belong to the slider's positions; the first is the start."""
        clocks = [runner.clock(by)[1:] for runner in self.runners]
        first, last = min(clock[0] for clock in clocks), max(clock[-1] for clock in clocks)
        # The last tick may not fall short of the last step by a rounding.
        return np.concatenate([np.zeros(1), np.geomspace(first, last * (1 + 1e-9), TICKS)])

    def finish(self, by: str) -> int:
        """The slider's position at which the first of both has done its last step."""
        ends = min(runner.clock(by)[-1] for runner in self.runners)
        return int(np.searchsorted(self.ticks(by), ends))


def race(
    body: Body,
    prior: Mixture,
    image: Image,
    keypoints: Keypoints,
    start: Start,
    settings: SmplifySettings | None = None,
) -> Explorer:
    """Levenberg-Marquardt and Adam side by side, over processor time or over steps.

    Both get the same camera stage and then the same body stage to solve. Each is run once, after a few steps that do
    not count, and its clock is read after every step: what is replayed is what this machine did.

    Args:
        body: that is fitted.
        prior: the pose prior.
        image: the square crop.
        keypoints: of one person, (1 49 2), in pixels of the crop.
        start: of one person.
        settings: weights and stages; their body solver is the one that runs against Adam.
    """
    settings = settings or SmplifySettings()
    solvers = (("Levenberg-Marquardt", BLUE, settings.body_solver), ("Adam", VERMILION, Adam(ADAM_STEPS)))
    runners = []
    for name, colour, solver in solvers:
        for running in (replace(solver, steps=WARM_UP), solver):
            trace = trace_fit(body, prior, keypoints, start, replace(settings, body_solver=running, rival_gap=0.0))
        runners.append(Runner(name, colour, trace))
    replay = Replay(Course(tuple(runners)), body, image)
    alt = "energy of both solvers over processor time and over steps, and their bodies when the first is done"
    return Explorer(replay.widget, replay.still, alt)


class Replay:
    """The widget: one slider for both runners, over the clock that is chosen."""

    def __init__(self, course: Course, body: Body, image: Image):
        self.course, self.body, self.image = course, body, image
        self.drawn: dict[tuple[str, int], bytes] = {}
        self.chart = _chart(course)
        self.told, self.trouble = ipywidgets.HTML(), ipywidgets.HTML()
        size = {"width": SIDE_OF_BODIES, "height": SIDE_OF_BODIES}
        self.pictures = [ipywidgets.Image(format="jpeg", **size) for _ in course.runners]
        self.by = ipywidgets.ToggleButtons(options=CLOCKS, description="over", style={"button_width": "13em"})
        self.progress = ipywidgets.IntSlider(course.finish(TIME), 0, TICKS, description="progress", readout=False)
        self.progress.layout.width = "46em"
        self.progress.add_class("spinkit-slider-progress")
        self.change_clock()
        self.chart = canvas(self.chart)
        self.by.observe(answering(self.trouble, lambda change: self.change_clock()), "value")
        self.progress.observe(answering(self.trouble, lambda change: self.show()), "value")
        self.widget = self._laid_out()

    @property
    def steps(self) -> list[int]:
        """Which step each runner has done at the slider's position."""
        limit = float(self.course.ticks(self.by.value)[self.progress.value])
        return [runner.step_at(self.by.value, limit) for runner in self.course.runners]

    def show(self) -> None:
        """Move both bodies, both dots and the sentence to the slider's position."""
        by, steps = self.by.value, self.steps
        with self.chart.batch_update():
            for runner, step, dot in zip(self.course.runners, steps, self.chart.data[2:], strict=True):
                dot.x, dot.y = runner.clock(by)[[step]], runner.energy[[step]]
        for picture, runner, step in zip(self.pictures, self.course.runners, steps, strict=True):
            picture.value = self._overlay(runner, step)
        self.told.value = "; ".join(map(self._reading, self.course.runners, steps)) + "."

    def change_clock(self) -> None:
        """Draw both lines over the clock that is chosen now."""
        by = self.by.value
        with self.chart.batch_update():
            for runner, line in zip(self.course.runners, self.chart.data[:2], strict=True):
                line.x, line.y = runner.clock(by)[1:].astype(np.float32), runner.energy[1:]
        self.chart.layout.xaxis.title.text = by
        self.show()

    def still(self) -> Figure:
        """Both charts, and both bodies at the slider's position."""
        with page(8.0, 6.4, 2, 2, heights=(0.75, 1.0)) as (figure, axes):
            for place, by in zip(axes[0], CLOCKS, strict=True):
                for runner, style in zip(self.course.runners, ("-", "--"), strict=True):
                    place.plot(runner.clock(by)[1:], runner.energy[1:], style, color=runner.colour, label=runner.name)
                place.set(xlabel=by, ylabel="energy (px²)", xscale="log", yscale="log")
                place.legend()
            limit = self.course.ticks(self.by.value)[self.progress.value]
            axes[0, CLOCKS.index(self.by.value)].axvline(max(limit, 1e-9), color=INK, linestyle=":")
            for place, runner, step in zip(axes[1], self.course.runners, self.steps, strict=True):
                place.imshow(overlay(self.image, self.body, runner.at(step)))
                place.set_title(self._reading(runner, step))
                place.set_axis_off()
        return figure

    def _reading(self, runner: Runner, step: int) -> str:
        spent = runner.clock(TIME)[step]
        return f"{runner.name}: step {step}, {spent:.0f} ms, {runner.energy[step]:,.0f} px²"

    def _overlay(self, runner: Runner, step: int) -> bytes:
        if (runner.name, step) not in self.drawn:
            picture = overlay(self.image, self.body, runner.at(step), side=SIDE_OF_BODIES)
            self.drawn[runner.name, step] = jpeg(picture)
        return self.drawn[runner.name, step]

    def _laid_out(self) -> ipywidgets.DOMWidget:
        names = [ipywidgets.HTML(f"<b style='color: {css(r.colour)}'>{r.name}</b>") for r in self.course.runners]
        bodies = [ipywidgets.VBox(pair) for pair in zip(names, self.pictures, strict=True)]
        pictures = ipywidgets.HBox([self.chart, *bodies], layout={"flex_flow": "row wrap", "align_items": "flex-end"})
        return ipywidgets.VBox([self.by, self.progress, self.told, self.trouble, pictures]).add_class("spinkit-race")


def _chart(course: Course) -> go.Figure:
    """A line and a dot a runner, both axes logarithmic; the start, at 0, is told by the sentence alone."""
    lines = [
        go.Scatter(
            y=runner.energy[1:], mode="lines", name=runner.name, line={"color": css(runner.colour), "dash": dash}
        )
        for runner, dash in zip(course.runners, ("solid", "dash"), strict=True)
    ]
    dots = [
        go.Scatter(mode="markers", marker={"size": 11, "color": css(runner.colour)}, name=runner.name, showlegend=False)
        for runner in course.runners
    ]
    axis = {"type": "log", "gridcolor": GRID, "zeroline": False}
    return flat(
        [*lines, *dots],
        width=400,
        xaxis=axis | {"title": {"text": TIME}},
        yaxis=axis | {"title": {"text": "energy (px²)"}},
        margin={"l": 60, "r": 5, "t": 30, "b": 45},
    )
