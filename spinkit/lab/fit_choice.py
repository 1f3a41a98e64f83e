"""What a reader of the fit explorer has chosen: a start, weights, a number of steps, and what became of keypoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from spinkit.keypoints import Keypoints
from spinkit.smplify import SmplifySettings

WEIGHTS = ("pose_weight", "bending_weight", "shape_weight", "start_weight")
"""Terms that can be switched off, as fields of the settings; keypoints always count."""
TURN_PER_START = 6.0
"""The orientation is tied to its start together with the pose, in the proportion of the training loop's fit."""


@dataclass(frozen=True)
class Choice:
    """A question to SMPLify. Nothing in it is changed; a reader who turns a handle asks another one."""

    start: str
    """The name of one of the starts on offer."""
    steps: int = 40
    """At most, of the body stage."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By the name of their field; published ones where left out, and 0 switches a term off."""
    robust_scale: float = SmplifySettings.robust_scale
    """Pixels."""
    camera_moves: bool = False
    dropped: frozenset[int] = frozenset()
    """Keypoints that the fit is not told of."""
    moved: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """How far keypoints were moved to the right and down, pixels."""

    def settings(self) -> SmplifySettings:
        """The published settings with what was chosen."""
        unknown = set(self.weights) - set(WEIGHTS)
        if unknown:
            raise ValueError(f"weights may be named for {', '.join(WEIGHTS)}; got {', '.join(sorted(unknown))}")
        turn = TURN_PER_START * self.weights.get("start_weight", 0.0)
        rule = SmplifySettings(
            **self.weights, turn_weight=turn, robust_scale=self.robust_scale, camera_moves=self.camera_moves
        )
        return replace(rule, body_solver=replace(rule.body_solver, steps=self.steps))

    def keypoints(self, marked: Keypoints) -> Keypoints:
        """One person's keypoints as the fit is told of them."""
        xy, confidence = marked.xy.clone(), marked.confidence.clone()
        for index, away in self.moved.items():
            xy[..., index, :] += torch.tensor(away, dtype=xy.dtype)
        confidence[..., sorted(self.dropped)] = 0
        return Keypoints(xy, confidence)
