"""Reader of one photo of one's own, with keypoints from COCO's or OpenPose's JSON."""

from os import PathLike
from pathlib import Path

import torch

from spinkit import crop, files, keypoints
from spinkit.data.coco import Refusal, Refused, read_coco
from spinkit.data.images import PhotoCrops, read_photo
from spinkit.data.samples import Samples, Truth
from spinkit.keypoints import Keypoints

SURE = 0.2
"""OpenPose's points below this score do not shape the box. Source: SPIN, demo.py."""


def read_own_photo(
    photo: str | PathLike[str],
    keypoint_path: str | PathLike[str],
    size: int,
    min_keypoints: int = 8,
    margin: float = 1.0,
    model: str = "BODY_25",
) -> tuple[Samples, Refused]:
    """Everyone in one photo.

    Args:
        photo: the picture's file.
        keypoint_path: OpenPose's JSON of this photo, or a COCO `person_keypoints` file whose `images` name it; the
            file's content says which.
        size: pixels of the side of a crop.
        min_keypoints: people with fewer keypoints are refused.
        margin: room around a person's box.
        model: OpenPose's, one of `keypoints.OPENPOSE_MODELS`; a COCO file does not ask.

    Returns:
        The people, whose pictures are a `PhotoCrops` that knows their boxes, and who was refused.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the photo cannot be decoded, the JSON is of neither kind, or nobody in it can be used.
    """
    photo, path = Path(photo), Path(keypoint_path)
    read_photo(photo)
    if not path.is_file():
        raise FileNotFoundError(f"no keypoints at {path}; correct the path, or detect people in {photo.name} first")
    content = files.read_json(path, "write it again")
    if isinstance(content, dict) and "people" in content:
        people, refused = _from_openpose(path, min_keypoints, model)
        return _cropped(photo, people, size, margin), refused
    ids = _annotations_of(photo, content, path)
    return read_coco(path, photo.parent, size, min_keypoints, ids, margin)


def _annotations_of(photo: Path, content: object, path: Path) -> list[int]:
    """The ids of the annotations that a COCO file has for a photo."""
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise ValueError(
            f"{path}: neither 'people' (OpenPose) nor 'images' and 'annotations' (COCO); give one of these"
        )
    images = {r.get("id") for r in content["images"] if isinstance(r, dict) and r.get("file_name") == photo.name}
    ids = [r["id"] for r in content["annotations"] if isinstance(r, dict) and "id" in r and r.get("image_id") in images]
    if not ids:
        raise ValueError(
            f"{path}: no annotation of a photo with the file_name {photo.name}; give the file that has one"
        )
    return ids


def _from_openpose(path: Path, min_keypoints: int, model: str) -> tuple[list[Keypoints], Refused]:
    people, refusals = [], []
    for row, person in enumerate(keypoints.read_openpose(path, model)):
        if (person.confidence > SURE).sum() < min_keypoints:
            problem = f"fewer than {min_keypoints} keypoints with a score above {SURE}"
            refusals.append(Refusal(f"people[{row}]", "pose_keypoints_2d", problem, "lower min_keypoints"))
        else:
            people.append(person)
    if not people:
        raise ValueError(f"{path}: nobody can be used: {Refused(tuple(refusals))}; detect people again")
    return people, Refused(tuple(refusals))


def _cropped(photo: Path, people: list[Keypoints], size: int, margin: float) -> Samples:
    """Each person in a box around the points that are surely there."""
    boxes = torch.stack([crop.box_around(p.xy, (p.confidence > SURE).to(p.xy)) for p in people])
    found = Keypoints(torch.stack([p.xy for p in people]), torch.stack([p.confidence for p in people]))
    return Samples(
        name=photo.stem,
        images=PhotoCrops([photo] * len(people), boxes, size, margin),
        keypoints=crop.crop_keypoints(found, boxes),
        labels=Truth.none(len(people)),
        judge=None,
        margin=margin,
    )
