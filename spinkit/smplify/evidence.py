"""Which keypoints a fit listens to, and whether they are enough to fit a body to."""

from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.camera import RESOLUTION
from spinkit.keypoints import Keypoints
from spinkit.smplify.settings import IGNORED, SmplifySettings

LEAST_CONFIDENCE = 1e-3
"""A keypoint that is trusted less is missing: its error would vanish, and it would still be counted."""
LEAST_SPAN = 8.0
"""Pixels of the crop that a person's keypoints have to span. A body five kilometres away explains them otherwise."""
FARTHEST = 1e6
"""Pixels from the crop's centre; what lies farther is no place, and its square would leave float32."""


def sound(keypoints: Keypoints) -> Keypoints:
    """The keypoints of people whose numbers make sense; of all others none, so that a fit flags them.

    Those of a person make none where a visible one is not finite or `FARTHEST` off, a confidence is negative or not
    finite, or all lie in one place. Missing keypoints stay where they are stored: SPIN's camera stage feels it.
    """
    seen = ~(keypoints.confidence <= LEAST_CONFIDENCE)
    # Comparisons with NaN are false.
    somewhere = ((keypoints.xy - RESOLUTION / 2).abs() < FARTHEST).all(-1)
    xy = torch.where(somewhere[..., None], keypoints.xy, torch.full_like(keypoints.xy, RESOLUTION / 2))
    places = (somewhere | ~seen).all(-1)
    trust = ((keypoints.confidence >= 0) & keypoints.confidence.isfinite()).all(-1)
    span = torch.where(seen[..., None], xy, -torch.inf).amax(-2) - torch.where(seen[..., None], xy, torch.inf).amin(-2)
    fine = (places & trust & (span.amax(-1) >= LEAST_SPAN))[..., None]
    confidence = torch.where(fine & seen, keypoints.confidence, torch.zeros_like(keypoints.confidence))
    return Keypoints(torch.where(fine[..., None], xy, torch.full_like(xy, RESOLUTION / 2)), confidence)


def counted(keypoints: Keypoints) -> Float[Tensor, "*batch 49"]:
    """Confidences as a fit sees them: those of `IGNORED` keypoints are zero."""
    return keypoints.confidence * _counts(keypoints.confidence.device)


@cache
@torch.inference_mode(False)
def _counts(device: torch.device) -> Bool[Tensor, "49"]:
    counts = torch.ones(49, dtype=torch.bool, device=device)
    counts[list(IGNORED)] = False
    return counts


def too_few(keypoints: Keypoints, settings: SmplifySettings) -> Bool[Tensor, "*batch"]:
    """Samples with too few keypoints to fit a body to, or with `sound` reasons to doubt them all."""
    return scarce(sound(keypoints), settings)


def scarce(keypoints: Keypoints, settings: SmplifySettings) -> Bool[Tensor, "*batch"]:
    """`too_few`, of keypoints that are `sound`."""
    return (counted(keypoints) > 0).sum(-1) < settings.min_keypoints
