"""Sixteen things that people do, each a distribution of clinical angles.

An action draws its angles in degrees for `draw.count` poses at once and returns them by name, with "pitch",
the forward lean of the pelvis. Where an action is one-sided it is written for the left; the sampler mirrors
half of all poses. The numbers are ours, from general knowledge of anatomy; no motion capture enters.
"""

from collections.abc import Callable

import numpy as np

from spinkit.people import upper
from spinkit.people.anatomy import LIMITS, SIDES, Dofs, on, plus
from spinkit.people.gait import run, walk
from spinkit.people.upper import Draw, Number, one_arm, trunk, two_arms


def stand(draw: Draw) -> Dofs:
    spread, shift = abs(draw.normal(4, 4)), draw.normal(0, 2.5)
    dofs = trunk(draw)
    for side, shifted in (("left", spread + shift), ("right", spread - shift)):
        dofs |= on(
            side,
            hip_abduction=shifted,
            hip_rotation=draw.normal(7, 6),
            hip_flexion=draw.normal(1, 4),
            knee_flexion=abs(draw.normal(3, 3)),
        )
    # Nearly half stand on one leg, the other bent and turned out.
    slack = abs(draw.normal(18, 9)) * draw.chance(0.45)
    dofs = plus(
        dofs,
        left_hip_flexion=0.75 * slack,
        left_knee_flexion=1.3 * slack,
        left_hip_rotation=0.4 * slack,
        left_hip_abduction=0.15 * slack,
        spine_lateral=0.12 * slack,
    )
    for side in SIDES:
        flat_foot = dofs[f"{side}_knee_flexion"] - dofs[f"{side}_hip_flexion"]
        dofs |= on(side, ankle_dorsiflexion=flat_foot)
    return dofs | two_arms(draw, upper.STANDING_ARMS) | {"pitch": draw.normal(0, 2)}


def sit(draw: Draw) -> Dofs:
    pitch, spread = draw.normal(-8, 8), abs(draw.normal(8, 7))
    dofs = trunk(draw, flexion=(14, 12), turn=6, nod=2)
    for side in SIDES:
        thigh, knee = draw.normal(86, 7), draw.normal(86, 15)
        dofs |= on(
            side,
            hip_flexion=thigh + pitch,
            knee_flexion=knee,
            hip_abduction=spread + draw.normal(0, 3),
            hip_rotation=draw.normal(2, 6),
            ankle_dorsiflexion=np.clip(knee - thigh, -25, 18),
        )
    knee_over_knee = draw.chance(0.15)
    crossed = {
        "left_hip_flexion": dofs["left_hip_flexion"] + 12,
        "left_hip_abduction": -18,
        "left_hip_rotation": 6,
        "left_knee_flexion": 75,
        "right_hip_abduction": -4,
        "right_hip_rotation": 0,
    }
    dofs |= {name: np.where(knee_over_knee, angle, dofs[name]) for name, angle in crossed.items()}
    return dofs | two_arms(draw, upper.SITTING_ARMS) | {"pitch": pitch}


def floor(draw: Draw) -> Dofs:
    """Sitting on the floor, with crossed legs or with stretched ones."""
    tailor = draw.chance(0.55)
    dofs = trunk(draw, flexion=(26, 9), nod=-6)
    for side in SIDES:
        dofs |= on(
            side,
            hip_flexion=np.where(tailor, draw.normal(84, 7), draw.normal(82, 10)),
            hip_abduction=np.where(tailor, draw.normal(34, 4), draw.normal(6, 5)),
            hip_rotation=np.where(tailor, draw.normal(38, 4), draw.normal(2, 5)),
            knee_flexion=np.where(tailor, draw.normal(122, 6), draw.uniform(8, 95)),
            ankle_dorsiflexion=draw.normal(-14, 7),
        )
    return dofs | two_arms(draw, upper.FLOOR_ARMS) | {"pitch": draw.normal(-12, 6)}


def squat(draw: Draw) -> Dofs:
    depth, spread = draw.uniform(0.25, 1), draw.normal(14, 6)
    pitch = 30 * depth + draw.normal(0, 5)
    dofs = trunk(draw, flexion=(12, 7), nod=-14)
    for side in SIDES:
        dofs |= on(
            side,
            knee_flexion=130 * depth + draw.normal(0, 4),
            hip_flexion=92 * depth + 0.85 * pitch + draw.normal(0, 4),
            hip_abduction=spread,
            hip_rotation=0.8 * spread + draw.normal(0, 4),
            ankle_dorsiflexion=22 * depth,
        )
    dofs = plus(dofs, neck_flexion=-0.35 * pitch)
    return dofs | two_arms(draw, upper.SQUATTING_ARMS) | {"pitch": pitch}


def lunge(draw: Draw) -> Dofs:
    depth, pitch = draw.uniform(0.35, 1), draw.normal(8, 6)
    dofs = trunk(draw, flexion=(6, 6))
    for side in SIDES:
        dofs |= on(side, hip_abduction=draw.normal(4, 3), hip_rotation=draw.normal(4, 5))
    dofs |= on("left", hip_flexion=82 * depth + pitch, knee_flexion=92 * depth, ankle_dorsiflexion=6 * depth)
    dofs |= on(
        "right",
        hip_flexion=pitch - 12 * depth,
        knee_flexion=12 + 70 * depth * draw.uniform(0, 1),
        ankle_dorsiflexion=12 * depth,
        toe_extension=42 * depth,
    )
    return dofs | two_arms(draw, upper.STANDING_ARMS) | {"pitch": pitch}


def kneel(draw: Draw) -> Dofs:
    """On both knees, or on the right one with the left foot in front."""
    both, pitch = draw.chance(0.4), draw.normal(6, 6)
    dofs = trunk(draw, flexion=(10, 8), nod=6)
    for side in SIDES:
        dofs |= on(side, hip_abduction=draw.normal(6, 3), hip_rotation=draw.normal(3, 5))
    dofs |= on(
        "left",
        hip_flexion=np.where(both, draw.normal(12, 8), draw.normal(88, 7)) + pitch,
        knee_flexion=np.where(both, draw.normal(105, 12), draw.normal(92, 8)),
        ankle_dorsiflexion=np.where(both, -30, 4),
    )
    dofs |= on(
        "right",
        hip_flexion=np.where(both, draw.normal(12, 8), draw.normal(0, 6)) + pitch,
        knee_flexion=draw.normal(98, 8),
        ankle_dorsiflexion=np.where(both, -30, draw.normal(0, 12)),
        toe_extension=np.where(both, 0, 40),
    )
    return dofs | two_arms(draw, upper.KNEELING_ARMS) | {"pitch": pitch}


def bend(draw: Draw) -> Dofs:
    """Stooping: the lower half of the bend from the hips, the upper from the spine."""
    depth = draw.uniform(0.3, 1)
    knee = 55 * depth * draw.uniform(0, 1)
    dofs = trunk(draw, nod=-8) | {"spine_flexion": 48 * depth + draw.normal(0, 6)}
    for side in SIDES:
        dofs |= on(
            side,
            hip_flexion=48 * depth + 0.55 * knee + draw.normal(0, 4),
            knee_flexion=knee + 4,
            ankle_dorsiflexion=0.45 * knee,
            hip_abduction=draw.normal(5, 4),
            hip_rotation=draw.normal(5, 5),
        )
    return dofs | two_arms(draw, upper.BENDING_ARMS) | {"pitch": 48 * depth}


def reach(draw: Draw) -> Dofs:
    dofs = stand(draw) | two_arms(draw, upper.REACHING_ARMS)
    # The trunk leans away from an arm raised sideways, the eyes follow an arm raised forwards.
    lean = 0.06 * np.maximum(0, dofs["left_shoulder_abduction"] - 60)
    nod = 10 * (dofs["left_shoulder_flexion"] > 80)
    return plus(dofs, spine_lateral=-lean, neck_flexion=-nod)


def step(draw: Draw) -> Dofs:
    """Up a stair."""
    height = draw.uniform(0.3, 1)
    dofs = stand(draw)
    dofs |= on("left", hip_flexion=80 * height, knee_flexion=88 * height, ankle_dorsiflexion=4 * height)
    dofs |= on("right", hip_flexion=draw.normal(2, 5), knee_flexion=abs(draw.normal(8, 6)))
    return dofs | {"pitch": draw.normal(5, 4)}


def kick(draw: Draw) -> Dofs:
    dofs = stand(draw) | two_arms(draw, upper.KICKING_ARMS)
    dofs |= on(
        "left",
        hip_flexion=draw.uniform(25, 90),
        knee_flexion=draw.uniform(0, 70),
        hip_abduction=draw.uniform(0, 22),
        ankle_dorsiflexion=draw.normal(-18, 8),
    )
    dofs |= on("right", hip_flexion=draw.normal(4, 6), knee_flexion=abs(draw.normal(14, 8)))
    dofs = plus(dofs, spine_flexion=8.0, spine_rotation=draw.normal(-8, 8))
    return dofs | {"pitch": draw.normal(-8, 6)}


def throw(draw: Draw) -> Dofs:
    """With the right arm, from drawn back to released; the left arm points ahead and then falls."""
    phase = draw.uniform(0, 1)
    dofs = lunge(draw)
    turn = -28 + 48 * phase + draw.normal(0, 4)
    dofs |= {"spine_rotation": turn, "neck_rotation": -0.8 * turn}
    dofs |= on(
        "right",
        shoulder_abduction=95 - 20 * phase + draw.normal(0, 8),
        shoulder_flexion=-12 + 110 * phase,
        shoulder_rotation=62 - 60 * phase,
        elbow_flexion=95 - 65 * phase,
    )
    pointing = on("left", **one_arm(draw, "forward"))
    return dofs | {name: (1 - phase) * angle + 0.5 * phase * dofs[name] for name, angle in pointing.items()}


def jump(draw: Draw) -> Dofs:
    tuck = draw.uniform(0, 1)
    dofs = trunk(draw, flexion=(2, 8), nod=-6)
    for side in SIDES:
        dofs |= on(
            side,
            hip_flexion=5 + 75 * tuck + draw.normal(0, 12),
            knee_flexion=12 + 85 * tuck + draw.normal(0, 15),
            ankle_dorsiflexion=draw.normal(-26, 7),
            hip_abduction=draw.normal(10, 8),
            hip_rotation=draw.normal(6, 6),
        )
    return dofs | two_arms(draw, upper.JUMPING_ARMS) | {"pitch": draw.normal(0, 8)}


def dance(draw: Draw) -> Dofs:
    dofs = stand(draw) | two_arms(draw, upper.DANCING_ARMS)
    for side in SIDES:
        dofs |= on(side, hip_abduction=abs(draw.normal(10, 8)))
        dofs = plus(
            dofs,
            **on(
                side,
                hip_flexion=abs(draw.normal(8, 14)),
                knee_flexion=abs(draw.normal(12, 16)),
                hip_rotation=draw.normal(6, 9),
            ),
        )
    return plus(dofs, spine_lateral=draw.normal(0, 9), spine_rotation=draw.normal(0, 11))


# Where free movement is centred, in degrees; other angles of the limbs at zero.
FREE_CENTRE = {
    "hip_flexion": 25, "hip_abduction": 6, "hip_rotation": 5, "knee_flexion": 35, "shoulder_abduction": 35,
    "shoulder_flexion": 30, "shoulder_rotation": -10, "elbow_flexion": 50, "finger_curl": 15,
}  # fmt: skip


def free(draw: Draw) -> Dofs:
    """Independent angles that cover the whole range of motion: what the other fifteen actions never do."""
    dofs = {}
    for name, (least, greatest, _) in LIMITS.items():
        limb_angle = name.partition("_")[2]
        centre = FREE_CENTRE.get(limb_angle, 0)
        width = 0.2 if limb_angle in ("shoulder_abduction", "shoulder_flexion") else 0.17
        dofs[name] = draw.normal(centre, width * (greatest - least))
    for side in SIDES:
        # The two-joint hamstrings bend the knee of a lifted thigh.
        slack = np.maximum(dofs[f"{side}_knee_flexion"], 0.35 * dofs[f"{side}_hip_flexion"])
        dofs |= on(side, knee_flexion=slack)
    return dofs | {"pitch": draw.normal(8, 15)}


ACTIONS: dict[str, tuple[Number, Callable[[Draw], Dofs]]] = {
    "stand": (24, stand), "walk": (14, walk), "run": (6, run), "sit": (13, sit), "floor": (3, floor),
    "squat": (5, squat), "lunge": (5, lunge), "kneel": (4, kneel), "bend": (5, bend), "reach": (6, reach),
    "step": (3, step), "kick": (2.5, kick), "throw": (2.5, throw), "jump": (3, jump), "dance": (5, dance),
    "free": (6, free),
}  # fmt: skip
"""Every action with how often it is drawn, in percent, before colliding poses are rejected."""
