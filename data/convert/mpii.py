"""MPII Human Pose -> mpii_train.npz (imgname, center, scale, part, and openpose where given).

Two annotations are read: the train.h5 of the stacked hourglass network, which the published file was made from (needs
h5py), and the official mpii_human_pose_v1_u12_1.mat, whose training images also hold the people that the hourglass
network keeps for validation. Kept are the people with all 16 points annotated. Centre and scale are the annotators',
without the factor 1.2 of other sets: the box is about as high as the person.

Known fault of the published file: OpenPose's people were matched by a rule that keeps strangers (detections.py).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import common
import detections
import numpy as np
from common import Converted, Person
from matfiles import open_hdf5, read_struct

from spinkit.data import TRAIN_FILES

NAME = TRAIN_FILES["mpii"]
HOURGLASS, OFFICIAL = "annot/train.h5", "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat"
PUBLISHED_REACH = 30.0
REMEDY = "fetch the annotation again, or name it with --annotation"

Row = tuple[str, np.ndarray, float, np.ndarray]
"""Photo, centre (2,), scale, points (16, 2)."""


def main(arguments: list[str] | None = None) -> None:
    parser = common.command(__doc__, NAME, "images/ and an annotation", "its matching of OpenPose's people")
    parser.add_argument("--annotation", type=Path, help=f"an .h5 or .mat file (default: {HOURGLASS}, else {OFFICIAL})")
    detections.add_option(parser)
    options = parser.parse_args(arguments)
    converted = convert(options.annotation or _annotation(options.root))
    openpose = detections.join(options.openpose, converted.people, PUBLISHED_REACH if options.faithful else None)
    remedy = "fetch the images of MPII into images/"
    common.finish(options.out or options.root / NAME, converted, options.root, remedy, openpose)


def convert(annotation: Path) -> Converted:
    """Everybody whose points are all annotated.

    Raises:
        FileNotFoundError: when there is no annotation.
        ValueError: when it is damaged, or another file.
        ModuleNotFoundError: when it needs h5py and that is not installed.
    """
    people, left_out = [], Counter()
    for photo, center, scale, points in (_hourglass if annotation.suffix == ".h5" else _official)(annotation):
        if (points > 0).all():
            people.append(Person(f"images/{photo}", center, scale, common.annotated(points, common.MPII16)))
        else:
            left_out["not all 16 points annotated, or no position"] += 1
    return Converted(people, left_out)


def _annotation(root: Path) -> Path:
    found = [root / name for name in (HOURGLASS, OFFICIAL) if (root / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{root} has neither {HOURGLASS} nor {OFFICIAL}; {REMEDY}")
    return found[0]


def _hourglass(path: Path) -> Iterator[Row]:
    with open_hdf5(path, ["imgname", "center", "scale", "part"], REMEDY) as file:
        names, centers, scales, parts = (file[field][()] for field in ("imgname", "center", "scale", "part"))
    common.expect_shape(parts, (len(names), 16, 2), f"{path}: part", REMEDY)
    common.expect_shape(centers, (len(names), 2), f"{path}: center", REMEDY)
    for name, *row in zip(names, centers, scales, parts, strict=True):
        yield _text(name), *row


def _text(name: bytes | np.ndarray) -> str:
    """A name stored as bytes or as a row of character codes."""
    encoded = name if isinstance(name, bytes) else bytes(np.asarray(name).astype(np.uint8))
    return encoded.rstrip(b"\0").decode()


def _official(path: Path) -> Iterator[Row]:
    release = read_struct(path, "RELEASE", REMEDY)
    try:
        images = np.atleast_1d(release.annolist)
        for image, training in zip(images, np.atleast_1d(release.img_train), strict=True):
            for person in np.atleast_1d(image.annorect) if training else []:
                yield image.image.name, *_official_person(person)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: RELEASE is not as MPII has it ({error}); {REMEDY}") from error


def _official_person(person: object) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre, scale and points; what is not annotated is 0."""
    points = np.zeros((16, 2))
    listed = getattr(getattr(person, "annopoints", None), "point", [])
    for point in np.atleast_1d(listed):
        points[int(point.id)] = point.x, point.y
    # The test images, and a few others, have neither position nor size.
    position, scale = getattr(person, "objpos", None), np.ravel(getattr(person, "scale", []))
    if not hasattr(position, "x") or len(scale) == 0:
        return np.zeros(2), 0.0, np.zeros((16, 2))
    return np.array([position.x, position.y], np.float64), float(scale[0]), points


if __name__ == "__main__":
    common.run(main)
