"""COCO 2014, training -> coco_2014_train.npz (imgname, center, scale, part, and openpose where given).

Kept are the people whose twelve points of shoulders, arms, hips and legs are all labelled, hidden ones included. The
box is the annotated one, times 1.2.

Known fault of the published file: OpenPose's people were matched by a rule that keeps strangers (detections.py).
"""

from collections import Counter
from pathlib import Path

import common
import detections
import numpy as np
from common import Converted, Person

from spinkit import files
from spinkit.data import TRAIN_FILES

NAME = TRAIN_FILES["coco"]
ANNOTATION = "annotations/person_keypoints_train2014.json"
PHOTOS = "train2014"
BODY = slice(5, 17)
"""All points below the head."""
PUBLISHED_REACH = 10.0
REMEDY = "fetch train2014 and annotations_trainval2014 from COCO's site again"


def main(arguments: list[str] | None = None) -> None:
    parser = common.command(__doc__, NAME, f"{ANNOTATION} and {PHOTOS}/*.jpg", "its matching of OpenPose's people")
    detections.add_option(parser)
    options = parser.parse_args(arguments)
    converted = convert(options.root)
    openpose = detections.join(options.openpose, converted.people, PUBLISHED_REACH if options.faithful else None)
    common.finish(options.out or options.root / NAME, converted, options.root, REMEDY, openpose)


def convert(root: Path) -> Converted:
    """The people that are annotated well enough, in the order of the annotations.

    Raises:
        FileNotFoundError: when there is no annotation.
        ValueError: when it is no person_keypoints file, or an entry lacks a field.
    """
    path = root / ANNOTATION
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {REMEDY}")
    content = files.read_json(path, REMEDY)
    if not isinstance(content, dict) or not content.get("images") or not content.get("annotations"):
        raise ValueError(f"{path}: 'images' or 'annotations' is missing or empty; {REMEDY}")
    people, left_out = [], Counter()
    try:
        photos = {photo["id"]: photo["file_name"] for photo in content["images"]}
        for entry in content["annotations"]:
            points = np.array(entry["keypoints"], np.float64).reshape(17, 3)
            if (points[BODY, 2] > 0).all():
                people.append(_person(points, entry["bbox"], photos[entry["image_id"]]))
            else:
                left_out["not all 12 points of the body labelled"] += 1
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: an entry of 'images' or 'annotations' is damaged ({error!r}); {REMEDY}") from error
    return Converted(people, left_out)


def _person(points: np.ndarray, bbox: list[float], photo: str) -> Person:
    left, top, width, height = bbox
    center, scale = common.box(np.array([left, top]), np.array([left + width, top + height]))
    part = common.annotated(points[:, :2], common.COCO17, points[:, 2] > 0)
    return Person(f"{PHOTOS}/{photo}", center, scale, part)


if __name__ == "__main__":
    common.run(main)
