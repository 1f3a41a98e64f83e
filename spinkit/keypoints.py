"""The 49 keypoints of SPIN: names, mirror order, where each comes from, and readers of detections.

The first 25 are OpenPose's BODY_25, in its order; the last 24 are the points that data sets annotate. Some
anatomical points occur in both halves, because the two sources disagree about where a hip lies. Left and
right are the body's own.
"""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import files

OPENPOSE = slice(0, 25)
ANNOTATED = slice(25, 49)
LSP14 = tuple(range(25, 39))

NAMES = (
    # OpenPose BODY_25
    *(
        "OP Nose",
        "OP Neck",
        "OP RShoulder",
        "OP RElbow",
        "OP RWrist",
        "OP LShoulder",
        "OP LElbow",
        "OP LWrist",
    ),
    *("OP MidHip", "OP RHip", "OP RKnee", "OP RAnkle", "OP LHip", "OP LKnee", "OP LAnkle"),
    *("OP REye", "OP LEye", "OP REar", "OP LEar"),
    *("OP LBigToe", "OP LSmallToe", "OP LHeel", "OP RBigToe", "OP RSmallToe", "OP RHeel"),
    # annotated: the 14 of LSP, then those of MPII, Human3.6M and COCO
    *("Right Ankle", "Right Knee", "Right Hip", "Left Hip", "Left Knee", "Left Ankle"),
    *("Right Wrist", "Right Elbow", "Right Shoulder", "Left Shoulder", "Left Elbow", "Left Wrist"),
    *("Neck (LSP)", "Top of Head (LSP)", "Pelvis (MPII)", "Thorax (MPII)"),
    *("Spine (H36M)", "Jaw (H36M)", "Head (H36M)"),
    *("Nose", "Left Eye", "Right Eye", "Left Ear", "Right Ear"),
)

# The SMPL layer offers 54 candidate points: 24 joints, 21 selected vertices, 9 regressed points. POOL says
# which of them each keypoint is.
POOL = (
    *(24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
    *(8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27),
)

JOINT_NAMES = (
    *("Pelvis", "Left Hip", "Right Hip", "Spine 1", "Left Knee", "Right Knee", "Spine 2"),
    *("Left Ankle", "Right Ankle", "Spine 3", "Left Foot", "Right Foot", "Neck", "Left Collar"),
    *("Right Collar", "Head", "Left Shoulder", "Right Shoulder", "Left Elbow", "Right Elbow"),
    *("Left Wrist", "Right Wrist", "Left Hand", "Right Hand"),
)
JOINT_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

# The keypoint, or joint, that each one becomes when left and right change places.
MIRROR = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
    *(30, 29, 28, 27, 26, 25, 36, 35, 34, 33, 32, 31, 37, 38, 39, 40, 41, 42, 43, 44, 46, 45, 48, 47),
)
JOINT_MIRROR = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)

# Where each source's points go among the 49, in the source's own order.
SOURCES = {
    "coco17": (44, 45, 46, 47, 48, 34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25),
    "openpose25": tuple(range(25)),
    # COCO's order, upper neck, top of the head, then the feet.
    "openpose25b": (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11, 37, 38, *range(19, 25)),
    "lsp14": LSP14,
    "mpii16": (25, 26, 27, 28, 29, 30, 39, 40, 37, 38, 31, 32, 33, 34, 35, 36),
}

OPENPOSE_MODELS = {"BODY_25": "openpose25", "BODY_25B": "openpose25b"}
"""OpenPose's body models of 25 points, and the source whose order each has."""
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
SURE, FEWEST_BONES, LONGER = 0.2, 4, 1.5
"""A person tells the order of a file by the bones whose ends score above the first number, if there are so many. In the
right order bones are short: by BODY_25's they are more than 1.7 times as long as by BODY_25B's in real files of the
latter, and never more than 1.32 times in 1,229 people of COCO val2017 laid out as BODY_25."""


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
    slots = SOURCES[source]
    if xy.shape[-2] != len(slots):
        raise ValueError(f"{source} has {len(slots)} points, got {xy.shape[-2]}; check the source's name")
    if not torch.isfinite(confidence).all() or (confidence < 0).any():
        raise ValueError("confidence must be finite and at least 0; set missing points to 0")
    visible = confidence > 0
    if not torch.isfinite(xy[visible]).all():
        raise ValueError("xy of a visible point is NaN or infinite; set its confidence to 0 or repair it")

    batch = confidence.shape[:-1]
    all_xy, all_confidence = xy.new_zeros(*batch, len(NAMES), 2), confidence.new_zeros(*batch, len(NAMES))
    index = torch.tensor(slots, device=xy.device)
    all_xy[..., index, :] = torch.where(visible[..., None], xy, torch.zeros_like(xy))
    all_confidence[..., index] = confidence
    return Keypoints(all_xy, all_confidence)


def mirror_order(device: torch.device | str | None = None) -> Int[Tensor, "49"]:
    """`MIRROR` as an index tensor."""
    return torch.tensor(MIRROR, device=device)


def read_openpose(path: str | PathLike[str], model: str = "BODY_25") -> list[Keypoints]:
    """Every person in one of OpenPose's JSON files, in the file's order.

    Args:
        path: the file, written by --write_json.
        model: with which OpenPose ran, one of `OPENPOSE_MODELS`; the file does not say. The neck and the top of the
            head of BODY_25B are those that people annotate, so they go to the annotated half.

    Returns:
        One `Keypoints` a person, in pixels of the photo, float32. An empty list where nobody was found.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the model is unknown, or the file is not OpenPose's JSON or, by most people in it, of BODY_25B
            though BODY_25 was expected; the message names the field.
    """
    if model not in OPENPOSE_MODELS:
        raise ValueError(f"OpenPose's model {model!r} is unknown; choose one of {', '.join(OPENPOSE_MODELS)}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no OpenPose file at {path}; run OpenPose with --write_json or correct the path")
    content = files.read_json(path, "write it again with --write_json")
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise ValueError(f"{path}: 'people' is missing or no list; write the file again with --write_json")
    source = OPENPOSE_MODELS[model]
    found = [_read_person(person, source, f"{path}: people[{i}]") for i, person in enumerate(people)]
    if model == "BODY_25":
        _refuse_other_order(found, path)
    return found


def _refuse_other_order(people: list[Keypoints], path: Path) -> None:
    """Complain where by their bones most people are in the order of BODY_25B, though read as BODY_25."""
    lengths = [(_bone_length(person, "BODY_25"), _bone_length(person, "BODY_25B")) for person in people]
    # Who shows too little has no say.
    votes = [ours > LONGER * theirs for ours, theirs in lengths if math.isfinite(ours + theirs)]
    if sum(votes) > len(votes) / 2:
        raise ValueError(
            f"{path}: pose_keypoints_2d of {sum(votes)} of {len(votes)} people look like BODY_25B, whose points have "
            "another order than those of BODY_25; say model='BODY_25B', or detect with --model_pose BODY_25"
        )


def _bone_length(person: Keypoints, model: str) -> float:
    """Mean length in pixels of the bones that a person read as BODY_25 would have in a model's order; NaN if few."""
    start, end = torch.tensor(BONES[model]).T
    sure = (person.confidence[start] > SURE) & (person.confidence[end] > SURE)
    lengths = (person.xy[start] - person.xy[end]).norm(dim=-1)[sure]
    return float(lengths.mean()) if len(lengths) >= FEWEST_BONES else math.nan


def _read_person(person: object, source: str, where: str) -> Keypoints:
    """One entry of OpenPose's `people`; `where` opens every complaint."""
    numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if not isinstance(numbers, list) or len(numbers) != 75:
        found = f"{len(numbers)} numbers" if isinstance(numbers, list) else "no list"
        raise ValueError(f"{where}.pose_keypoints_2d: {found}, expected 75; use OpenPose's model BODY_25 or BODY_25B")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
        raise ValueError(f"{where}.pose_keypoints_2d holds something that is no finite number; detect again")
    table = torch.tensor(numbers, dtype=torch.float32).reshape(25, 3)
    try:
        return place(table[:, :2], table[:, 2], source)
    except ValueError as error:
        raise ValueError(f"{where}.pose_keypoints_2d: {error}") from error
