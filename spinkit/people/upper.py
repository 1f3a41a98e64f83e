"""How the upper body is drawn: the trunk, fourteen modes of an arm, and which of them go together."""

from dataclasses import dataclass

import numpy as np

from spinkit.people.anatomy import Dofs, on

Number = float | int
Spread = tuple[Number, Number]
"""Mean and standard deviation."""


@dataclass(frozen=True)
class Draw:
    """So many independent random numbers at a time."""

    generator: np.random.Generator
    count: int

    def normal(self, mean: Number, deviation: Number) -> np.ndarray:
        return self.generator.normal(mean, deviation, self.count)

    def uniform(self, least: Number, greatest: Number) -> np.ndarray:
        return self.generator.uniform(least, greatest, self.count)

    def chance(self, probability: Number) -> np.ndarray:
        return self.generator.random(self.count) < probability

    def choice(self, weights: list[Number]) -> np.ndarray:
        share = np.array(weights, float)
        return self.generator.choice(len(weights), self.count, p=share / share.sum())

    def only(self, count: int) -> "Draw":
        return Draw(self.generator, int(count))


def trunk(draw: Draw, flexion: Spread = (4, 6), turn: Number = 5, nod: Number = 4, look: Number = 18) -> Dofs:
    """Spine and neck: bend (mean, deviation), deviation of the turn, mean nod, deviation of the look."""
    return {
        "spine_flexion": draw.normal(*flexion),
        "spine_lateral": draw.normal(0, 3),
        "spine_rotation": draw.normal(0, turn),
        "neck_flexion": draw.normal(nod, 9),
        "neck_lateral": draw.normal(0, 5),
        "neck_rotation": draw.normal(0, look),
    }


@dataclass(frozen=True)
class Arm:
    """What one arm does: mean and standard deviation of its angles, in degrees."""

    abduction: Spread
    flexion: Spread
    rotation: Spread
    elbow: Spread
    pronation: Spread
    curl: Spread = (0, 0)
    wrist: Spread = (0, 0)
    protraction: Spread = (0, 0)


MODES = {
    "hang": Arm((9, 4), (0, 8), (-8, 10), (14, 9), (15, 18), curl=(15, 6)),
    "hip": Arm((42, 5), (-18, 6), (-52, 6), (98, 8), (25, 10), wrist=(-25, 12)),
    "cross": Arm((8, 4), (32, 6), (-62, 5), (98, 6), (25, 12), protraction=(6, 3)),
    "front": Arm((10, 4), (12, 7), (-48, 8), (62, 15), (20, 15), curl=(22, 7)),
    "back": Arm((16, 4), (-28, 5), (-62, 6), (55, 12), (10, 12)),
    "chest": Arm((14, 6), (30, 12), (-22, 14), (105, 14), (0, 25), curl=(25, 9)),
    "face": Arm((24, 10), (52, 12), (-18, 12), (130, 8), (-10, 25), curl=(27, 10)),
    "head": Arm((95, 12), (30, 12), (45, 12), (125, 10), (10, 15)),
    "gesture": Arm((24, 13), (28, 22), (-12, 22), (70, 28), (-15, 32), curl=(15, 9), wrist=(-8, 18)),
    "forward": Arm((14, 12), (82, 16), (-22, 18), (22, 20), (20, 28)),
    "side": Arm((86, 14), (8, 16), (8, 20), (14, 14), (5, 25)),
    "up": Arm((95, 30), (0, 0), (5, 15), (14, 14), (0, 25)),
    "thigh": Arm((8, 4), (20, 7), (-26, 8), (42, 12), (38, 14), curl=(10, 6)),
    "desk": Arm((12, 6), (32, 10), (-32, 10), (78, 12), (50, 14), curl=(22, 7)),
}

# (weight, what the left arm does, what the right arm does)
ArmTable = tuple[tuple[Number, str, str], ...]
STANDING_ARMS = (
    (30, "hang", "hang"), (6, "hip", "hip"), (4, "hip", "hang"), (5, "cross", "cross"),
    (6, "front", "front"), (3, "back", "back"), (6, "chest", "hang"), (5, "chest", "chest"),
    (4, "face", "hang"), (2, "head", "head"), (2, "head", "hang"), (12, "gesture", "gesture"),
    (8, "gesture", "hang"), (5, "forward", "hang"), (3, "forward", "forward"), (3, "side", "side"),
    (3, "up", "hang"), (2, "up", "up"),
)  # fmt: skip
SITTING_ARMS = (
    (30, "thigh", "thigh"), (22, "desk", "desk"), (8, "cross", "cross"), (8, "gesture", "gesture"),
    (8, "gesture", "thigh"), (6, "face", "thigh"), (8, "front", "front"), (4, "chest", "desk"),
    (4, "hang", "hang"),
)  # fmt: skip
FLOOR_ARMS = (
    (3, "thigh", "thigh"), (3, "front", "front"), (2, "gesture", "gesture"), (2, "gesture", "thigh"),
    (1, "chest", "chest"),
)  # fmt: skip
SQUATTING_ARMS = (
    (4, "forward", "forward"), (3, "thigh", "thigh"), (3, "front", "front"), (2, "gesture", "gesture"),
    (2, "chest", "chest"), (2, "desk", "desk"),
)  # fmt: skip
KNEELING_ARMS = (*STANDING_ARMS, (20, "front", "thigh"), (10, "desk", "desk"))
BENDING_ARMS = (
    (6, "forward", "forward"), (5, "forward", "thigh"), (4, "desk", "desk"), (2, "thigh", "thigh"),
    (2, "hang", "hang"),
)  # fmt: skip
REACHING_ARMS = (
    (5, "up", "hang"), (4, "up", "up"), (4, "forward", "forward"), (4, "forward", "hang"),
    (3, "side", "hang"), (3, "side", "side"), (2, "up", "forward"), (2, "side", "up"),
)  # fmt: skip
KICKING_ARMS = (
    (4, "side", "gesture"), (3, "gesture", "side"), (3, "gesture", "gesture"), (2, "hang", "side"),
)  # fmt: skip
JUMPING_ARMS = (
    (4, "up", "up"), (4, "side", "side"), (3, "gesture", "gesture"), (2, "forward", "forward"),
    (2, "up", "side"),
)  # fmt: skip
DANCING_ARMS = tuple(
    (1, left, right)
    for left in ("up", "side", "gesture", "chest", "head", "hip")
    for right in ("up", "side", "gesture", "hip", "forward")
)


def one_arm(draw: Draw, mode: str) -> Dofs:
    """The angles of an arm, named without their side."""
    arm = MODES[mode]
    angles = {
        "shoulder_abduction": draw.normal(*arm.abduction),
        "shoulder_flexion": draw.normal(*arm.flexion),
        "shoulder_rotation": draw.normal(*arm.rotation),
        # An elbow does not bend backwards: fold the tail of its distribution rather than heap it up at zero.
        "elbow_flexion": abs(draw.normal(*arm.elbow)),
        "pronation": draw.normal(*arm.pronation),
        "finger_curl": draw.normal(*arm.curl),
        "wrist_flexion": draw.normal(*arm.wrist),
        "collar_protraction": draw.normal(*arm.protraction),
    }
    if mode == "up":
        elevation = draw.uniform(135, 165)
        angles["shoulder_flexion"] = np.sqrt(np.maximum(0, elevation**2 - angles["shoulder_abduction"] ** 2))
    return angles


def two_arms(draw: Draw, table: ArmTable) -> Dofs:
    """Both arms, each pose with a pair of modes from the table."""
    chosen = draw.choice([weight for weight, _, _ in table])
    parts = []
    for pair, (_, left, right) in enumerate(table):
        rows = np.flatnonzero(chosen == pair)
        some = draw.only(len(rows))
        parts.append((rows, on("left", **one_arm(some, left)) | on("right", **one_arm(some, right))))
    return assemble(draw.count, parts)


def assemble(count: int, parts: list[tuple[np.ndarray, Dofs]]) -> Dofs:
    """One set of angles from sets that each cover some rows; what a part leaves unnamed is zero there."""
    names = sorted({name for _, dofs in parts for name in dofs})
    whole = {name: np.zeros(count) for name in names}
    for rows, dofs in parts:
        for name, angle in dofs.items():
            whole[name][rows] = angle
    return whole
