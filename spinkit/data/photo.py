"""Reader of one photo of one's own, with keypoints of any kind that `keypoints.read` knows."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import crop, keypoints
from spinkit.data.coco import Refusal, Refused
from spinkit.data.images import PhotoCrops, read_photo
from spinkit.data.samples import Samples, Truth
from spinkit.keypoints import SURE, Keypoints


def read_own_photo(
    photo: str | PathLike[str],
    keypoint_path: str | PathLike[str],
    size: int,
    min_keypoints: int = 8,
    kind: str | None = None,
    who: Sequence[int] | None = None,
) -> tuple[Samples, Refused]:
    """Everyone in one photo, or some of them, each in a square around the points that are surely there.

    Args:
        photo: the picture's file.
        keypoint_path: a file that `keypoints.read` knows; if it has several pictures, one by the photo's file name. Of
            a video's file, `keypoints.read` takes the frame, and `keypoints.save` makes a file of it for here.
        size: pixels of the side of a crop.
        min_keypoints: people with fewer sure keypoints are refused.
        kind: of the points, one of `keypoints.SOURCES`, where the file does not tell.
        who: numbers of people in the file's order, such as `keypoints.choose_person` gives; all if None.

    Returns:
        The people, whose pictures are a `PhotoCrops` that knows their boxes, and who was refused.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the photo cannot be decoded, the keypoints cannot be read, there is no such person, or nobody can
            be used.
    """
    photo, path = Path(photo), Path(keypoint_path)
    height, width, _ = read_photo(photo).shape
    people = keypoints.read(path, kind, photo.name, (width, height))
    numbers = range(len(people)) if who is None else who
    if not set(numbers) <= set(range(len(people))):
        raise ValueError(f"{path}: has {len(people)} people in {photo.name}; who = {list(who)} names another")
    usable, boxes, refusals = [], [], []
    for number in numbers:
        try:
            boxes.append(_box(people[number], (width, height), min_keypoints))
            usable.append(people[number])
        except ValueError as error:
            remedy = "detect this person again, or lower min_keypoints"
            refusals.append(Refusal(f"person {number}", "keypoints", str(error), remedy))
    refused = Refused(tuple(refusals))
    if not usable:
        raise ValueError(f"{path}: nobody in {photo.name} can be used: {refused}; detect people again")
    return _cropped(photo, usable, torch.stack(boxes), size), refused


def _box(person: Keypoints, photo_size: tuple[int, int], min_keypoints: int) -> Float[Tensor, "3"]:
    """The square around a person; a ValueError where nothing can be learned from it."""
    sure = person.confidence > SURE
    if sure.sum() < min_keypoints:
        raise ValueError(f"fewer than {min_keypoints} keypoints with a score above {SURE}")
    box = crop.box_around(person.xy, sure.to(person.xy))
    fault = crop.box_fault(box, photo_size)
    if fault:
        raise ValueError(fault)
    return box


def _cropped(photo: Path, people: list[Keypoints], boxes: Float[Tensor, "n 3"], size: int) -> Samples:
    found = Keypoints(torch.stack([p.xy for p in people]), torch.stack([p.confidence for p in people]))
    return Samples(
        name=photo.stem,
        images=PhotoCrops([photo] * len(people), boxes, size, 1.0),
        keypoints=crop.crop_keypoints(found, boxes),
        labels=Truth.none(len(people)),
        judge=None,
        margin=1.0,
    )
