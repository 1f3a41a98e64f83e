"""Kinds that say what a picture shows: keypoints, data sets, fits, recipes, notes of runs, and the pictures."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fuzzing.kinds import JSON, NPY, NPZ, Kind
from spinkit import data, evaluate, export, fit_files, job, keypoints
from spinkit import fits as dictionaries
from spinkit.crop import Change
from spinkit.fits import FitDictionary
from spinkit.keypoints import Keypoints

PEOPLE = {"xy": (49, 2), "confidence": (49,)}
FITS = {"rotvec": ("n", 24, 3), "betas": ("n", 10), "valid": ("n",)}


def drawn() -> np.random.Generator:
    return np.random.default_rng(0)


def points(count: int) -> np.ndarray:
    """Of every point x, y and confidence."""
    return np.concatenate([drawn().uniform(10, 90, (count, 2)), np.full((count, 1), 0.75)], axis=1).round(3)


def flagged(count: int) -> list[float]:
    return np.concatenate([points(count)[:, :2], np.full((count, 1), 2)], axis=1).ravel().tolist()


def person(count: int) -> dict:
    table = points(count)
    return {"keypoints": table[:, :2].tolist(), "keypoint_scores": table[:, 2].tolist()}


def annotation(number: int) -> dict:
    box = {"id": number, "image_id": number, "iscrowd": 0, "bbox": [10, 10, 80, 80], "num_keypoints": 17}
    return box | {"keypoints": flagged(17)}


COCO = {
    "images": [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in (1, 2)],
    "annotations": [annotation(1), annotation(2)],
    "categories": [{"id": 1, "name": "person"}],
}
LANDMARKS = [[{"x": x / 100, "y": y / 100, "z": 0.1, "visibility": v} for x, y, v in points(33).tolist()]]
MPII = [{"joints": points(16)[:, :2].tolist(), "joints_vis": 16 * [1], "image": "a.jpg", "scale": 3.0}]
LAYOUTS = {
    "openpose": ({"people": [{"pose_keypoints_2d": points(25).ravel().tolist()}] * 2}, {}),
    "coco": (COCO, {"picture": 2}),
    "mmpose": ({"meta_info": {"dataset_name": "coco"}, "instance_info": [person(17), person(17)]}, {}),
    "alphapose": ([{"image_id": "5.jpg", "keypoints": points(26).ravel().tolist(), "score": 2.9}], {}),
    "mediapipe": ({"pose_landmarks": LANDMARKS}, {"image_size": (100, 100)}),
    "mpii": (MPII, {}),
    "vitpose": (
        {"keypoints": [{"3": points(17)[:, [1, 0, 2]].tolist()}], "skeleton": {"0": "nose"}},
        {"kind": "coco17"},
    ),
}
"""The JSON of each program or set, and what its reader has to be told."""


def written(folder: Path, content: object, name: str) -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def saved(folder: Path, name: str, **arrays: np.ndarray) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def _saved_people(folder: Path) -> Path:
    table = torch.from_numpy(np.stack([points(49)] * 2)).float()
    return keypoints.save(folder / "people.npz", [Keypoints(one[:, :2], one[:, 2]) for one in table])


def _picture(path: Path) -> Path:
    pixels = drawn().integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _spin_set(folder: Path) -> Path:
    _picture(folder / "a.png")
    g, n = drawn(), 3
    arrays = {
        "imgname": np.array(["a.png"] * n),
        "center": g.uniform(15, 25, (n, 2)),
        "scale": g.uniform(0.1, 0.3, n),
        "part": np.stack([points(24)] * n),
        "openpose": np.stack([points(25)] * n),
        "S": np.concatenate([g.normal(size=(n, 24, 3)), np.ones((n, 24, 1))], axis=2),
        "pose": g.normal(size=(n, 72)),
        "shape": g.normal(size=(n, 10)),
        "has_smpl": np.array([1, 0, 1], dtype=np.uint8),
        "gender": np.array(["m", "f", "f"]),
    }
    return saved(folder, "set.npz", **arrays)


def _read_spin_set(path: Path) -> dict:
    samples = data.read_spin_npz(path, path.parent, size=8)
    boxes, truth = samples.images.boxes, vars(samples.labels)
    words = data.read_spin_words(path, "gender")
    return {"xy": samples.keypoints.xy, "confidence": samples.keypoints.confidence, "boxes": boxes, **truth, "g": words}


def _fits(folder: Path, layout: str) -> Path:
    rotvec, betas = torch.from_numpy(drawn().normal(size=(4, 24, 3))), torch.from_numpy(drawn().normal(size=(4, 10)))
    name = "fits.npy" if layout == "static" else "fits.npz"
    return fit_files.save_fits(folder / name, rotvec.float(), betas.float(), layout=layout)


def _eft(folder: Path) -> Path:
    eye = torch.eye(3).expand(2, 24, 3, 3).clone()
    table = torch.from_numpy(np.stack([points(49)] * 2)).float()
    marks = Keypoints(table[..., :2], table[..., 2])
    ones, center = torch.ones(2), torch.full((2, 2), 50.0)
    cams = torch.tensor([[0.9, 0.1, 0.2]]).expand(2, 3)
    fits = fit_files.EftFits(("a.jpg", "b.jpg"), (1, 2), eye, torch.zeros(2, 10), cams, center, ones, marks)
    return fit_files.save_eft(folder / "eft.json", fits)


def _read_eft(path: Path) -> object:
    read = fit_files.read_eft(path)
    return read, read.weak, read.boxes, read.fits()


def _dictionary(folder: Path) -> Path:
    fits = FitDictionary(torch.zeros(4, 24, 3), torch.zeros(4, 10), torch.ones(4), tracked=torch.tensor([1, 3]))
    return saved(folder, "fits.npz", **fits.arrays())


def _run(folder: Path, name: str) -> Path:
    _dictionary(folder)
    metrics = {"initial": {"step": 0, "test_mpjpe": 90.0}, "final": {"step": 12, "test_mpjpe": 80.0}}
    written(folder, {"preset": {"name": "tiny"}, "metrics": metrics, "updates": 3}, "summary.json")
    written(folder, [{"step": 0, "test_mpjpe": 90.0}, {"step": 12, "loss_total": 0.5}], "history.json")
    return folder / name


RECIPE = {
    "portions": [
        {"share": 2, "sets": [{"name": "mine", "file": "mine.npz", "photos": "photos", "fits": ""}]},
        {"share": 1.5, "sets": [{"name": "drawn", "file": "people"}]},
    ]
}


def _motion(folder: Path) -> Path:
    g = drawn()
    rotvec, transl, betas = (torch.from_numpy(g.normal(size=s)).float() for s in ((5, 24, 3), (5, 3), (10,)))
    return export.save_amass(folder / "motion.npz", export.Motion(rotvec, transl, betas, 30.0))


def _predictions(folder: Path) -> Path:
    g = drawn()
    parts = [torch.from_numpy(g.normal(size=s)).float() for s in ((3, 24, 3), (3, 10), (3, 3), (3, 17, 3))]
    return export.save_predictions(folder / "said.npz", export.Predictions(*parts))


def _face_parts(folder: Path, name: str) -> Path:
    np.save(folder / "cube_parts.npy", drawn().integers(0, 7, (8, 8, 8)))
    np.save(folder / "vertex_texture.npy", drawn().uniform(0, 0.03, (1, 20, 1, 1, 1, 3)).astype(np.float32))
    return folder / name


def keypoint_kinds() -> list[Kind]:
    """JSON of detectors and data sets, and npz files of keypoints."""
    kinds = [
        Kind(
            f"keypoints, {name}",
            partial(written, content=content, name="people.json"),
            partial(keypoints.read, **told),
            PEOPLE,
            JSON,
        )
        for name, (content, told) in LAYOUTS.items()
    ]
    plain = partial(saved, name="people.npz", keypoints=np.stack([points(17)] * 2), kind=np.array("coco17"))
    return [
        *kinds,
        Kind("keypoints, npz as saved", _saved_people, keypoints.read, PEOPLE, NPZ, sealed=True),
        Kind("keypoints, npz", plain, keypoints.read, PEOPLE, NPZ, sealed=True),
    ]


def set_kinds() -> list[Kind]:
    """Data sets, fits for them, and recipes."""
    marked = {"xy": ("n", 49, 2), "confidence": ("n", 49)}
    eft = FITS | {"rotmat": ("n", 24, 3, 3), "cam": ("n", 3), "center": ("n", 2), "scale": ("n",)} | marked
    coco = partial(written, content=COCO, name="person_keypoints.json")
    kinds = [
        Kind("COCO annotations", coco, lambda path: data.read_coco_keypoints(path)[0], marked, JSON),
        Kind("SPIN training npz", _spin_set, _read_spin_set, marked | {"boxes": ("n", 3)}, NPZ, sealed=True),
        Kind("EFT json", _eft, _read_eft, eft, JSON),
        Kind("fits dictionary", _dictionary, _read_dictionary, FITS | {"error": ("n",)}, NPZ, sealed=True),
        Kind("recipe", partial(written, content=RECIPE, name="my_recipe.json"), data.read_recipe, {}, JSON),
    ]
    for layout in fit_files.LAYOUTS:
        inner = NPY if layout == "static" else NPZ
        make = partial(_fits, layout=layout)
        kinds.append(Kind(f"fits, {layout}", make, fit_files.read_fits, FITS, inner, sealed=layout != "static"))
    return kinds


def _read_dictionary(path: Path) -> dict:
    fits = dictionaries.load(path)
    # What everybody does with one.
    fits.read(torch.arange(len(fits)), Change.none(len(fits)))
    return fits.arrays()


def result_kinds() -> list[Kind]:
    """What runs leave, and what is exported."""
    motion = {"rotvec": ("n", 24, 3), "transl": ("n", 3), "betas": (10,)}
    said = {"rotvec": ("n", 24, 3), "betas": ("n", 10), "weak": ("n", 3), "joints": ("n", 17, 3)}
    picture = {"pixels": ("h", "w", 3)}
    kinds = [
        Kind("AMASS motion", _motion, export.load_amass, motion, NPZ, sealed=True),
        Kind("predictions", _predictions, export.load_predictions, said, NPZ, sealed=True),
    ]
    for name in ("summary.json", "history.json"):
        kinds.append(Kind(name, partial(_run, name=name), _read_run, {}, JSON))
    for name in ("cube_parts.npy", "vertex_texture.npy"):
        make = partial(_face_parts, name=name)
        kinds.append(Kind(name, make, lambda path: evaluate.read_face_parts(path.parent), {"number": (20,)}, NPY))
    for ending in ("png", "jpg"):
        make = lambda folder, name=f"photo.{ending}": _picture(folder / name)  # noqa: E731
        sealed = ending == "png"
        kinds.append(Kind(f"{ending} photo", make, lambda path: {"pixels": data.read_photo(path)}, picture, {}, sealed))
    return kinds


def _read_run(path: Path) -> object:
    summary, history, fits = job.load_run(path.parent)
    assert isinstance(summary, dict), "the summary is no table"
    assert isinstance(history, list) and all(isinstance(record, dict) for record in history), "the history is no list"
    return summary, history, fits.arrays()
