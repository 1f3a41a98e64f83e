"""Keypoints as people or machines would mark them: near the truth, now and then absent or elsewhere."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.camera import RESOLUTION
from spinkit.keypoints import ANNOTATED, OPENPOSE, SOURCES, Keypoints
from spinkit.people.dice import Dice
from spinkit.people.settings import PeopleSettings


def detect(
    true_xy: Float[Tensor, "n 49 2"], covered: Bool[Tensor, "n 49"], dice: Dice, settings: PeopleSettings
) -> Keypoints:
    """Mark keypoints with the errors that the settings ask for.

    Args:
        true_xy: where they are, pixels of the crop.
        covered: which of them an object hides.

    Returns:
        The keypoints in pixels of the crop; a missing one is at (0, 0). Annotated points have confidence 1,
        OpenPose's, if any, a score that falls where they are hidden.
    """
    # All is drawn whatever the settings, so that one of them changes nothing but what it names.
    offset, elsewhere = dice.normal(0, 1, 49, 2), dice.uniform(0, RESOLUTION, 49, 2)
    lottery, score = dice.uniform(0, 1, 49, 2), dice.normal(0.8, 0.12, 49)

    outside = ((true_xy < 0) | (true_xy > RESOLUTION)).any(dim=-1)
    hidden = covered | outside
    missing = lottery[..., 0] < torch.where(hidden, settings.missing_hidden, settings.missing)
    outlier = lottery[..., 1] < settings.outliers
    xy = true_xy + settings.keypoint_noise * offset
    xy = torch.where(outlier[..., None], elsewhere, xy)

    confidence = torch.zeros_like(score)
    confidence[:, marked(settings.annotated)] = 1
    if settings.openpose:
        score = torch.where(hidden | outlier, 0.5 * score, score)
        confidence[:, OPENPOSE] = score[:, OPENPOSE].clamp(0.05, 1)
    confidence = confidence.masked_fill(missing, 0)
    return Keypoints(xy * (confidence > 0)[..., None], confidence)


def marked(annotated: str) -> list[int]:
    """The keypoints that somebody marked: all that are annotated anywhere, or those of one data set."""
    return list(range(*ANNOTATED.indices(49))) if annotated == "all" else list(SOURCES[annotated])
