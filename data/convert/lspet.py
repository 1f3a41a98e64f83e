"""Leeds Sports Pose extended, high resolution (HR-LSPET) -> hr-lspet_train.npz.

Fields: imgname, center, scale, part, and openpose where given.

Known faults of the published file, mended here and repeated by --faithful:
- All 14 points of everybody count as seen, whatever the third column of joints.mat says; points that it marks as
  unseen are no observations, and the box goes around them. Here they are missing, and whoever shows fewer than two
  points is left out. That can move the rows, which fits made for the published file go by.
- The i-th photo of the folder gets the i-th annotation. One photo lost moves all later labels. Here, where there are
  fewer photos than annotations, the number in a photo's name says which annotation is its own.
- OpenPose's people were matched by a rule that keeps strangers (detections.py).
"""

import re
from collections import Counter
from pathlib import Path

import common
import detections
import numpy as np
from common import Converted, Person
from matfiles import read_mat

from spinkit.data import TRAIN_FILES

NAME = TRAIN_FILES["lspet"]
PUBLISHED_REACH = 0.0
REMEDY = "fetch hr-lspet again"


def main(arguments: list[str] | None = None) -> None:
    faithful = "all 14 points as seen, labels by position, and its matching of OpenPose's people"
    parser = common.command(__doc__, NAME, "joints.mat and im*.png", faithful)
    detections.add_option(parser)
    options = parser.parse_args(arguments)
    converted = convert(options.root, options.faithful)
    openpose = detections.join(options.openpose, converted.people, PUBLISHED_REACH if options.faithful else None)
    common.finish(options.out or options.root / NAME, converted, options.root, REMEDY, openpose)


def convert(root: Path, faithful: bool) -> Converted:
    """Everybody who has a photo, by the photo's name.

    Raises:
        FileNotFoundError: when joints.mat or the photos are missing.
        ValueError: when joints.mat is damaged or not that of LSPET, or photos and annotations cannot be paired.
    """
    path = root / "joints.mat"
    (joints,) = read_mat(path, ["joints"], REMEDY)
    common.expect_shape(joints, (14, 3, None), f"{path}: joints", REMEDY)
    photos = common.files_in(root, "*.png", REMEDY)
    people, left_out = [], Counter()
    for photo, row in zip(photos, _rows(photos, joints.shape[2], path, faithful), strict=True):
        visible = np.ones(14, bool) if faithful else joints[:, 2, row] > 0
        if visible.sum() < 2:
            left_out["fewer than two points seen"] += 1
            continue
        center, scale = common.tight_box(joints[visible, :2, row])
        people.append(Person(photo.name, center, scale, common.annotated(joints[:, :2, row], common.LSP14, visible)))
    return Converted(people, left_out)


def _rows(photos: list[Path], annotations: int, path: Path, faithful: bool) -> list[int]:
    """The annotation of each photo."""
    if len(photos) == annotations or (faithful and len(photos) < annotations):
        return list(range(len(photos)))
    numbers = [int(found.group()) if (found := re.search(r"\d+", photo.stem)) else 0 for photo in photos]
    wrong = [photo for photo, number in zip(photos, numbers, strict=True) if not 1 <= number <= annotations]
    if wrong:
        raise ValueError(f"{path} has {annotations} annotations in joints, none of them for {wrong[0].name}; {REMEDY}")
    return [number - 1 for number in numbers]


if __name__ == "__main__":
    common.run(main)
