"""Compares two body files in what they do, in millimetres over random people in random poses.

    python data/body/compare.py one.npz other.npz

The exit status is 1 if they differ by more than the tolerances. Those allow for a change of the pose sampler,
whose poses shape the pose correctives and with them, a little, all that is fitted afterwards. On one machine
and with one sampler the maker repeats itself to 0.001 mm.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skeleton

from spinkit.people import poses

BODIES = 100
BETA_LIMIT = 2.5

EXACT = (
    *("kintree_table", "part24", "part6", "part6_names", "joint_names", "mirror"),
    *("vertex_ids", "vertex_id_names", "extra_names", "h36m_names", "base_vertex"),
)
"""Arrays that must be equal."""
TOLERANCES = {
    "skinning weights, largest": 1e-6,
    "template, largest": 2.0,
    "template, mean": 0.2,
    "shape directions, largest": 0.1,
    "joints in the T-pose, largest": 0.3,
    "posed vertices, mean": 0.2,
    "posed vertices, 99th percentile": 2.0,
    "posed joints, mean": 0.2,
    "posed Human3.6M points, mean": 1.0,
    "posed extra points, mean": 1.0,
}
"""Measure -> millimetres; but weights are plain numbers, and shape directions are per standard deviation."""

Model = dict[str, np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    arguments = parser.parse_args()
    return report(arguments.one, arguments.other)


def report(one: Path, other: Path) -> int:
    """Prints all differences of two files; returns 0 if they are within the tolerances, 1 if not."""
    with np.load(one) as file_one, np.load(other) as file_other:
        bodies = dict(file_one), dict(file_other)
    wrong = _different_arrays(*bodies)
    for name in wrong:
        print(f"DIFFERENT  {name}")
    if wrong:
        return 1
    too_far = 0
    for name, value in _distances(*bodies):
        verdict = "ok" if value <= TOLERANCES[name] else "TOO FAR"
        too_far += verdict != "ok"
        print(f"{verdict:>9}  {name}: {value:.5f} (tolerance {TOLERANCES[name]:g})")
    return min(too_far, 1)


def _different_arrays(one: Model, other: Model) -> list[str]:
    if one["v_template"].shape != other["v_template"].shape:
        return ["number of vertices"]
    different = [name for name in EXACT if not np.array_equal(one[name], other[name])]
    return different + (["f"] if _oriented(one["f"]) != _oriented(other["f"]) else [])


def _oriented(faces: np.ndarray) -> set[tuple[int, ...]]:
    """The faces whatever their order and their first corner, but not their orientation."""
    return {tuple(np.roll(face, -face.argmin()).tolist()) for face in faces}


def _distances(one: Model, other: Model) -> Iterator[tuple[str, float]]:
    """Every measure that has a tolerance, with its value."""
    yield "skinning weights, largest", float(np.abs(one["weights"] - other["weights"]).max())
    template = _millimetres(one["v_template"], other["v_template"])
    yield "template, largest", template.max()
    yield "template, mean", template.mean()
    directions = (body["shapedirs"].swapaxes(1, 2) for body in (one, other))
    yield "shape directions, largest", _millimetres(*directions).max()
    rest = [body["J_regressor"] @ body["v_template"] for body in (one, other)]
    yield "joints in the T-pose, largest", _millimetres(*rest).max()
    generator = np.random.default_rng(0)
    rotvec = poses.sample(BODIES, generator, rest[0] - rest[0][0]).body_pose
    betas = generator.normal(0, 1, (BODIES, one["shapedirs"].shape[2])).clip(-BETA_LIMIT, BETA_LIMIT)
    vertices, joints = zip(*(skeleton.forward(body, betas, rotvec) for body in (one, other)), strict=True)
    posed = _millimetres(*vertices)
    yield "posed vertices, mean", posed.mean()
    yield "posed vertices, 99th percentile", float(np.percentile(posed, 99))
    yield "posed joints, mean", _millimetres(*joints).mean()
    for key, name in (("J_regressor_h36m", "Human3.6M"), ("J_regressor_extra", "extra")):
        points = [body[key] @ mesh for body, mesh in zip((one, other), vertices, strict=True)]
        yield f"posed {name} points, mean", _millimetres(*points).mean()


def _millimetres(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return 1000 * np.linalg.norm(one - other, axis=-1)


if __name__ == "__main__":
    raise SystemExit(main())
