"""What a run needs before its first step: body, prior, people, fits to begin with. Made once, kept in a cache."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spinkit import body as bodies
from spinkit import data, files, people, priors, smplify
from spinkit.body import Body
from spinkit.data import Recipe, Refused, Samples
from spinkit.fits import FitDictionary
from spinkit.job import parts
from spinkit.job.parts import Part, Plan
from spinkit.job.preset import Preset
from spinkit.keypoints import Keypoints
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
    joined by a plus: `people+photos/person_keypoints.json`. Or the path of a recipe, a file whose name ends in
    `recipe.json`: see `data.read_recipe`."""
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
    recipe: Recipe | None = None
    """What the sets are mixed by, if by a recipe."""

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
    # Noted with the run's settings, so that one that goes on elsewhere does not change its body unasked.
    sources = replace(sources, body=str(sources.body or bodies.find() or ""))
    body, prior = bodies.load(sources.body or None), priors.load()
    body.keypoints_only()
    if sources.weights and not Path(sources.weights).is_file():
        raise FileNotFoundError(
            f"weights: no file at {sources.weights}; give a torchvision state file, or leave it empty"
        )
    plan = parts.plan(sources.data)
    sets = _training_sets(preset, plan, body, cache, progress)
    train, refused = parts.mixed(sets, plan.recipe)
    test = _people(preset, body, cache, preset.test_people, TEST_SEED, progress)
    few = data.check_samples(train, preset.spin.fit.min_keypoints)
    seconds["people"], began = time.monotonic() - began, time.monotonic()
    fits = _dictionary(sets, body, prior, cache, tracked=preset.tracked)
    seconds["initial_fits"] = time.monotonic() - began
    return Prepared(preset, sources, body, prior, train, test, fits, refused, len(few), seconds, plan.recipe)


def _training_sets(preset: Preset, plan: Plan, body: Body, cache: Path, progress: bool) -> list[Part]:
    if any(one.file == parts.PEOPLE for one in plan.sets) and not preset.train_people:
        raise ValueError(f"preset {preset.name} trains on photos; set data to a COCO-format file or a recipe")
    size, margin = preset.people.stored_size, preset.people.stored_margin
    # Photos first: what is wrong with a file is said before people are made, which takes minutes.
    photos = {one: parts.read(one, plan.folder, size, margin) for one in plan.sets if one.file != parts.PEOPLE}
    return [
        photos.get(one) or Part(_people(preset, body, cache, preset.train_people, DATA_SEED, progress))
        for one in plan.sets
    ]


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
    return _dictionary([Part(samples)], body, prior, cache, tracked)


def _dictionary(sets: list[Part], body: Body, prior: Mixture, cache: Path, tracked: int) -> FitDictionary:
    """The fits of each set's file, or else initial ones."""
    columns = [
        _initial(one.samples.keypoints, body, prior, cache)
        if one.fits is None
        else (one.fits.rotvec, one.fits.betas, parts.judged(one.fits, one.samples, body))
        for one in sets
    ]
    rotvec, betas, error = (torch.cat(column) for column in zip(*columns, strict=True))
    # Evenly spread over all sets, so that every kind of data is among the tracked.
    watched = torch.linspace(0, len(error) - 1, min(tracked, len(error))).long().unique()
    return FitDictionary(rotvec, betas, error, tracked=watched)


def _initial(keypoints: Keypoints, body: Body, prior: Mixture, cache: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Initial fits: rotvec, betas and error."""
    settings = smplify.SmplifySettings()
    tag = _digest(
        repr(settings), body.name, body.v_template.numpy().tobytes(), prior.means.numpy().tobytes(),
        keypoints.xy.numpy().tobytes(), keypoints.confidence.numpy().tobytes(),
    )  # fmt: skip
    path = cache / f"initial_fits_{tag}.npz"
    if path.is_file():
        held = files.read_npz(path)
        return tuple(torch.from_numpy(held[name]) for name in ("rotvec", "betas", "error"))
    found = smplify.initial_fits(body, prior, keypoints, settings)
    _keep(path, rotvec=found.rotvec.numpy(), betas=found.betas.numpy(), error=found.error.numpy())
    return found.rotvec, found.betas, found.error


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
