"""Keypoints as the package holds them, how a source's points get there, and who is meant of several people."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.keypoints.names import NAMES
from spinkit.keypoints.sources import SOURCES, points_in

SURE = 0.2
"""Points that do not score above this say nothing about where a person is. Source: SPIN, demo.py."""


@dataclass(frozen=True)
class Keypoints:
    """Named image points of one or many people; `keypoints[index]` selects people."""

    xy: Float[Tensor, "*batch 49 2"]
    """Pixels: of the square crop, or of the photo before it is cropped. Finite even where missing."""
    confidence: Float[Tensor, "*batch 49"]
    """Weight of each point. Zero means missing, and then `xy` means nothing."""

    def __getitem__(self, index: int | slice | tuple | Tensor | None) -> "Keypoints":
        return Keypoints(self.xy[index], self.confidence[index])

    def to(self, *args: torch.device | torch.dtype | str) -> "Keypoints":
        """The same keypoints on another device or in another dtype, as `Tensor.to`."""
        return Keypoints(self.xy.to(*args), self.confidence.to(*args))

    @property
    def visible(self) -> Bool[Tensor, "*batch 49"]:
        """Which points are present at all."""
        return self.confidence > 0


def place(xy: Float[Tensor, "*batch points 2"], confidence: Float[Tensor, "*batch points"], source: str) -> Keypoints:
    """Put the points of one source where they belong among the 49; the others are missing.

    Args:
        xy: pixels. Numbers of missing points are dropped, whatever they are (even NaN).
        confidence: at least 0; 0 means missing.
        source: a key of `SOURCES`, which also says the order expected.

    Raises:
        ValueError: for an unknown source, a wrong number of points, or a visible point that is not finite.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown keypoint source {source!r}; choose one of {', '.join(SOURCES)}")
    slots, (points, taken) = SOURCES[source], points_in(source)
    if xy.shape[-2] != points:
        raise ValueError(f"{source} has {points} points, got {xy.shape[-2]}; check the source's name")
    if not torch.isfinite(confidence).all() or (confidence < 0).any():
        raise ValueError("confidence must be finite and at least 0; set missing points to 0")
    visible = confidence > 0
    if not torch.isfinite(xy[visible]).all():
        raise ValueError("xy of a visible point is NaN or infinite; set its confidence to 0 or repair it")

    batch = confidence.shape[:-1]
    all_xy, all_confidence = xy.new_zeros(*batch, len(NAMES), 2), confidence.new_zeros(*batch, len(NAMES))
    to, of = (torch.tensor(numbers, device=xy.device) for numbers in (slots, taken))
    all_xy[..., to, :] = torch.where(visible[..., None], xy, torch.zeros_like(xy))[..., of, :]
    all_confidence[..., to] = confidence[..., of]
    return Keypoints(all_xy, all_confidence)


def choose_person(people: Sequence[Keypoints], box: Sequence[int | float] | None = None) -> int:
    """The number of the person who is meant.

    A person is as large as the upright rectangle around the points above `SURE`.

    Args:
        people: as `read` returns them.
        box: left, top, width and height in pixels of the photo, as COCO and most detectors write it. The person
            is taken whose rectangle shares most with it (intersection over union). Without a box it is the person
            with the largest rectangle. Of equals the first is taken.

    Raises:
        ValueError: where nobody is there, nobody has two sure points apart, or nobody is in the box.
    """
    rectangles = torch.stack([_rectangle(person) for person in people]) if len(people) else torch.zeros(0, 4)
    size = (rectangles[:, 2:] - rectangles[:, :2]).prod(dim=-1)
    if not (size > 0).any():
        raise ValueError(f"none of {len(people)} people has sure points that span a rectangle; detect again")
    if box is None:
        return int(size.argmax())
    if len(box) != 4 or not (box[2] > 0 and box[3] > 0):
        raise ValueError(f"a box is left, top, width and height, the last two positive, got {tuple(box)}")
    low, extent = rectangles.new_tensor(box).split(2)
    shared = torch.minimum(rectangles[:, 2:], low + extent) - torch.maximum(rectangles[:, :2], low)
    overlap = shared.clamp(min=0).prod(dim=-1)
    if not (overlap > 0).any():
        raise ValueError(f"none of {len(people)} people is in the box {tuple(box)}; is it in pixels of this photo?")
    return int((overlap / (size + extent.prod() - overlap)).argmax())


def _rectangle(person: Keypoints) -> Float[Tensor, "4"]:
    """Left, top, right and bottom of the sure points; zeros where there are none."""
    sure = person.xy[person.confidence > SURE]
    return torch.cat([sure.amin(dim=0), sure.amax(dim=0)]) if len(sure) else person.xy.new_zeros(4)
