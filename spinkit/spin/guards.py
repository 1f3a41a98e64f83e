"""What keeps samples whose numbers mean nothing away from the weights, the fits and the dictionary.

A sample is left out where a number of its own is not finite, or lies where none can be: the others of its batch do not
notice. A loss or a gradient that is not finite has no such owner, and costs the whole step (`train.one_step`).
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from spinkit.camera import RESOLUTION
from spinkit.data import Batch
from spinkit.hmr import Regression

MOST_CONFIDENT = 1000.0
"""No detector is surer, whatever its scale; one point of a larger weight would outweigh a whole epoch."""

Faults = dict[str, Bool[Tensor, "b"]]
"""Which samples of a batch have a fault, by what the fault is."""


def input_faults(batch: Batch, keypoint_limit: float) -> Faults:
    """What is wrong with the numbers of a batch.

    Args:
        batch: augmented samples.
        keypoint_limit: pixels from the crop's centre beyond which no keypoint can lie.
    """
    points, labels = batch.keypoints, batch.labels
    far = (points.xy - RESOLUTION / 2).abs().amax(-1) > keypoint_limit
    return {
        # One number that is not finite makes the sum so, and colours in 0..1 cannot do so otherwise.
        "its picture is not finite": ~batch.image.flatten(1).sum(1).isfinite(),
        "its keypoints are not finite": ~(_finite(points.xy) & _finite(points.confidence)),
        "a confidence is negative": (points.confidence < 0).any(1),
        f"a confidence is above {MOST_CONFIDENT:g}": (points.confidence > MOST_CONFIDENT).any(1),
        f"a keypoint lies more than {keypoint_limit:g} pixels from the crop": (far & points.visible).any(1),
        "its labels are not finite": ~(_finite(labels.rotvec) & _finite(labels.betas) & _finite(labels.joints)),
    }


def answer_faults(said: Regression) -> Faults:
    """What is wrong with the network's answers."""
    sound = _finite(said.rotmat) & _finite(said.betas) & _finite(said.weak)
    return {"the network's answer is not finite": ~sound}


def leave_out(batch: Batch, faults: Faults) -> tuple[Batch, Int[Tensor, "k"] | None]:
    """The batch without its faulty samples, which `Batch.refused` then tells.

    Returns:
        The batch, and the rows that stayed; None where all did, and the batch is the one that came.
    """
    faulty = torch.stack(list(faults.values())).any(0)
    if not faulty.any():
        return batch, None
    refused = dict(batch.refused)
    for fault, rows in faults.items():
        refused |= {key: fault for key in batch.key[rows].tolist() if key not in refused}
    stayed = (~faulty).nonzero()[:, 0]
    return replace(batch[stayed], refused=refused), stayed


def _finite(values: Tensor) -> Bool[Tensor, "b"]:
    return values.isfinite().flatten(1).all(1)
