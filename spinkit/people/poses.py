"""Plausible human poses without motion capture: an action, noise, anatomical limits, no limb in another."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from spinkit import keypoints
from spinkit.people import anatomy
from spinkit.people.actions import ACTIONS
from spinkit.people.anatomy import LIMITS, Dofs, about, joint
from spinkit.people.upper import Draw, assemble

DEEPEST_OVERLAP = 0.02
"""Metres that two limbs may enter each other; skin gives way that much."""
SMALLEST_BATCH, LARGEST_BATCH = 64, 4096


@dataclass(frozen=True)
class PoseSamples:
    """Poses, what the people are doing, and which way they face."""

    body_pose: Float[np.ndarray, "n 24 3"]
    """Rotation vectors of SMPL's joints in radians, float32; the pelvis row is zero."""
    actions: list[str]
    global_orient: Float[np.ndarray, "n 3"]
    """Rotation vector of the pelvis in the body frame (y up): any heading, the action's pitch, some roll."""


def sample(
    count: int,
    generator: np.random.Generator,
    rest_joints: Float[np.ndarray, "24 3"],
    actions: tuple[str, ...] = tuple(ACTIONS),
) -> PoseSamples:
    """Draw poses that a person could hold.

    Args:
        count: how many.
        generator: the only source of randomness; the same state gives the same poses.
        rest_joints: the body's joints in the T-pose, metres. They decide which limbs would collide.
        actions: what people may be doing; they keep their weights relative to each other.

    Returns:
        `count` poses, left and right equally often in each role.

    Raises:
        ValueError: for a negative count or an unknown action.
    """
    if count < 0:
        raise ValueError(f"count of poses must not be negative, got {count}")
    if not actions or not set(actions) <= set(ACTIONS):
        raise ValueError(f"actions must be some of {', '.join(ACTIONS)}, got {actions}")
    kept: list[tuple[np.ndarray, list[str], np.ndarray]] = []
    missing = count
    while missing > 0:
        batch = int(np.clip(1.4 * missing, SMALLEST_BATCH, LARGEST_BATCH))
        body_pose, names, pitch = _draw(batch, generator, actions)
        fine = np.flatnonzero(penetration(body_pose, rest_joints) < DEEPEST_OVERLAP)[:missing]
        kept.append((body_pose[fine], [names[row] for row in fine], pitch[fine]))
        missing -= len(fine)
    pitch = np.concatenate([np.zeros(0), *(part[2] for part in kept)])
    return PoseSamples(
        body_pose=np.concatenate([np.zeros((0, 24, 3)), *(part[0] for part in kept)]).astype(np.float32),
        actions=[action for part in kept for action in part[1]],
        global_orient=_orientation(pitch, Draw(generator, count)).astype(np.float32),
    )


def draw_dofs(
    count: int, generator: np.random.Generator, actions: tuple[str, ...] = tuple(ACTIONS)
) -> tuple[Dofs, list[str]]:
    """Angles in degrees, within all limits but not yet mirrored nor checked for collisions, and actions."""
    draw = Draw(generator, count)
    chosen = draw.choice([ACTIONS[name][0] for name in actions])
    rows = [np.flatnonzero(chosen == number) for number in range(len(actions))]
    parts = [ACTIONS[name][1](draw.only(len(some))) for some, name in zip(rows, actions, strict=True)]
    planned = assemble(count, list(zip(rows, parts, strict=True)))
    noisy = {name: planned.get(name, 0) + draw.normal(0, jitter) for name, (_, _, jitter) in LIMITS.items()}
    return anatomy.limited(noisy) | {"pitch": planned["pitch"]}, [actions[number] for number in chosen]


def _draw(
    count: int, generator: np.random.Generator, actions: tuple[str, ...]
) -> tuple[np.ndarray, list[str], np.ndarray]:
    dofs, names = draw_dofs(count, generator, actions)
    body_pose = anatomy.to_rotvec(dofs)
    mirrored = Draw(generator, count).chance(0.5)
    body_pose = np.where(mirrored[:, None, None], anatomy.mirror(body_pose), body_pose)
    return body_pose, names, dofs["pitch"]


def _orientation(pitch: np.ndarray, draw: Draw) -> Float[np.ndarray, "n 3"]:
    heading, roll = draw.uniform(-180, 180), draw.normal(0, 2)
    if draw.count == 0:
        return np.zeros((0, 3))
    return (about("y", heading) * about("z", roll) * about("x", pitch)).as_rotvec()


Offset = tuple[float | int, float | int, float | int]


@dataclass(frozen=True)
class Capsule:
    """A limb between two joints, in metres for a body whose neck is 0.54 m above its pelvis.

    An offset is fixed to its joint and written for the left side, +x outward from the body's middle.
    """

    start: str
    end: str
    radius: float
    skipped: float | int = 0
    """Share of the way from start to end that is left out, because a neighbour always fills it."""
    start_offset: Offset = (0, 0, 0)
    end_offset: Offset = (0, 0, 0)


NECK_HEIGHT = 0.54
SIDED_CAPSULES = {
    "torso": Capsule("pelvis", "spine 3", 0.105, 0, (0.055, 0, 0.01), (0.06, 0.08, 0.01)),
    "upper arm": Capsule("left shoulder", "left elbow", 0.042, 0.45),
    "forearm": Capsule("left elbow", "left wrist", 0.038, 0.25),
    "hand": Capsule("left wrist", "left hand", 0.030, 0.3, end_offset=(0.055, -0.02, 0)),
    "thigh": Capsule("left hip", "left knee", 0.062, 0.3),
    "shank": Capsule("left knee", "left ankle", 0.046, 0.1),
    "foot": Capsule("left ankle", "left foot", 0.036, 0, (0, -0.03, -0.03), (0, 0, 0.06)),
}
HEAD = Capsule("head", "head", 0.088, 0, (0, 0.05, 0.01), (0, 0.12, 0.04))

# Limbs that can meet: on the same side, on opposite sides (the first on one side, the second on the other),
# and a limb with its twin.
SAME_SIDE = (*product(("forearm", "hand"), ("torso", "thigh", "shank")), ("shank", "torso"))
MEET_HEAD = ("forearm", "hand", "upper arm")
OPPOSITE_SIDES = (
    *product(("forearm", "hand"), ("torso", "thigh", "shank", "upper arm")),
    *(("upper arm", "torso"), ("hand", "forearm"), ("shank", "torso")),
    *(("foot", "shank"), ("foot", "thigh"), ("shank", "thigh")),
)
TWINS = ("forearm", "hand", "thigh", "shank", "foot")


def penetration(
    body_pose: Float[np.ndarray, "n 24 3"], rest_joints: Float[np.ndarray, "24 3"]
) -> Float[np.ndarray, "n"]:
    """How deep the worst pair of limbs lies in each other, in metres; zero where nothing touches."""
    size = np.linalg.norm(rest_joints[joint("neck")] - rest_joints[joint("pelvis")]) / NECK_HEIGHT
    rotation, place = anatomy.forward_kinematics(body_pose, rest_joints)
    lines, radii = _capsules(rotation, place, size)
    deepest = np.zeros(len(body_pose))
    for one, other in _pairs():
        gap = _distance(lines[one], lines[other]) - radii[one] - radii[other]
        deepest = np.maximum(deepest, -gap)
    return deepest


def _capsules(rotation: np.ndarray, place: np.ndarray, size: float) -> tuple[dict, dict]:
    """Start and end of every capsule, each (n, 3), and the radii."""
    lines = {"head": _line(HEAD, rotation, place, size, mirrored=False)}
    radii = {"head": HEAD.radius * size}
    for (name, capsule), mirrored in product(SIDED_CAPSULES.items(), (False, True)):
        side = "right" if mirrored else "left"
        lines[f"{side} {name}"] = _line(capsule, rotation, place, size, mirrored)
        radii[f"{side} {name}"] = capsule.radius * size
    return lines, radii


def _line(capsule: Capsule, rotation: np.ndarray, place: np.ndarray, size: float, mirrored: bool) -> tuple:
    first, last = joint(capsule.start), joint(capsule.end)
    outward = np.ones(3)
    if mirrored:
        first, last = keypoints.JOINT_MIRROR[first], keypoints.JOINT_MIRROR[last]
        outward = np.array([-1, 1, 1])
    start = place[:, first] + capsule.skipped * (place[:, last] - place[:, first])
    start = start + rotation[:, first] @ (size * outward * capsule.start_offset)
    end = place[:, last] + rotation[:, last] @ (size * outward * capsule.end_offset)
    return start, end


def _pairs() -> list[tuple[str, str]]:
    pairs = [(f"left {name}", f"right {name}") for name in TWINS]
    for side, opposite in (("left", "right"), ("right", "left")):
        pairs += [(f"{side} {one}", "head") for one in MEET_HEAD]
        pairs += [(f"{side} {one}", f"{side} {other}") for one, other in SAME_SIDE]
        pairs += [(f"{side} {one}", f"{opposite} {other}") for one, other in OPPOSITE_SIDES]
    return pairs


def _distance(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Shortest distance between two line segments.

    The nearest point of the first line is clamped to its segment, then that of the second to its own; where
    the second clamp bites, the first point moves along.

    Source: Ericson, Real-Time Collision Detection (2005), section 5.1.9.
    """
    along_one, along_other, apart = one[1] - one[0], other[1] - other[0], one[0] - other[0]
    length_one, length_other = _dot(along_one, along_one), _dot(along_other, along_other)
    cross = _dot(along_one, along_other)
    toward_one, toward_other = _dot(along_one, apart), _dot(along_other, apart)
    squared_sine = np.maximum(length_one * length_other - cross**2, 1e-9)
    s = np.clip((cross * toward_other - toward_one * length_other) / squared_sine, 0, 1)
    unclamped = (cross * s + toward_other) / np.maximum(length_other, 1e-9)
    t = np.clip(unclamped, 0, 1)
    s = np.where(t == unclamped, s, np.clip((cross * t - toward_one) / np.maximum(length_one, 1e-9), 0, 1))
    return np.linalg.norm(apart + along_one * s[:, None] - along_other * t[:, None], axis=-1)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ni->n", one, other)
