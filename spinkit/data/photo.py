"""Reader of one photo of one's own, with keypoints of any kind that `keypoints.read` knows."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch

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
    usable, refusals = [], []
    for number in numbers:
        if (people[number].confidence > SURE).sum() < min_keypoints:
            problem = f"fewer than {min_keypoints} keypoints with a score above {SURE}"
            refusals.append(Refusal(f"person {number}", "keypoints", problem, "lower min_keypoints"))
        else:
            usable.append(people[number])
    refused = Refused(tuple(refusals))
    if not usable:
        raise ValueError(f"{path}: nobody in {photo.name} can be used: {refused}; detect people again")
    return _cropped(photo, usable, size), refused


def _cropped(photo: Path, people: list[Keypoints], size: int) -> Samples:
    boxes = torch.stack([crop.box_around(p.xy, (p.confidence > SURE).to(p.xy)) for p in people])
    found = Keypoints(torch.stack([p.xy for p in people]), torch.stack([p.confidence for p in people]))
    return Samples(
        name=photo.stem,
        images=PhotoCrops([photo] * len(people), boxes, size, 1.0),
        keypoints=crop.crop_keypoints(found, boxes),
        labels=Truth.none(len(people)),
        judge=None,
        margin=1.0,
    )
