"""Which 6890 of the skin's vertices the body keeps, how they are numbered, and the faces between them.

6890 is SMPL's number of vertices, so that whatever has SMPL's shapes fits. The vertices at nose, eyes, ears,
finger tips, toes and heels get the numbers that they have in SMPL, because code written for SMPL picks them
by these numbers. No other vertex corresponds to SMPL's vertex of that number.
"""

from dataclasses import dataclass

import numpy as np
import skeleton
from decimate import decimate
from figure import Figure, to_t_pose
from makehuman import MakeHuman, coefficients
from surface import Surface

VERTICES = 6890
HEAD_WEIGHT = 8
"""A vertex that follows the head counts 1 + this much in the decimation: faces need the detail."""

EXAMPLES = {
    "gender": np.array([0, 1, 0, 1, 0.5, 0, 1, 0.2, 0.8, 0.5]),
    "height": np.array([0.3, 0.3, 0.45, 0.4, 0.37, 0.4, 0.3, 0.35, 0.4, 0.37]),
    "age": np.full(10, 0.75),
    "weight": np.array([0.1, 0.9, 0.9, 0.2, 0.5, 0.5, 0.6, 0.6, 0.4, 0.5]),
    "muscle": np.array([0.3, 0.4, 0.5, 0.5, 0.5, 0.8, 0.3, 0.5, 0.5, 0.5]),
}
"""Ten people in whom the decimation is judged, on anny's scales."""
AVERAGE = 4
"""The one of them on whom the landmarks are sought."""


def _both(joint: str, x: float, y: float, z: float) -> dict[str, tuple[float, float, float]]:
    """A rotation vector on the left and its mirror image on the right."""
    return {f"left_{joint}": (x, y, z), f"right_{joint}": (x, -y, -z)}


POSES = (
    {},
    _both("shoulder", 0, 0, -75),
    _both("shoulder", 0, 0, 70),
    _both("shoulder", 0, -85, 0),
    {"left_elbow": (0, -120, 0), "right_elbow": (0, 90, 0)} | _both("shoulder", 0, 0, -40),
    _both("hip", -90, 0, 0) | _both("knee", 90, 0, 0) | _both("shoulder", 0, 0, -70),
    _both("hip", -120, 0, 0) | _both("knee", 135, 0, 0) | _both("ankle", -25, 0, 0),
    dict.fromkeys(("head", "neck"), (0, 35, 0))
    | dict.fromkeys(("spine1", "spine2", "spine3"), (0, 12, 0))
    | {"left_wrist": (80, 0, 0), "right_elbow": (80, 0, 0)},
    {"spine1": (25, 0, 0), "spine2": (25, 0, 0), "spine3": (15, 0, 0)} | _both("hip", -40, 0, 0),
    _both("hip", 0, 0, 45),
)
"""The pose of each, rotation vectors in degrees: T-pose, arms down, up and forward, elbows bent, sitting,
squatting, twisted, bent, legs apart."""

NUMBERS = {
    "nose": 332,
    "leye": 2800,
    "lear": 583,
    "reye": 6260,
    "rear": 4071,
    "lthumb": 2746,
    "lindex": 2319,
    "lmiddle": 2445,
    "lring": 2556,
    "lpinky": 2673,
    "rthumb": 6191,
    "rindex": 5782,
    "rmiddle": 5905,
    "rring": 6016,
    "rpinky": 6133,
    "LBigToe": 3216,
    "LSmallToe": 3226,
    "LHeel": 3387,
    "RBigToe": 6617,
    "RSmallToe": 6624,
    "RHeel": 6787,
}
"""The landmarks' numbers in SMPL's mesh."""

TIPS = {
    "lthumb": "finger1-3.L",
    "lindex": "finger2-3.L",
    "lmiddle": "finger3-3.L",
    "lring": "finger4-3.L",
    "lpinky": "finger5-3.L",
    "LBigToe": "toe1-2.L",
    "LSmallToe": "toe5-3.L",
}
"""Landmark -> the bone at whose tip it lies."""


@dataclass(frozen=True)
class Topology:
    """The body's mesh over the base mesh."""

    base_vertex: np.ndarray
    """(6890,) the vertex of the base mesh that each vertex is."""
    faces: np.ndarray
    """(13776, 3) over the new numbers."""
    landmarks: dict[str, int]
    """Name -> new number."""


def choose(source: MakeHuman, surface: Surface, figure: Figure) -> Topology:
    """Simplifies the skin and numbers what is left."""
    people = coefficients(source.macro_names, EXAMPLES)
    people = np.pad(people, ((0, 0), (0, len(figure.offsets) - people.shape[1])))
    bodies = _examples(surface, figure, people)
    weight = 1 + HEAD_WEIGHT * figure.weights[:, skeleton.index("head")]
    kept, faces = decimate(bodies, surface.faces, figure.mirror, VERTICES, weight, keep=surface.eyes)
    average = source.vertices + np.tensordot(people[AVERAGE], source.offsets, 1)
    landmarks = _landmarks(average, kept, source, surface, figure)
    base_vertex = _numbered(kept, landmarks)
    new_number = np.full(len(source.vertices), -1)
    new_number[base_vertex] = np.arange(len(base_vertex))
    return Topology(
        base_vertex, new_number[faces], {name: int(new_number[vertex]) for name, vertex in landmarks.items()}
    )


def _examples(surface: Surface, figure: Figure, people: np.ndarray) -> np.ndarray:
    """(bodies, n, 3): the people in their poses, and the mirror images of those that are not symmetric."""
    skin = np.unique(surface.faces)
    weights = figure.weights[skin]
    # In double precision: the rounding of single precision, which differs between machines and numbers of
    # threads, would choose between collapses of nearly equal cost.
    a_pose = figure.vertices[skin] + np.tensordot(people, figure.offsets[:, skin].astype(float), 1)
    rest = to_t_pose(a_pose, figure.a_joints(people), weights)
    rotvec = np.stack([skeleton.turned(pose) for pose in POSES])
    bodies = np.zeros((len(people), len(figure.vertices), 3))
    bodies[:, skin] = skeleton.pose(rest.vertices, rest.joints, rotvec, weights)
    mirrored = bodies[:, figure.mirror] * skeleton.FLIP
    lopsided = np.abs(bodies - mirrored).max((1, 2)) > 1e-6
    return np.concatenate([bodies, mirrored[lopsided]])


def _landmarks(x: np.ndarray, kept: np.ndarray, source: MakeHuman, surface: Surface, figure: Figure) -> dict[str, int]:
    """Name -> vertex of the base mesh, found on the A-posed body x. The right side mirrors the left."""
    rig = source.rig
    eye_height = x[surface.eyes[0], 1]
    head = kept[figure.weights[kept, skeleton.index("head")] > 0.5]
    height = x[head, 1] - eye_height
    nose = head[(np.abs(source.vertices[head, 0]) < 1e-4) & (height < 0) & (height > -0.09)]
    ear = head[(x[head, 0] > 0) & (height < 0.04) & (height > -0.06)]
    found = {
        "nose": int(nose[np.argmax(x[nose, 2])]),
        "leye": surface.eyes[0],
        "lear": int(ear[np.argmax(x[ear, 0])]),
    }
    for name, bone in TIPS.items():
        along = skeleton.unit(x[rig.tail[bone]].mean(0) - x[rig.head[bone]].mean(0))
        near = kept[rig.weights[bone][kept] > 0.3]
        found[name] = int(near[np.argmax(x[near] @ along)])
    foot = kept[figure.weights[kept, skeleton.index("left_ankle")] > 0.5]
    above_sole = np.maximum(0, x[foot, 1] - x[foot, 1].min() - 0.03)
    found["LHeel"] = int(foot[np.argmin(x[foot, 2] + 0.5 * above_sole)])
    right = {
        {"l": "r", "L": "R"}[name[0]] + name[1:]: int(source.mirror[vertex])
        for name, vertex in found.items()
        if name != "nose"
    }
    return found | right


def _numbered(kept: np.ndarray, landmarks: dict[str, int]) -> np.ndarray:
    """The vertices in their new order: landmarks where SMPL has them, the others around them as they come."""
    at = {NUMBERS[name]: vertex for name, vertex in landmarks.items()}
    taken = set(landmarks.values())
    others = iter([vertex for vertex in kept.tolist() if vertex not in taken])
    return np.array([at[number] if number in at else next(others) for number in range(len(kept))])
