"""Where the points of each source go among the 49.

No point is made up: a neck between two shoulders or a pelvis between two hips is not what anybody marked, so a
keypoint that a source lacks stays missing. Points that have no place among the 49 (hands, the outline of a face,
MediaPipe's `foot_index`, which is neither toe) are left out.
"""

from spinkit.keypoints.names import LSP14, NAMES

_COCO17 = (44, 45, 46, 47, 48, 34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25)
_FEET = tuple(range(19, 25))
# Neck and top of the head are those that people annotate: MMPose trains Halpe's on MPII's upper neck and head top.
_HALPE26 = (*_COCO17, 38, 37, 39, 19, 22, 20, 23, 21, 24)

SOURCES = {
    "coco17": _COCO17,
    # left big toe, small toe, heel, then the right ones
    "coco23": (*_COCO17, *_FEET),
    "wholebody133": (*_COCO17, *_FEET),
    "halpe26": _HALPE26,
    "halpe136": _HALPE26,
    "openpose25": tuple(range(25)),
    # COCO's order, upper neck, top of the head, then the feet.
    "openpose25b": (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11, 37, 38, *_FEET),
    # those of COCO in COCO's order, and the heels
    "mediapipe33": (*_COCO17, 21, 24),
    "lsp14": LSP14,
    "mpii16": (25, 26, 27, 28, 29, 30, 39, 40, 37, 38, 31, 32, 33, 34, 35, 36),
}
"""Keypoints that each source fills, in the source's own order."""

_TAKEN = {
    "wholebody133": (133, tuple(range(23))),
    "halpe136": (136, tuple(range(26))),
    "mediapipe33": (33, (0, 2, 5, 7, 8, *range(11, 17), *range(23, 31))),
}
# Sources that hold more than they fill: how many points, and which of them are taken.

_GROUPS = {
    "limbs": ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle"),
    "face": ("Nose", "Eye", "Ear"),
    "feet": ("Toe", "Heel"),
}


def points_in(source: str) -> tuple[int, tuple[int, ...]]:
    """How many points a source holds, and the numbers of those that fill `SOURCES[source]`."""
    slots = SOURCES[source]
    return _TAKEN.get(source, (len(slots), tuple(range(len(slots)))))


def filled(source: str) -> tuple[str, ...]:
    """The names of the keypoints that a source fills, in its own order."""
    return tuple(NAMES[slot] for slot in SOURCES[source])


def coverage() -> list[dict[str, object]]:
    """Which of the 49 each source fills: one row a source, with counts, and the names of what is neither limb, face
    nor foot."""
    return [_covered(source) for source in SOURCES]


def _covered(source: str) -> dict[str, object]:
    names = filled(source)
    groups = {name: _group(name) for name in names}
    counts = {group: sum(g == group for g in groups.values()) for group in _GROUPS}
    others = [name for name in names if groups[name] == "trunk"]
    return {"kind": source, "points": points_in(source)[0], "fills": len(names), **counts, "trunk": ", ".join(others)}


def _group(name: str) -> str:
    # The middle of the hips is no limb, though its name ends like one.
    endings = {} if name == "OP MidHip" else _GROUPS
    return next((group for group, ends in endings.items() if name.endswith(ends)), "trunk")
