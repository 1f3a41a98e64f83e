"""The fit explorer's sliders, switches and buttons: what they say is a `Choice`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import ipywidgets
from jaxtyping import Bool
from torch import Tensor

from spinkit.keypoints import NAMES
from spinkit.lab.fit_choice import WEIGHTS, Choice
from spinkit.smplify import SmplifySettings

TITLES = {"pose_weight": "pose", "bending_weight": "bending", "shape_weight": "shape", "start_weight": "tie to start"}
SUGGESTED_TIE = 5.0
"""That of the training loop's fit; SMPLify has none."""
FARTHEST = 112.0
"""Pixels that a keypoint can be moved either way: half the crop."""
DROPS, DRAGS = "drops or restores", "takes in hand"


class FitHandles:
    """All handles of one explorer. They know nothing of fits; whoever holds them listens."""

    def __init__(self, starts: Sequence[str], shown: Bool[Tensor, "49"]):
        self.following = False  # while handles are put where the choice is, nobody is asked
        rule = SmplifySettings()
        self.start = _wide(ipywidgets.Dropdown(options=list(starts), description="start"))
        self.steps = _wide(ipywidgets.IntSlider(rule.body_solver.steps, 0, 100, description="steps", **_LATE))
        self.moves = ipywidgets.Checkbox(False, description="camera moves in the body stage", indent=False)
        self.scale = _wide(ipywidgets.FloatLogSlider(rule.robust_scale, min=0.7, max=3, description="σ (px)", **_LATE))
        self.weights = {name: _weight(name, getattr(rule, name)) for name in WEIGHTS}
        self.press = ipywidgets.Button(description="fit", layout={"width": "8em"}).add_class("spinkit-press-fit")
        self.at_once = ipywidgets.Checkbox(False, description="fit at every change", indent=False)
        self.iteration = ipywidgets.IntSlider(0, 0, 0, description="iteration", layout={"width": "46em"})
        self.iteration.add_class("spinkit-slider-iteration")
        names = [(NAMES[index], index) for index in shown.nonzero()[:, 0].tolist()]
        self.keypoint = _wide(ipywidgets.Dropdown(options=names, description="keypoint"))
        self.mode = ipywidgets.ToggleButtons(options=[DROPS, DRAGS], style={"button_width": "10.5em"})
        self.counts = ipywidgets.Checkbox(True, description="counts", indent=False, layout={"width": "6em"})
        self.right, self.down = (_shift(name) for name in ("right, px", "down, px"))
        self.restore = ipywidgets.Button(description="all as marked", layout={"width": "9em"})
        self.widget = self._laid_out()

    @property
    def drags(self) -> bool:
        """Whether a click takes a keypoint into the hand."""
        return self.mode.value == DRAGS

    def when_asked(self, act: Callable) -> None:
        """Call whenever a handle asks for another fit."""
        asking = [self.start, self.steps, self.moves, self.scale, self.counts, self.right, self.down]
        for handle in (*asking, *(widget for pair in self.weights.values() for widget in pair)):
            self.when_changed(handle, act)

    def when_changed(self, handle: ipywidgets.Widget, act: Callable) -> None:
        """Call whenever the reader changes a handle, and not where the explorer does."""
        handle.observe(lambda change: None if self.following else act(), "value")

    def read(self, choice: Choice) -> Choice:
        """The choice with what the handles say; of keypoints, the chosen one's place and whether it counts."""
        index, away = self.keypoint.value, (self.right.value, self.down.value)
        moved = {**choice.moved, index: away}
        return replace(
            choice,
            start=self.start.value,
            steps=self.steps.value,
            weights={name: slider.value if switch.value else 0.0 for name, (switch, slider) in self.weights.items()},
            robust_scale=self.scale.value,
            camera_moves=self.moves.value,
            dropped=choice.dropped - {index} if self.counts.value else choice.dropped | {index},
            moved={index: away for index, away in moved.items() if any(away)},
        )

    def follow(self, choice: Choice, index: int) -> None:
        """Show a keypoint's place, and whether it counts, without asking for anything."""
        self._quietly({self.keypoint: index, self.counts: index not in choice.dropped})
        self.put(*choice.moved.get(index, (0.0, 0.0)))

    def put(self, right: float, down: float) -> None:
        """Show how far the keypoint in hand was moved, pixels, without asking for anything."""
        self._quietly({self.right: right, self.down: down})

    def stale(self) -> None:
        """Say that the pictures answer an older question."""
        self.press.button_style, self.press.description = "warning", "fit again"

    def answered(self, last: int) -> None:
        """Go to the last iteration of a new fit."""
        self.press.button_style, self.press.description = "", "fit"
        self.iteration.max = last
        self._quietly({self.iteration: last})

    def _quietly(self, values: dict[ipywidgets.Widget, object]) -> None:
        self.following = True
        try:
            for handle, value in values.items():
                handle.value = value
        finally:
            self.following = False

    def _laid_out(self) -> ipywidgets.DOMWidget:
        rows = [ipywidgets.HBox(pair) for pair in self.weights.values()]
        left = ipywidgets.VBox([self.start, self.steps, self.scale, self.moves])
        fitting = ipywidgets.HBox([self.press, self.at_once], layout={"align_items": "center"})
        hand = ipywidgets.HBox([self.keypoint, self.counts])
        points = ipywidgets.VBox(
            [ipywidgets.HTML("a click on a keypoint"), self.mode, hand, self.right, self.down, self.restore]
        )
        row = ipywidgets.HBox([left, ipywidgets.VBox(rows), points], layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([row, fitting])


_LATE = {"continuous_update": False, "style": {"description_width": "5em"}}


def _wide(handle: ipywidgets.DOMWidget) -> ipywidgets.DOMWidget:
    handle.layout.width, handle.style.description_width = "19em", "5em"
    return handle


def _weight(name: str, published: float) -> tuple[ipywidgets.Checkbox, ipywidgets.FloatLogSlider]:
    switch = ipywidgets.Checkbox(published > 0, description=TITLES[name], indent=False, layout={"width": "7.5em"})
    value, layout = published or SUGGESTED_TIE, {"width": "14em"}
    slider = ipywidgets.FloatLogSlider(value, min=-1, max=2, step=0.05, layout=layout, **_LATE)
    slider.add_class(f"spinkit-slider-{name.replace('_', '-')}")
    return switch, slider


def _shift(name: str) -> ipywidgets.FloatSlider:
    return _wide(ipywidgets.FloatSlider(0.0, min=-FARTHEST, max=FARTHEST, description=name, **_LATE))
