"""The body's movements as a clinician counts them, their limits, and their translation to SMPL's joints.

A pose is first drawn as named angles ("left_knee_flexion"), because that is where ranges and couplings are
known; only then does it become 24 rotation vectors. Angles are in degrees here, the unit of the literature
that the tables follow; whatever leaves the room `people` is in radians. Body frame: x to the body's left,
y up, z forward; all zeros is standing with hanging arms, thumbs forward.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from spinkit import keypoints

Dofs = dict[str, np.ndarray]
"""Angles in degrees by name, each (n,); an absent name is zero."""

SIDES = ("left", "right")

# name: (least, greatest, jitter) in degrees; the jitter is the deviation of the noise added to every pose.
# Flexion is forward, lateral and rotation are towards the left.
MIDLINE_LIMITS = {
    "spine_flexion": (-28, 75, 4),
    "spine_lateral": (-32, 32, 3),
    "spine_rotation": (-40, 40, 4),
    "neck_flexion": (-55, 45, 6),
    "neck_lateral": (-38, 38, 4),
    "neck_rotation": (-72, 72, 9),
}
# Rotation of hip and shoulder is outward. Shoulder abduction and flexion are one swing of the hanging arm:
# (90, 0) is the T-pose, (0, 90) the arm held forward. Pronation is zero with the thumb forward; wrist
# flexion is towards the palm, deviation towards the thumb.
LEG_LIMITS = {
    "hip_flexion": (-25, 120, 3),
    "hip_abduction": (-22, 42, 2.5),
    "hip_rotation": (-35, 45, 4),
    "knee_flexion": (0, 140, 3),
    "ankle_dorsiflexion": (-45, 22, 3),
    "ankle_inversion": (-12, 22, 3),
    "toe_extension": (-20, 50, 2),
}
ARM_LIMITS = {
    "collar_protraction": (-15, 18, 3),
    "collar_elevation": (-6, 10, 2),
    "shoulder_abduction": (-45, 170, 4),
    "shoulder_flexion": (-55, 170, 4),
    "shoulder_rotation": (-75, 75, 8),
    "elbow_flexion": (0, 143, 5),
    "pronation": (-75, 75, 10),
    "wrist_flexion": (-60, 70, 8),
    "wrist_deviation": (-28, 18, 4),
    "finger_curl": (-5, 60, 8),
}
LIMITS = MIDLINE_LIMITS | {
    f"{side}_{name}": limits for side in SIDES for name, limits in (LEG_LIMITS | ARM_LIMITS).items()
}

# How the spine's joints share its flexion, lateral bending and rotation: the lower bend, the upper turn.
SPINE_SHARES = {"spine 1": (0.42, 0.38, 0.20), "spine 2": (0.33, 0.34, 0.35), "spine 3": (0.25, 0.28, 0.45)}


def joint(name: str) -> int:
    """Row of a SMPL joint by its name in small letters, such as "left knee" or "spine 1"."""
    return [known.lower() for known in keypoints.JOINT_NAMES].index(name)


def on(side: str, **dofs: np.ndarray | float) -> Dofs:
    """The same angles under the names that they have on one side of the body."""
    return {f"{side}_{name}": value for name, value in dofs.items()}


def plus(dofs: Dofs, **more: np.ndarray | float) -> Dofs:
    """The same angles with some of them increased."""
    return dofs | {name: dofs[name] + angle for name, angle in more.items()}


def limited(dofs: Dofs) -> Dofs:
    """Every named angle, clipped to its range and to what its neighbours allow."""
    count = len(next(iter(dofs.values())))
    clipped = {
        name: np.clip(dofs.get(name, np.zeros(count)), least, greatest) for name, (least, greatest, _) in LIMITS.items()
    }
    return clipped | _coupled_limb(clipped, "left") | _coupled_limb(clipped, "right")


def _coupled_limb(dofs: Dofs, side: str) -> Dofs:
    hip, knee = dofs[f"{side}_hip_flexion"], dofs[f"{side}_knee_flexion"]
    # Hamstrings: a straight knee limits the hip. Rectus femoris: an extended hip limits the knee.
    # Gastrocnemius: a straight knee limits the ankle.
    hip = np.minimum(hip, 82 + 0.45 * knee)
    knee = np.where(hip < 0, np.minimum(knee, 125 + 1.5 * hip), knee)
    ankle = np.minimum(dofs[f"{side}_ankle_dorsiflexion"], 14 + 0.12 * knee)

    # The upper arm stays in a cone, goes less far out while behind the body, and does not enter the trunk.
    abduction, flexion = dofs[f"{side}_shoulder_abduction"], dofs[f"{side}_shoulder_flexion"]
    shrink = np.minimum(1, 168 / np.maximum(np.hypot(abduction, flexion), 1))
    abduction, flexion = shrink * abduction, shrink * flexion
    abduction = np.minimum(abduction, 120 + 1.2 * np.minimum(0, flexion))
    abduction = np.maximum(abduction, np.where(flexion < 25, 2, -45))
    return on(
        side,
        hip_flexion=hip,
        knee_flexion=knee,
        ankle_dorsiflexion=ankle,
        shoulder_abduction=abduction,
        shoulder_flexion=flexion,
    )


def to_rotvec(dofs: Dofs) -> Float[np.ndarray, "n 24 3"]:
    """SMPL's body pose in radians; the pelvis, which belongs to no movement, stays at zero."""
    count = len(next(iter(dofs.values())))
    whole = {name: dofs.get(name, np.zeros(count)) for name in LIMITS}
    rotations = _midline(whole) | _leg(whole, "left") | _leg(whole, "right")
    rotations |= _arm(whole, "left") | _arm(whole, "right")
    rotvec = np.zeros((count, 24, 3))
    for name, rotation in rotations.items():
        rotvec[:, joint(name)] = rotation.as_rotvec()
    return rotvec


def about(axis: str, degrees: np.ndarray) -> Rotation:
    """Rotations about one body axis, "x", "y" or "z"."""
    return Rotation.from_rotvec(np.radians(degrees)[:, None] * np.eye(3)["xyz".index(axis)])


def _midline(dofs: Dofs) -> dict[str, Rotation]:
    shares = {name: ("spine", *share) for name, share in SPINE_SHARES.items()}
    shares |= {"neck": ("neck", 0.5, 0.5, 0.5), "head": ("neck", 0.5, 0.5, 0.5)}
    return {
        name: about("y", turning * dofs[f"{part}_rotation"])
        * about("z", -leaning * dofs[f"{part}_lateral"])
        * about("x", bending * dofs[f"{part}_flexion"])
        for name, (part, bending, leaning, turning) in shares.items()
    }


def _leg(dofs: Dofs, side: str) -> dict[str, Rotation]:
    outward = 1 if side == "left" else -1
    hip = (
        about("x", -dofs[f"{side}_hip_flexion"])
        * about("z", outward * dofs[f"{side}_hip_abduction"])
        * about("y", outward * dofs[f"{side}_hip_rotation"])
    )
    dorsiflexion, inversion = dofs[f"{side}_ankle_dorsiflexion"], dofs[f"{side}_ankle_inversion"]
    return {
        f"{side} hip": hip,
        f"{side} knee": about("x", dofs[f"{side}_knee_flexion"]),
        f"{side} ankle": about("x", -dorsiflexion) * about("z", -outward * inversion),
        f"{side} foot": about("x", -dofs[f"{side}_toe_extension"]),
    }


def _arm(dofs: Dofs, side: str) -> dict[str, Rotation]:
    outward = 1 if side == "left" else -1
    follows = collar(dofs[f"{side}_shoulder_abduction"], dofs[f"{side}_shoulder_flexion"], side)
    moved = (
        about("y", -outward * dofs[f"{side}_collar_protraction"])
        * follows
        * about("z", outward * dofs[f"{side}_collar_elevation"])
    )
    # Half of the forearm's twist shows at the elbow and half at the wrist, as the skin's does.
    half_twist = about("x", 0.5 * dofs[f"{side}_pronation"])
    wrist = (
        half_twist
        * about("y", -outward * dofs[f"{side}_wrist_deviation"])
        * about("z", -outward * dofs[f"{side}_wrist_flexion"])
    )
    return {
        f"{side} collar": moved,
        f"{side} shoulder": moved.inv() * _upper_arm(dofs, side),
        f"{side} elbow": about("y", -outward * dofs[f"{side}_elbow_flexion"]) * half_twist,
        f"{side} wrist": wrist,
        f"{side} hand": about("z", -outward * dofs[f"{side}_finger_curl"]),
    }


def _upper_arm(dofs: Dofs, side: str) -> Rotation:
    """From the T-pose to the posed arm, seen from the chest: hang it, turn it about itself, swing it."""
    outward = 1 if side == "left" else -1
    abduction, flexion = dofs[f"{side}_shoulder_abduction"], dofs[f"{side}_shoulder_flexion"]
    swing = np.radians(np.stack([-flexion, np.zeros_like(flexion), outward * abduction], -1))
    hang = about("z", np.full(len(flexion), -90.0 * outward))
    return Rotation.from_rotvec(swing) * about("y", outward * dofs[f"{side}_shoulder_rotation"]) * hang


def collar(abduction: np.ndarray, flexion: np.ndarray, side: str) -> Rotation:
    """How the shoulder blade follows the arm: above 60 degrees it lifts by a quarter of the elevation."""
    outward = 1 if side == "left" else -1
    elevation = np.hypot(abduction, flexion)
    forward = np.clip(flexion / np.maximum(elevation, 1e-9), 0, 1)
    protraction = 8 * forward * np.clip(elevation / 90, 0, 1)
    lift = 0.25 * np.maximum(0, elevation - 60)
    return about("y", -outward * protraction) * about("z", outward * lift)


def mirror(body_pose: Float[np.ndarray, "n 24 3"]) -> Float[np.ndarray, "n 24 3"]:
    """The pose that the mirror shows: sides exchanged, turns about y and z reversed."""
    return body_pose[:, list(keypoints.JOINT_MIRROR)] * np.array([1, -1, -1], body_pose.dtype)


def forward_kinematics(
    rotvec: Float[np.ndarray, "n 24 3"], rest_joints: Float[np.ndarray, "24 3"]
) -> tuple[Float[np.ndarray, "n 24 3 3"], Float[np.ndarray, "n 24 3"]]:
    """Global rotation and place of every joint, the pelvis staying at its place of rest (metres)."""
    rotation = Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(len(rotvec), 24, 3, 3)
    place = np.tile(rest_joints.astype(float), (len(rotvec), 1, 1))
    for child in range(1, 24):
        parent = keypoints.JOINT_PARENTS[child]
        bone = rest_joints[child] - rest_joints[parent]
        place[:, child] = place[:, parent] + rotation[:, parent] @ bone
        rotation[:, child] = rotation[:, parent] @ rotation[:, child]
    return rotation, place
