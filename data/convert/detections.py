"""OpenPose's detections, joined to the people that a data set annotates.

The published rule compares the twelve limb points. Its fault: somebody whose limbs were not all detected counts as
infinitely far, and the test that should reject the far rejects only the near, so that where nobody fits the first
person in the file is taken, whoever that is. Here the nearest person counts, by the limb points that are both
annotated and detected, and only within a tenth of the annotated person's size.
"""

from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from common import Person
from jaxtyping import Float

from spinkit import keypoints

LIMBS = [11, 10, 9, 12, 13, 14, 4, 3, 2, 5, 6, 7]
"""OpenPose's numbers of the first twelve annotated points: right leg, left leg, right arm, left arm."""
NEAR = 0.1
"""Mean distance of the limbs, in sizes of the person, beyond which a detection is of somebody else. SPIN's number."""
FEWEST = 4
"""Limb points that must be both annotated and detected for a distance to mean something."""

Detections = Float[np.ndarray, "people 25 3"]


def add_option(parser) -> None:
    """The option that names OpenPose's folder."""
    parser.add_argument(
        "--openpose", type=Path, help="folder of OpenPose's JSON files (BODY_25), flat or arranged as the photos are"
    )


def join(
    folder: Path | None, people: list[Person], published_reach: float | None
) -> dict[str, Float[np.ndarray, "n 25 3"]]:
    """The field `openpose`, one row a person; nothing where no folder is given.

    Args:
        folder: of the files `PHOTO_keypoints.json`.
        people: with their annotated points.
        published_reach: pixels; by the published rule with this threshold, or by ours where None.

    Raises:
        FileNotFoundError: when there is no folder, or no file for any photo.
        ValueError: when a file cannot be read; it is named.
    """
    if folder is None:
        return {}
    files = _files(folder, [person.imgname for person in people])
    read = lru_cache(maxsize=8)(_read)  # People of one photo follow each other.
    rows = np.zeros((len(people), 25, 3))
    for i, person in enumerate(people):
        if person.imgname in files:
            found = read(files[person.imgname])
            rows[i] = (
                nearest(found, person.part)
                if published_reach is None
                else published(found, person.part, published_reach)
            )
    matched = int((rows[..., 2] > 0).any(axis=1).sum())
    print(f"OpenPose: {matched} of {len(people)} people matched, files for {len(files)} photos")
    return {"openpose": rows}


def nearest(found: Detections, part: Float[np.ndarray, "24 3"]) -> Float[np.ndarray, "25 3"]:
    """The detection whose limbs lie nearest the annotated ones, or zeros where none is near."""
    visible = part[:, 2] > 0
    both = (found[:, LIMBS, 2] > 0) & visible[:12]
    distance = np.linalg.norm(found[:, LIMBS, :2] - part[:12, :2], axis=-1)
    mean = np.where(both, distance, 0).sum(axis=1) / both.sum(axis=1).clip(min=1)
    mean[both.sum(axis=1) < FEWEST] = np.inf
    size = np.ptp(part[visible, :2], axis=0).max() if visible.any() else 0.0
    return found[mean.argmin()] if (mean <= NEAR * size).any() else np.zeros((25, 3))


def published(found: Detections, part: Float[np.ndarray, "24 3"], reach: float) -> Float[np.ndarray, "25 3"]:
    """The published choice, faults included; `reach` is 30 pixels for MPII, 10 for COCO, else 0."""
    if len(found) == 0:
        return np.zeros((25, 3))
    mean = np.linalg.norm(found[:, LIMBS, :2] - part[:12, :2], axis=-1).mean(axis=1)
    mean[(found[:, LIMBS, 2] <= 0).any(axis=1)] = np.inf
    # Missing points count, at (0, 0).
    size = np.ptp(part[:, :2], axis=0).max()
    best = mean.argmin()
    return np.zeros((25, 3)) if mean[best] > NEAR * size and mean[best] < reach else found[best]


def _files(folder: Path, names: list[str]) -> dict[str, Path]:
    """The file of each photo that has one."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; run OpenPose with --write_json or correct --openpose")
    photos = {name: PurePosixPath(name) for name in dict.fromkeys(names)}
    # In a flat folder two photos of one name would get one file.
    flat = len({photo.name for photo in photos.values()}) == len(photos)
    found = {}
    for name, photo in photos.items():
        beside = [folder / photo.parent, *([folder] if flat else [])]
        there = [path for place in beside if (path := place / f"{photo.stem}_keypoints.json").is_file()]
        found |= {name: there[0]} if there else {}
    if not found:
        example = photos[names[0]].with_suffix("")
        raise FileNotFoundError(f"{folder} has no {example}_keypoints.json, nor one for any photo; correct --openpose")
    return found


def _read(path: Path) -> Detections:
    people = keypoints.read_openpose(path)
    tables = [
        np.column_stack([person.xy[keypoints.OPENPOSE], person.confidence[keypoints.OPENPOSE]]) for person in people
    ]
    return np.array(tables, np.float64).reshape(-1, 25, 3)
