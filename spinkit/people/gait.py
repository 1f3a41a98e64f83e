"""Walking and running: curves over the phase of the stride, the two legs half a cycle apart.

The curves are ours, after the normative shapes of gait analysis: flexion of hip, knee and ankle in degrees.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from spinkit.people.anatomy import Dofs, on, plus
from spinkit.people.upper import Draw, Number, one_arm, trunk


@dataclass(frozen=True)
class Gait:
    """A way of going on foot: curves of the leg, and how trunk and arms answer."""

    hip: tuple[Number, ...]
    """Flexion over one cycle, in tenths from heel strike to heel strike; so are knee and ankle."""
    knee: tuple[Number, ...]
    ankle: tuple[Number, ...]
    trunk_flexion: Number
    trunk_turn: Number
    """Amplitude by which the chest turns against the pelvis."""
    pitch: Number
    arm_swing: Number
    """Amplitude of the shoulder's flexion."""
    shoulder: tuple[Number, Number]
    """Mean abduction and flexion."""
    elbow: tuple[Number, Number, Number]
    """Mean and deviation of its flexion, and how much each degree of forward swing adds."""
    fist: Number
    """Greatest curl of the fingers."""


WALKING = Gait(
    hip=(28, 24, 16, 6, -4, -10, -6, 12, 25, 30, 28),
    knee=(4, 14, 17, 10, 5, 9, 34, 60, 48, 14, 4),
    ankle=(0, -4, 3, 7, 10, 7, -17, -8, 0, 3, 0),
    trunk_flexion=3,
    trunk_turn=5,
    pitch=1,
    arm_swing=20,
    shoulder=(8, 2),
    elbow=(18, 8, 0.45),
    fist=30,
)
RUNNING = Gait(
    hip=(34, 30, 16, 0, -10, -8, 10, 38, 52, 46, 34),
    knee=(18, 38, 38, 22, 18, 42, 85, 105, 80, 35, 18),
    ankle=(6, 18, 22, 5, -22, -18, -8, 0, 6, 6, 6),
    trunk_flexion=10,
    trunk_turn=9,
    pitch=6,
    arm_swing=24,
    shoulder=(14, -4),
    elbow=(88, 10, 0.3),
    fist=50,
)


def walk(draw: Draw) -> Dofs:
    dofs = _gait(draw, WALKING)
    # One in five carries something or looks at a telephone.
    busy, carrying = draw.chance(0.2), on("left", **one_arm(draw, "chest"))
    return dofs | {name: np.where(busy, angle, dofs.get(name, 0)) for name, angle in carrying.items()}


def run(draw: Draw) -> Dofs:
    return _gait(draw, RUNNING)


def _gait(draw: Draw, gait: Gait) -> Dofs:
    phase, stride = draw.uniform(0, 1), draw.uniform(0.7, 1.2)
    dofs = trunk(draw, flexion=(gait.trunk_flexion, 5), nod=0, look=10)
    turn = gait.trunk_turn * stride * np.cos(2 * np.pi * phase) + draw.normal(0, 3)
    # The head keeps looking where the walker goes.
    dofs = plus(dofs | {"spine_rotation": turn}, neck_rotation=-0.7 * turn)
    for side, moment in (("left", phase), ("right", phase + 0.5)):
        dofs |= on(side, **_striding_leg(draw, gait, moment, stride))
        dofs |= on(side, **_swinging_arm(draw, gait, moment, stride))
    return dofs | {"pitch": draw.normal(gait.pitch, 2)}


def _striding_leg(draw: Draw, gait: Gait, moment: np.ndarray, stride: np.ndarray) -> Dofs:
    tenths = np.linspace(0, 1, 11)
    curves = CubicSpline(tenths, np.stack([gait.hip, gait.knee, gait.ankle], -1), bc_type="periodic")
    hip, knee, ankle = curves(moment % 1).T
    return {
        "hip_flexion": stride * hip,
        "knee_flexion": (0.4 + 0.6 * stride) * knee,
        "ankle_dorsiflexion": ankle,
        "hip_abduction": draw.normal(1, 2),
        "hip_rotation": draw.normal(5, 5),
        # The toes bend while the heel leaves the ground, a little after mid-cycle.
        "toe_extension": 30 * np.exp(-(((moment % 1 - 0.56) / 0.07) ** 2)),
    }


def _swinging_arm(draw: Draw, gait: Gait, moment: np.ndarray, stride: np.ndarray) -> Dofs:
    swing = -gait.arm_swing * stride * np.cos(2 * np.pi * moment)
    abduction, flexion = gait.shoulder
    elbow, deviation, share = gait.elbow
    return {
        "shoulder_abduction": draw.normal(abduction, 4),
        "shoulder_flexion": flexion + swing,
        "shoulder_rotation": draw.normal(-12, 8),
        "elbow_flexion": abs(draw.normal(elbow, deviation)) + share * np.maximum(0, swing),
        "pronation": draw.normal(5, 15),
        "finger_curl": draw.uniform(10, gait.fist),
    }
