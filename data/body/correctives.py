"""Pose correctives (SMPL's `posedirs`) that make linear blend skinning act like dual-quaternion skinning.

Linear blending flattens bent buttocks and pinches a twisted forearm. Dual quaternions do not, but SMPL's
format has no place for them. So for each joint the offset that would be needed is regressed on the nine
entries of R - I of that joint.

Source: dual-quaternion skinning, Kavan et al. 2007; the form of the regression, Loper et al. 2015 (SMPL).
"""

import numpy as np
import skeleton
from scipy.spatial.transform import Rotation
from skeleton import FLIP, MIRROR, PARENTS

EXAMPLES = 160
"""Rotations of each joint in the regression."""
NATURAL = 0.75
"""Share of them that is taken from natural poses; the rest is uniform in the middle of the joint's range."""
MIDDLE = 0.6
"""How much of the range: at its corners lie twists that nobody's shoulder can do, and they spoil the fit."""
RIDGE = 2e-3
"""Penalty of the regression, per example."""
SMALLEST = 1e-4
"""Metres; smaller entries become zero, so that the file stays small."""

RANGES = {
    "spine1": ((-12, 35), (-9, 9), (-13, 13)),
    "spine2": ((-9, 25), (-14, 14), (-12, 12)),
    "spine3": ((-8, 20), (-18, 18), (-10, 10)),
    "neck": ((-32, 25), (-38, 38), (-21, 21)),
    "head": ((-32, 25), (-38, 38), (-21, 21)),
    "left_hip": ((-125, 25), (-40, 45), (-25, 45)),
    "left_knee": ((0, 145), (-15, 15), (-3, 3)),
    "left_ankle": ((-22, 48), (-15, 15), (-28, 15)),
    "left_foot": ((-60, 25), (0, 0), (0, 0)),
    "left_collar": ((0, 0), (-20, 20), (-10, 30)),
    "left_shoulder": ((-90, 70), (-130, 42), (-85, 85)),
    "left_elbow": ((-60, 60), (-145, 3), (0, 0)),
    "left_wrist": ((-45, 45), (-22, 34), (-75, 65)),
    "left_hand": ((0, 0), (0, 0), (-70, 15)),
}
"""Joint -> range of motion in degrees of the rotation vector's x, y, z. The right side mirrors the left."""


def fit(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    mirror: np.ndarray,
    poses: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Regresses the offsets.

    Args:
        vertices: (n, 3) the body in the T-pose.
        joints: (24, 3)
        weights: (n, 24)
        mirror: (n,)
        poses: (many, 24, 3) natural rotation vectors.
        seed: of the choice among the poses and of the uniform rotations.

    Returns:
        (n, 3, 207) float32, metres per unit of `skeleton.pose_feature`; exactly mirror symmetric.
    """
    generator = np.random.default_rng(seed)
    result = np.zeros((len(vertices), 3, 207), np.float32)
    for name in RANGES:
        joint, image = skeleton.index(name), MIRROR[skeleton.index(name)]
        rotvec = _examples(name, poses, generator)
        block = _fit_joint(vertices, joints, weights, joint, rotvec)
        mirrored = _mirror_block(block, mirror)
        if image == joint:
            block = mirrored = 0.5 * (block + mirrored)
        result[:, :, 9 * (joint - 1) : 9 * joint] = block
        result[:, :, 9 * (image - 1) : 9 * image] = mirrored
    result[np.abs(result) < SMALLEST] = 0
    return result


def _examples(name: str, poses: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(examples, 3) rotation vectors of one joint."""
    low, high = np.radians(np.array(RANGES[name], float).T * MIDDLE)
    rotvec = generator.uniform(low, high, (EXAMPLES, 3))
    natural = int(NATURAL * EXAMPLES)
    rotvec[:natural] = poses[generator.permutation(len(poses))[:natural], skeleton.index(name)]
    return rotvec


def _fit_joint(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, joint: int, rotvec: np.ndarray
) -> np.ndarray:
    """(n, 3, 9) float32: ridge regression over the vertices that follow the joint in part."""
    follows = weights[:, [other for other in range(len(PARENTS)) if _is_below(other, joint)]].sum(1)
    torn = np.flatnonzero((follows > 1e-4) & (follows < 1 - 1e-4))
    offsets = _wanted_offsets(vertices[torn], joints, weights[torn], joint, rotvec)
    feature = (skeleton.rotmat(rotvec) - np.eye(3)).reshape(-1, 9)
    square = feature.T @ feature + RIDGE * len(feature) * np.eye(9)
    solution = np.linalg.solve(square, feature.T @ offsets.reshape(len(feature), -1))
    block = np.zeros((len(vertices), 3, 9), np.float32)
    block[torn] = solution.reshape(9, len(torn), 3).transpose(1, 2, 0)
    return block


def _wanted_offsets(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, joint: int, rotvec: np.ndarray
) -> np.ndarray:
    """(examples, n, 3) by how much to move the rest vertices so that they are skinned to the right place."""
    offsets = np.empty((len(rotvec), *vertices.shape), np.float32)
    for row, turn in enumerate(skeleton.rotmat(rotvec)):
        local = np.tile(np.eye(3), (1, len(PARENTS), 1, 1))
        local[0, joint] = turn
        turned = skeleton.to_global(local)
        maps = skeleton.transforms(turned, joints[None], skeleton.posed_joints(turned, joints[None]))
        target = dual_quaternion_skin(vertices, weights, maps[0])
        offsets[row] = skeleton.unskin(target[None], weights, maps)[0] - vertices
    return offsets


def dual_quaternion_skin(vertices: np.ndarray, weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Skins (n, 3) vertices by the (24, 3, 4) maps of the joints."""
    real = Rotation.from_matrix(maps[:, :, :3]).as_quat()
    shift = np.pad(maps[:, :, 3], ((0, 0), (0, 1)))
    dual = 0.5 * _product(shift, real)
    # A quaternion and its negative are one rotation; blend those nearest the joint that dominates.
    sign = np.sign(real[weights.argmax(1)] @ real.T)
    sign[sign == 0] = 1
    real, dual = (weights * sign) @ real, (weights * sign) @ dual
    length = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / length, dual / length
    conjugate = real * [-1, -1, -1, 1]
    return Rotation.from_quat(real).apply(vertices) + 2 * _product(dual, conjugate)[:, :3]


def _product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hamilton's product of quaternions (..., 4), scalar last."""
    vector = p[..., 3:] * q[..., :3] + q[..., 3:] * p[..., :3] + np.cross(p[..., :3], q[..., :3])
    scalar = p[..., 3:] * q[..., 3:] - (p[..., :3] * q[..., :3]).sum(-1, keepdims=True)
    return np.concatenate([vector, scalar], -1)


def _mirror_block(block: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The same correctives on the other side: S offset of the mirrored vertex, for the rotation S R S."""
    mirrored = np.empty_like(block)
    mirrored[mirror] = block * FLIP[None, :, None] * np.outer(FLIP, FLIP).ravel()
    return mirrored


def _is_below(joint: int, top: int) -> bool:
    while joint > top:
        joint = PARENTS[joint]
    return joint == top
