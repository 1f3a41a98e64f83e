"""Regressors from skin to inner points: rows of weights that are not negative and sum to one.

SMPL's 24 joints are regressed from the skin in the T-pose. Other points, those of Human3.6M, MPII and LSP,
are regressed from the posed skin; `point_definitions` says where they lie in the body. The definitions are
ours, not fits to annotations of those data sets.
"""

from dataclasses import dataclass

import numpy as np
import skeleton
from scipy.optimize import nnls
from skeleton import JOINTS, MIRROR, PARENTS

RADIUS = 0.24
"""Metres around a point from which its vertices are taken."""
MOST_CANDIDATES = 420
SMALLEST_INFLUENCE = 0.02
"""A candidate follows the point's joints at least that much."""
SUM_WEIGHT = 5.0
"""Metres of error that a sum of weights of 2 in place of 1 costs, per example."""
SMALLEST_WEIGHT = 1e-5
TOP_VERTICES = 12

H36M_NAMES = (
    *("pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle"),
    *("spine", "neck", "jaw", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist"),
)
"""SPIN's order of Human3.6M's joints: the left leg comes first."""
EXTRA_POINTS = {
    "Right Hip": "right_hip",
    "Left Hip": "left_hip",
    "Neck (LSP)": "neck_lsp",
    "Top of Head (LSP)": "top",
    "Pelvis (MPII)": "pelvis",
    "Thorax (MPII)": "thorax",
    "Spine (H36M)": "spine",
    "Jaw (H36M)": "jaw",
    "Head (H36M)": "head",
}
"""SPIN's nine extra points, in its order -> our name."""

SHOULDER_GIRDLE = ("spine3", "neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder")
CENTRAL_SUPPORT = {
    "pelvis": ("pelvis", "left_hip", "right_hip", "spine1"),
    "spine": ("spine1", "spine2", "spine3"),
    "neck": SHOULDER_GIRDLE,
    "jaw": ("neck", "head"),
    "head": ("neck", "head"),
    "neck_lsp": SHOULDER_GIRDLE,
    "thorax": SHOULDER_GIRDLE,
}
"""Central point -> the joints whose skin it is regressed from."""


@dataclass(frozen=True)
class Skin:
    """What all regressors of a body share."""

    weights: np.ndarray
    """(n, 24)"""
    mirror: np.ndarray
    """(n,)"""


def point_definitions(joints: np.ndarray, nose: np.ndarray, top: np.ndarray) -> dict[str, np.ndarray]:
    """Where the left and central points lie.

    Args:
        joints: (..., 24, 3); nose, top: (..., 3), the tip of the nose and the mean of the topmost vertices.
    """
    at = {name: joints[..., number, :] for number, name in enumerate(JOINTS)}
    shoulders = 0.5 * (at["left_shoulder"] + at["right_shoulder"])
    limbs = ("left_hip", "left_knee", "left_ankle", "left_shoulder", "left_elbow", "left_wrist")
    return {name: at[name] for name in limbs} | {
        "pelvis": 0.5 * (at["left_hip"] + at["right_hip"]),
        "spine": at["spine2"],
        "neck": 0.6 * at["neck"] + 0.4 * shoulders,
        "jaw": 0.35 * at["head"] + 0.65 * nose,
        "head": 0.3 * at["head"] + 0.7 * top,
        "neck_lsp": 0.7 * at["neck"] + 0.3 * at["head"],
        "thorax": 0.5 * at["neck"] + 0.5 * shoulders,
    }


def fit_joints(
    vertices: np.ndarray, joints: np.ndarray, skin: Skin, generator: np.random.Generator, training: int = 160
) -> tuple[np.ndarray, float]:
    """Regresses the 24 joints.

    Args:
        vertices: (people, n, 3) all in one pose.
        joints: (people, 24, 3)
        generator: chooses the people and thins the candidates.
        training: how many of the people to fit.

    Returns:
        (24, n), exactly mirror symmetric, and the mean error in metres over up to 400 people left out.
    """
    order = generator.permutation(len(vertices))
    seen, unseen = order[:training], np.sort(order[training:])[:400]
    mean_skin, mean_joints = vertices.mean(0), joints.mean(0)
    rows = np.zeros((len(JOINTS), vertices.shape[1]))
    for joint, name in enumerate(JOINTS):
        if name.startswith("right"):
            continue
        central = MIRROR[joint] == joint
        candidates = _candidates(mean_skin, mean_joints[joint], _support(joint), skin, central, generator)
        weights = _convex_fit(vertices[seen][:, candidates].astype(float), joints[seen, joint])
        rows[joint] = _row(candidates, weights, skin, central)
        if not central:
            rows[MIRROR[joint]] = rows[joint][skin.mirror]
    error = np.tensordot(vertices[unseen], rows, ([1], [1])).transpose(0, 2, 1) - joints[unseen]
    return rows, float(np.linalg.norm(error, axis=-1).mean())


def fit_points(
    template: np.ndarray,
    rest_joints: np.ndarray,
    posed: tuple[np.ndarray, np.ndarray],
    nose: int,
    skin: Skin,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Regresses Human3.6M's joints and SPIN's extra points from posed bodies.

    Args:
        template: (n, 3) the body in the T-pose, and its (24, 3) rest_joints.
        posed: (bodies, n, 3) vertices and (bodies, 24, 3) joints; the last 60 are left out and judged on.
        nose: the vertex at its tip.

    Returns:
        (17, n) and (9, n), and the mean error in metres.
    """
    top = np.argsort(-template[:, 1])[:TOP_VERTICES]
    top = np.unique(np.concatenate([top, skin.mirror[top]]))
    vertices, joints = posed
    wanted = point_definitions(joints, vertices[:, nose], vertices[:, top].mean(1))
    rest = point_definitions(rest_joints, template[nose], template[top].mean(0))
    rows = {"top": np.zeros(len(template))}
    rows["top"][top] = 1 / len(top)
    errors = []
    for name, points in wanted.items():
        central = name in CENTRAL_SUPPORT
        names = CENTRAL_SUPPORT[name] if central else (name, JOINTS[PARENTS[skeleton.index(name)]])
        support = [skeleton.index(joint) for joint in names]
        candidates = _candidates(template, rest[name], support, skin, central, generator)
        weights = _convex_fit(vertices[:-60, candidates], points[:-60])
        rows[name] = _row(candidates, weights, skin, central)
        errors.append(np.linalg.norm(np.tensordot(rows[name], vertices[-60:], (0, 1)) - points[-60:], axis=-1))
        if not central:
            rows[name.replace("left", "right")] = rows[name][skin.mirror]
    h36m = np.stack([rows[name] for name in H36M_NAMES])
    extra = np.stack([rows[name] for name in EXTRA_POINTS.values()])
    return h36m, extra, float(np.mean(errors))


def _support(joint: int) -> list[int]:
    """The joint, its parent and its central children: their skin surrounds it."""
    if joint == 0:
        return [0, 1, 2, 3]
    children = [other for other in range(len(JOINTS)) if PARENTS[other] == joint and MIRROR[other] == other]
    return [joint, int(PARENTS[joint]), *children]


def _candidates(
    vertices: np.ndarray,
    point: np.ndarray,
    support: list[int],
    skin: Skin,
    central: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """Vertices all around a point; the nearest alone would not do, as no inner point lies in their hull."""
    distance = np.linalg.norm(vertices - point, axis=1)
    follows = skin.weights[:, support].sum(1) > SMALLEST_INFLUENCE
    found = np.flatnonzero((distance < RADIUS) & follows)
    if len(found) > MOST_CANDIDATES:
        chance = 1 / distance[found] ** 2
        found = generator.choice(found, MOST_CANDIDATES, replace=False, p=chance / chance.sum())
    return np.unique(np.concatenate([found, skin.mirror[found]])) if central else np.sort(found)


def _convex_fit(vertices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The weights (c,), not negative and of sum 1, that take (m, c, 3) vertices nearest to (m, 3) points."""
    centre = points.mean(0)
    total = SUM_WEIGHT * np.sqrt(len(vertices))
    rows = (vertices - centre).transpose(0, 2, 1).reshape(-1, vertices.shape[1])
    matrix = np.concatenate([rows, np.full((1, vertices.shape[1]), total)])
    wanted = np.concatenate([(points - centre).ravel(), [total]])
    weights, _ = nnls(matrix, wanted, maxiter=20 * vertices.shape[1])
    weights[weights < SMALLEST_WEIGHT] = 0
    return weights / weights.sum()


def _row(candidates: np.ndarray, weights: np.ndarray, skin: Skin, central: bool) -> np.ndarray:
    row = np.zeros(len(skin.mirror))
    row[candidates] = weights
    return 0.5 * (row + row[skin.mirror]) if central else row
