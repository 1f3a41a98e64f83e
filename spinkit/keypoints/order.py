"""OpenPose's two orders of 25 points, which no field of its files tells apart: bodies do."""

import math
from collections.abc import Sequence

import torch

from spinkit.keypoints.records import SURE, Keypoints

BONES = {
    "BODY_25": (
        *((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12)),
        *((12, 13), (13, 14), (0, 15), (0, 16), (15, 17), (16, 18), (14, 19), (14, 21), (11, 22), (11, 24)),
    ),
    "BODY_25B": (
        *((0, 1), (0, 2), (1, 3), (2, 4), (0, 17), (17, 18), (5, 17), (6, 17), (5, 7), (7, 9), (6, 8), (8, 10)),
        *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (15, 19), (15, 21), (16, 22), (16, 24)),
    ),
}
"""Neighbours on the body, by their numbers in OpenPose's own order."""
FEWEST_BONES, LONGER = 4, 1.5
"""A person tells the order of a file by the bones whose ends are sure, if there are so many. In the right order bones
are short: by BODY_25's they are more than 1.7 times as long as by BODY_25B's in real files of the latter, and never
more than 1.32 times in 1,229 people of COCO val2017 laid out as BODY_25."""


def refuse_body_25b(people: Sequence[Keypoints], where: str) -> None:
    """Complain where by their bones most people are in the order of BODY_25B, though read as BODY_25.

    Raises:
        ValueError: in that case; `where` opens the message.
    """
    lengths = [(_bone_length(person, "BODY_25"), _bone_length(person, "BODY_25B")) for person in people]
    # Who shows too little has no say.
    votes = [ours > LONGER * theirs for ours, theirs in lengths if math.isfinite(ours + theirs)]
    if sum(votes) > len(votes) / 2:
        raise ValueError(
            f"{where}: the points of {sum(votes)} of {len(votes)} people look like BODY_25B, which has another order "
            "than BODY_25; say kind='openpose25b', or detect with --model_pose BODY_25"
        )


def _bone_length(person: Keypoints, model: str) -> float:
    """Mean length in pixels of the bones that a person read as BODY_25 would have in a model's order; NaN if few."""
    start, end = torch.tensor(BONES[model]).T
    sure = (person.confidence[start] > SURE) & (person.confidence[end] > SURE)
    lengths = (person.xy[start] - person.xy[end]).norm(dim=-1)[sure]
    return float(lengths.mean()) if len(lengths) >= FEWEST_BONES else math.nan
