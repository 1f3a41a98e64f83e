"""Sets of synthetic people: made in memory, or made once into a folder and mapped from there."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from spinkit import camera, files
from spinkit.body import Body
from spinkit.data import Samples, StoredImages, Truth
from spinkit.keypoints import Keypoints
from spinkit.people import backdrop
from spinkit.people.cast import draw_cast
from spinkit.people.detector import detect
from spinkit.people.dice import Dice
from spinkit.people.settings import PeopleSettings
from spinkit.people.studio import Studio
from spinkit.progress import progress_bar

RECIPE = 1
"""Rises whenever the same settings and seed begin to give other people, so that old folders are refused."""
CHUNK = 64
"""People drawn from one seed. Whole chunks are drawn, whatever the count: a short set begins a long one."""
SITTING = 16
"""People photographed together. More do not fit a processor's cache, fewer cost more calls each."""
INDEX = "people.json"


@dataclass(frozen=True)
class Arrays:
    """A set as it is stored, one .npy file a field."""

    images: np.ndarray
    rotvec: np.ndarray
    betas: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    """x, y, confidence."""
    labelled: np.ndarray

    def __getitem__(self, rows: slice) -> "Arrays":
        return Arrays(*(getattr(self, field.name)[rows] for field in fields(self)))


def make(human: Body, count: int, seed: int, settings: PeopleSettings | None = None) -> Samples:
    """Make synthetic people in memory.

    Args:
        human: the body that they all have, each in a shape of their own. It needs keypoints.
        count: how many.
        seed: the same seed gives the same people, and those of a smaller count begin those of a larger.
        settings: the defaults where not given.

    Returns:
        Pictures, noisy keypoints, and the truth under `judge`. `labels` know of nobody, or of the share
        that `settings.labelled` asks for.

    Raises:
        ValueError: for fewer than one person.
    """
    settings = settings or PeopleSettings()
    parts = list(_chunks(human, count, seed, settings))
    joined = Arrays(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Arrays)))
    return _samples(joined, settings)


def dataset(
    folder: str | Path,
    human: Body,
    count: int,
    seed: int,
    settings: PeopleSettings | None = None,
    progress: bool = True,
) -> Samples:
    """Synthetic people in a folder: made on the first call, mapped into memory on every later one.

    The set is the one that `make` gives. It is written beside the folder and moved there when complete, so
    an interrupted call leaves no half a set.

    Args:
        folder: where the set is, or will be.
        human, count, seed, settings: as for `make`. A folder with more people serves a smaller count.
        progress: show a bar while the people are made.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: the folder holds people of other settings, seed or body, or too few of them.
    """
    folder, settings = Path(folder), settings or PeopleSettings()
    _check_count(count)
    recipe = _recipe(human, seed, settings)
    if not folder.exists():
        _write(folder, human, count, seed, settings, recipe, progress)
    _check(folder, count, recipe)
    arrays = Arrays(*(np.load(folder / f"{f.name}.npy", mmap_mode="r") for f in fields(Arrays)))
    return _samples(arrays[:count], settings)


def _chunks(human: Body, count: int, seed: int, settings: PeopleSettings) -> Iterator[Arrays]:
    """The set, piece by piece; every piece depends on its own number alone, not on the pieces before."""
    _check_count(count)
    studio = Studio(human.to("cpu", torch.float32), settings)
    numbers = range(math.ceil(count / CHUNK))
    # One core a piece: single steps are too small to be shared, and so no number of cores changes a pixel.
    threads_before = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(len(numbers), os.cpu_count() or 1), initializer=torch.set_num_threads, initargs=(1,))
    try:
        for number, chunk in enumerate(pool.map(lambda number: _chunk(studio, number, seed), numbers)):
            yield chunk[: count - number * CHUNK]
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads_before)


def _chunk(studio: Studio, number: int, seed: int) -> Arrays:
    """One piece, from poses to pixels."""
    roots = np.random.SeedSequence(entropy=seed, spawn_key=(number,)).spawn(2 + CHUNK // SITTING)
    generators = [torch.Generator().manual_seed(int(root.generate_state(1, np.uint64)[0] >> 1)) for root in roots]
    settings, dice = studio.settings, Dice(generators[1], CHUNK)
    cast = draw_cast(studio.human, dice, np.random.default_rng(roots[0]), settings)
    occluders = backdrop.draw_occluders(dice, settings.occlusion)
    true_xy = camera.project(cast.camera, cast.points)
    marked = detect(true_xy, studio.covered(cast, occluders), dice, settings)
    labelled = dice.chance(settings.labelled)
    pictures = []
    for sitting, generator in enumerate(generators[2:]):
        rows = slice(sitting * SITTING, (sitting + 1) * SITTING)
        pictures.append(studio.photograph(cast[rows], occluders[rows], Dice(generator, SITTING)))
    tensors = {
        "images": torch.cat(pictures),
        "rotvec": cast.rotvec,
        "betas": cast.betas,
        "joints": cast.truth.joints,
        "keypoints": torch.cat([marked.xy, marked.confidence[..., None]], dim=-1),
        "labelled": labelled,
    }
    return Arrays(**{name: tensor.numpy() for name, tensor in tensors.items()})


def _samples(arrays: Arrays, settings: PeopleSettings) -> Samples:
    """The set as training sees it. All but the pictures is small and copied out of the files."""
    known = torch.ones(len(arrays.betas), dtype=torch.bool)
    rotvec, betas, joints, points, labelled = (
        torch.from_numpy(np.array(getattr(arrays, name)))
        for name in ("rotvec", "betas", "joints", "keypoints", "labelled")
    )
    shown = labelled.to(rotvec.dtype)[:, None]
    return Samples(
        name="people",
        images=StoredImages(arrays.images),
        keypoints=Keypoints(points[..., :2].contiguous(), points[..., 2].contiguous()),
        labels=Truth(rotvec * shown[..., None], betas * shown, labelled, joints * shown[..., None], labelled.clone()),
        judge=Truth(rotvec, betas, known, joints, known.clone()),
        margin=settings.stored_margin,
    )


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count of people must be at least 1, got {count}")


def _recipe(human: Body, seed: int, settings: PeopleSettings) -> dict:
    """All that decides what the people are, in terms that JSON can hold."""
    digest = hashlib.sha256()
    for field in ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "faces"):
        digest.update(getattr(human, field).cpu().numpy().tobytes())
    recipe = {"recipe": RECIPE, "seed": seed, "body": digest.hexdigest()[:16], "settings": asdict(settings)}
    # As it will be read back: tuples become lists.
    return json.loads(json.dumps(recipe))


def _write(
    folder: Path, human: Body, count: int, seed: int, settings: PeopleSettings, recipe: dict, progress: bool
) -> None:
    """Make the set beside its folder, then move it there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_arrays(draft, _chunks(human, count, seed, settings), count, progress)
        (draft / INDEX).write_text(json.dumps(recipe | {"count": count}, indent=1), encoding="utf-8")
        draft.chmod(0o755)
        os.rename(draft, folder)
    except OSError:
        # Somebody else may have made the same set meanwhile; then theirs is as good.
        if not (folder / INDEX).is_file():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_arrays(draft: Path, chunks: Iterator[Arrays], count: int, progress: bool) -> None:
    opened: dict[str, np.ndarray] = {}
    start = 0
    with progress_bar(None, count, "people", shown=progress) as bar:
        for chunk in chunks:
            stop = start + len(chunk.betas)
            for field in fields(chunk):
                part, path = getattr(chunk, field.name), draft / f"{field.name}.npy"
                if field.name not in opened:
                    opened[field.name] = np.lib.format.open_memmap(
                        path, "w+", dtype=part.dtype, shape=(count, *part.shape[1:])
                    )
                opened[field.name][start:stop] = part
            bar.update(stop - start)
            start = stop
    for file in opened.values():
        file.flush()


def _check(folder: Path, count: int, recipe: dict) -> None:
    """Refuse a folder that does not hold what was asked for."""
    index = folder / INDEX
    remedy = "give another folder, or delete this one to have it made anew"
    if not index.is_file():
        raise FileExistsError(f"{folder} exists and holds no {INDEX}, so it is no set of people; {remedy}")
    held = files.read_json(index, remedy)
    differences = _differences(held, recipe)
    if differences:
        raise ValueError(f"{index}: this folder holds other people: {'; '.join(differences)}; {remedy}")
    if held.get("count", 0) < count:
        raise ValueError(f"{index}: holds {held.get('count', 0)} people, {count} were asked for; {remedy}")


def _differences(held: dict, asked: dict, prefix: str = "") -> list[str]:
    """Fields in which two recipes differ, in words."""
    words = []
    for key, value in asked.items():
        other = held.get(key) if isinstance(held, dict) else None
        if isinstance(value, dict):
            words += _differences(other or {}, value, f"{prefix}{key}.")
        elif other != value:
            words.append(f"{prefix}{key} is {other}, asked for {value}")
    return words
