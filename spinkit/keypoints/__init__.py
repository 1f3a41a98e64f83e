"""The 49 keypoints of SPIN: names, mirror order, where each comes from, and readers of detections.

The first 25 are OpenPose's BODY_25, in its order; the last 24 are the points that data sets annotate. Some
anatomical points occur in both halves, because the two sources disagree about where a hip lies. Left and
right are the body's own.

    people = keypoints.read("photo_keypoints.json")              # one Keypoints a person, in pixels of the photo
    person = people[keypoints.choose_person(people)]             # the largest
"""

from spinkit.keypoints.names import (
    ANNOTATED,
    JOINT_MIRROR,
    JOINT_NAMES,
    JOINT_PARENTS,
    LSP14,
    MIRROR,
    NAMES,
    OPENPOSE,
    POOL,
    mirror_order,
)
from spinkit.keypoints.order import BONES
from spinkit.keypoints.readers import OPENPOSE_MODELS, read, read_openpose, save
from spinkit.keypoints.records import SURE, Keypoints, choose_person, place
from spinkit.keypoints.sources import SOURCES, coverage, filled, points_in

__all__ = [
    "ANNOTATED",
    "BONES",
    "JOINT_MIRROR",
    "JOINT_NAMES",
    "JOINT_PARENTS",
    "LSP14",
    "MIRROR",
    "NAMES",
    "OPENPOSE",
    "OPENPOSE_MODELS",
    "POOL",
    "SOURCES",
    "SURE",
    "Keypoints",
    "choose_person",
    "coverage",
    "filled",
    "mirror_order",
    "place",
    "points_in",
    "read",
    "read_openpose",
    "save",
]
