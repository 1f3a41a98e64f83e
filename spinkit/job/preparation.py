"""What a run needs before its first step: body, prior, people, initial fits. Made once, kept in a cache."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from spinkit import body as bodies
from spinkit import data, files, people, priors, smplify
from spinkit.body import Body
from spinkit.data import Refused, Samples
from spinkit.fits import FitDictionary
from spinkit.job.preset import Preset
from spinkit.priors import Mixture
from spinkit.spin import World

TEST_SEED = 1_000_003
"""Held-out people are drawn from it, far from any seed that one would train with."""
DATA_SEED = 1
"""Of the training people: runs of different seeds and modes see the same people."""


@dataclass(frozen=True)
class Sources:
    """What a run is made of, as its user named it."""

    body: str = ""
    """Path of an SMPL-format file; empty for the default body."""
    data: str = "people"
    """`people` for synthetic ones, the path of a COCO-format file whose photos lie in `images/` beside it, or both,
    joined by a plus: `people+photos/person_keypoints.json`."""
    weights: str = ""
    """Path of a torchvision state file with ImageNet weights for the backbone; empty to start from nothing."""


@dataclass(frozen=True)
class Prepared:
    """Everything that a run needs, checked."""

    preset: Preset
    sources: Sources
    body: Body
    prior: Mixture
    train: Samples
    test: Samples
    fits: FitDictionary
    """The initial fits, by which every mode starts. Never written to: a run takes a copy."""
    refused: Refused | None
    """Photos or annotations that could not be used, with reasons."""
    few_keypoints: int
    """Samples with too few keypoints to be fitted; they still train on what is seen."""
    seconds: dict[str, float]
    """What the preparation took, by part."""

    @property
    def world(self) -> World:
        return World(self.body, self.prior, self.preset.spin)


def prepare(preset: Preset, sources: Sources, cache: Path, progress: bool = True) -> Prepared:
    """Load, make and check all that a run needs, before any of its work starts.

    Raises:
        FileNotFoundError, ValueError: what the user named is missing or unusable; the message says which and why.
        OSError: the disk has too little room for the set.
    """
    seconds, began = {}, time.monotonic()
    body, prior = bodies.load(sources.body or None), priors.load()
    body.keypoints_only()
    if sources.weights and not Path(sources.weights).is_file():
        raise FileNotFoundError(
            f"weights: no file at {sources.weights}; give a torchvision state file, or leave it empty"
        )
    train, refused = _training_set(preset, sources, body, cache, progress)
    test = _people(preset, body, cache, preset.test_people, TEST_SEED, progress)
    few = data.check_samples(train, preset.spin.fit.min_keypoints)
    seconds["people"], began = time.monotonic() - began, time.monotonic()
    fits = initial_dictionary(train, body, prior, cache, tracked=preset.tracked)
    seconds["initial_fits"] = time.monotonic() - began
    return Prepared(preset, sources, body, prior, train, test, fits, refused, len(few), seconds)


def _training_set(
    preset: Preset, sources: Sources, body: Body, cache: Path, progress: bool
) -> tuple[Samples, Refused | None]:
    names = sources.data.split("+")
    if "people" in names and not preset.train_people:
        raise ValueError(f"preset {preset.name} trains on photos; set data to a COCO-format file")
    size, margin = preset.people.stored_size, preset.people.stored_margin
    # Photos first: what is wrong with a file is said before people are made, which takes minutes.
    photos, refused = {}, None
    for name in names:
        if name != "people":
            path = Path(name).expanduser()
            photos[name], refused = data.read_coco(path, path.parent / "images", size, margin=margin)
    parts = [
        _people(preset, body, cache, preset.train_people, DATA_SEED, progress) if name == "people" else photos[name]
        for name in names
    ]
    return (parts[0] if len(parts) == 1 else data.mix(parts)), refused


def _people(preset: Preset, body: Body, cache: Path, count: int, seed: int, progress: bool) -> Samples:
    """Synthetic people from the cache, made there on first use."""
    tag = _digest(asdict(preset.people), body.name, body.v_template.numpy().tobytes(), seed)
    folder = cache / f"people_{tag}_{count}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        needed = count * (3 * preset.people.stored_size**2 + 4000)
        free = shutil.disk_usage(cache).free
        if free < 1.2 * needed:
            raise OSError(f"{cache}: {needed / 1e9:.1f} GB are needed for {count} people, {free / 1e9:.1f} GB are free")
    return people.dataset(folder, body, count, seed, preset.people, progress)


def initial_dictionary(samples: Samples, body: Body, prior: Mixture, cache: Path, tracked: int = 0) -> FitDictionary:
    """Initial fits of every sample, from the cache where they were made before.

    Samples that cannot be fitted stand at the mean pose with an infinite error, so that any fit is better.
    """
    settings = smplify.SmplifySettings()
    keypoints = samples.keypoints
    tag = _digest(
        repr(settings), body.name, body.v_template.numpy().tobytes(), prior.means.numpy().tobytes(),
        keypoints.xy.numpy().tobytes(), keypoints.confidence.numpy().tobytes(),
    )  # fmt: skip
    path = cache / f"initial_fits_{tag}.npz"
    if path.is_file():
        held = files.read_npz(path)
        rotvec, betas, error = (torch.from_numpy(held[name]) for name in ("rotvec", "betas", "error"))
    else:
        found = smplify.initial_fits(body, prior, keypoints, settings)
        rotvec, betas, error = found.rotvec, found.betas, found.error
        _keep(path, rotvec=rotvec.numpy(), betas=betas.numpy(), error=error.numpy())
    # Evenly spread over the set, so that every kind of data is among the tracked.
    watched = torch.linspace(0, len(samples) - 1, min(tracked, len(samples))).long().unique()
    return FitDictionary(rotvec, betas, error, tracked=watched)


def _keep(path: Path, **arrays: np.ndarray) -> None:
    """Put arrays into the cache. Without room there the run goes on, and the next one makes them anew."""
    draft = path.with_suffix(".draft.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(draft, **arrays)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        print(f"{path}: not kept ({error}); make room, or the next run makes it anew")


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:12]
