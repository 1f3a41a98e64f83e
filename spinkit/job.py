"""One training run from end to end: a preset and a few choices in, a folder of results out.

The chapter `03_train_spin` and the benchmark `loop` both run through here, so that a number in one means the same in
the other. What a run needs and others may share (synthetic people, initial fits) is made once and kept in a cache.
"""

import hashlib
import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from spinkit import body as bodies
from spinkit import data, evaluate, hmr, people, priors, smplify, spin
from spinkit import fits as dictionaries
from spinkit.body import Body
from spinkit.crop import Augmentation
from spinkit.data import Refused, Samples
from spinkit.fits import FitDictionary
from spinkit.people import PeopleSettings
from spinkit.priors import Mixture
from spinkit.spin import Run, Schedule, SpinSettings, World

TEST_SEED = 1_000_003
"""Held-out people are drawn from it, far from any seed that one would train with."""
DATA_SEED = 1
"""Of the training people: runs of different seeds and modes see the same people."""


@dataclass(frozen=True)
class Preset:
    """The size of a run."""

    name: str
    backbone: str
    train_people: int
    """Synthetic people to train on, where the data are not photos only."""
    test_people: int
    people: PeopleSettings
    spin: SpinSettings
    judge_every: int
    save_every: int
    tracked: int = 48
    """Samples of which the dictionary keeps every version."""
    dropout: float = 0.5


def presets() -> dict[str, Preset]:
    """The sizes by name: `tiny` for tests, `cpu` for two cores, `gpu` and `spin2019` for a graphics card."""
    # What a small network can learn on two cores in minutes: a team in its kit before a plain wall, at everyday
    # actions, mirrored and tinted but neither turned nor scaled. Keypoints are COCO's, as often missing as in COCO.
    studio = PeopleSettings(
        studio=1.0,
        kit=1.0,
        actions=("stand", "walk", "sit", "reach", "run", "step"),
        occlusion=0.1,
        truncation=0.05,
        box_shift=0.015,
        box_stretch=0.03,
        annotated="coco17",
        missing=0.23,
    )
    small = SpinSettings(
        steps=2400,
        image_size=64,
        learning_rate=1e-3,
        warmup=100,
        final_learning_rate=0.02,
        bfloat16=True,
        clip_gradient=30.0,
        first_fit_step=600,
        point_weight=10.0,
        judge="objective",
        augmentation=Augmentation(turn_probability=0.0, scale_deviation=0.0, colour_limit=0.2),
    )
    large = replace(
        small,
        steps=20_000,
        image_size=224,
        learning_rate=1e-4,
        warmup=500,
        first_fit_step=1000,
        augmentation=Augmentation(),
    )
    published = SpinSettings(steps=264_000, learning_rate=3e-5, weight_decay=1e-4)
    photos = PeopleSettings(image_size=224, annotated="coco17", missing=0.23)
    tiny = replace(small, steps=12, batch_size=16, warmup=2, first_fit_step=4)
    return {
        "tiny": Preset("tiny", "small", 64, 32, studio, tiny, judge_every=6, save_every=6, tracked=8, dropout=0.0),
        "cpu": Preset("cpu", "small", 8000, 1000, studio, small, judge_every=400, save_every=400, dropout=0.0),
        "gpu": Preset("gpu", "resnet50", 24_000, 2000, photos, large, judge_every=2000, save_every=2000),
        "spin2019": Preset("spin2019", "resnet50", 0, 1000, photos, published, judge_every=10_000, save_every=10_000),
    }


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


def choose(preset: str, mode: str = "loop", seed: int = 0, steps: int = 0) -> Preset:
    """A preset by name, with the choices that a run may make.

    Args:
        preset: one of `presets()`.
        mode: one of `spin.MODES`.
        seed: of the network's weights, the order of samples and the augmentation.
        steps: of training; zero for the preset's.

    Raises:
        ValueError: an unknown name, with the known ones, or negative steps.
    """
    known = presets()
    if preset not in known:
        raise ValueError(f"preset '{preset}' is unknown; choose one of {', '.join(known)}")
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}; zero takes the preset's {known[preset].spin.steps}")
    base = known[preset]
    return replace(base, spin=replace(base.spin, mode=mode, seed=seed, steps=steps or base.spin.steps))


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
        with np.load(path, allow_pickle=False) as file:
            rotvec, betas, error = (torch.from_numpy(file[name]) for name in ("rotvec", "betas", "error"))
    else:
        found = smplify.initial_fits(body, prior, keypoints, settings)
        rotvec, betas, error = found.rotvec, found.betas, found.error
        cache.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft.npz")
        np.savez(draft, rotvec=rotvec.numpy(), betas=betas.numpy(), error=error.numpy())
        draft.replace(path)
    # Evenly spread over the set, so that every kind of data is among the tracked.
    watched = torch.linspace(0, len(samples) - 1, min(tracked, len(samples))).long().unique()
    return FitDictionary(rotvec, betas, error, tracked=watched)


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def begin(prepared: Prepared, device: torch.device | str = "cpu") -> Run:
    """A run at its first step: a fresh network, and a copy of the initial fits."""
    preset = prepared.preset
    generator = torch.Generator().manual_seed(preset.spin.seed)
    mean = hmr.mean_parameters(prepared.prior.mean_pose())
    model = hmr.HMR(preset.backbone, mean, preset.dropout, generator)
    if prepared.sources.weights:
        hmr.load_backbone(model, Path(prepared.sources.weights))
    model = model.to(device, memory_format=torch.channels_last)
    copy = FitDictionary.from_arrays(prepared.fits.arrays())
    return Run.begin(model, copy, preset.spin)


def measure(prepared: Prepared, run: Run) -> dict[str, float]:
    """Accuracy of network and dictionary, in millimetres: on held-out people, and on the training set's hidden truth.

    MPJPE and PA-MPJPE of the 14 LSP keypoints; the former with the annotated hips' midpoint at the origin.
    """
    size = prepared.preset.spin.image_size
    network = evaluate.score_model(run.model, prepared.test, prepared.body, size=size).means()
    found = {"test_mpjpe": network["mpjpe"], "test_pa_mpjpe": network["pa_mpjpe"]}
    judged = _judged(prepared.train)
    if len(judged):
        fits, truth = run.fits, prepared.train.judge[judged]
        stored = evaluate.score_fits(prepared.body, fits.rotvec[judged], fits.betas[judged], truth).means()
        found |= {"dictionary_mpjpe": stored["mpjpe"], "dictionary_pa_mpjpe": stored["pa_mpjpe"]}
    return {name: 1000 * value for name, value in found.items()}


def describe(preset: Preset) -> list[dict[str, object]]:
    """What a preset will do, as rows of a table."""
    s = preset.spin
    return [
        {"setting": "network", "value": f"{preset.backbone}, crops of {s.image_size} pixels"},
        {"setting": "supervised by", "value": s.mode},
        {"setting": "synthetic people", "value": f"{preset.train_people} to train on, {preset.test_people} held out"},
        {"setting": "training", "value": f"{s.steps} steps of {s.batch_size}, learning rate {s.learning_rate:g}"},
        {"setting": "fits begin at step", "value": s.first_fit_step},
        {"setting": "seed", "value": s.seed},
    ]


def regress(prepared: Prepared, run: Run, keys: torch.Tensor) -> smplify.Start:
    """What a run's network says of some held-out people, in a form that can be drawn."""
    chosen = prepared.test.subset(keys)
    said = evaluate.regress(run.model, chosen, size=prepared.preset.spin.image_size)
    return spin.start_from(said)


def truth(prepared: Prepared, keys: torch.Tensor) -> smplify.Start:
    """The true bodies of some held-out people, under the cameras that suit their keypoints best."""
    judge, keypoints = prepared.test.judge[keys], prepared.test.keypoints[keys]
    camera, _ = smplify.judge(prepared.body, keypoints, judge.rotvec, judge.betas)
    return smplify.Start(judge.rotvec, judge.betas, camera)


def _judged(samples: Samples) -> torch.Tensor:
    """Samples whose truth is known to the judge."""
    if samples.judge is None:
        return torch.zeros(0, dtype=torch.int64)
    return samples.judge.has_smpl.nonzero()[:, 0]


def train(prepared: Prepared, folder: Path, progress: bool = True, device: torch.device | str = "cpu") -> Run:
    """Train into a folder, going on from its newest snapshot where one is there, and write its `summary.json`.

    Raises:
        ValueError: the folder holds a run of other settings.
    """
    started, preset = time.monotonic(), prepared.preset
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, prepared)
    run = begin(prepared, device)
    if run.resume(folder / "checkpoints"):
        print(f"going on from step {run.steps_done} of {preset.spin.steps} in {folder}")
    else:
        run.history.append({"step": 0, **measure(prepared, run)})
    schedule = Schedule(preset.judge_every, preset.save_every, folder / "checkpoints", progress)
    run.model.train()
    spin.train(run, prepared.train, prepared.world, schedule, lambda state: measure(prepared, state))
    _write_results(prepared, run, folder, time.monotonic() - started)
    return run


def _settings(prepared: Prepared) -> dict:
    return json.loads(json.dumps({"preset": asdict(prepared.preset), "sources": asdict(prepared.sources)}))


def _claim(folder: Path, prepared: Prepared) -> None:
    """Note a run's settings in its folder, or refuse a folder that holds others."""
    note, settings = folder / "settings.json", _settings(prepared)
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise ValueError(
            f"{folder}: holds a run of other settings (settings.json); choose another folder, or remove it"
        )
    note.write_text(json.dumps(settings, indent=1))


def _write_results(prepared: Prepared, run: Run, folder: Path, seconds: float) -> None:
    """The dictionary, the history and the summary, where people look for them."""
    np.savez_compressed(folder / "fits.npz", **run.fits.arrays())
    (folder / "history.json").write_text(json.dumps(run.history))
    (folder / "summary.json").write_text(json.dumps(summary(prepared, run, seconds), indent=1))


def summary(prepared: Prepared, run: Run, seconds: float) -> dict:
    """Settings, versions, times and every metric of a finished run."""
    judged = [record for record in run.history if "test_pa_mpjpe" in record]
    packages = ("torch", "numpy", "roma", "spinkit")
    return {
        **_settings(prepared),
        "body": prepared.body.name,
        "samples": {
            "train": len(prepared.train),
            "test": len(prepared.test),
            "few_keypoints": prepared.few_keypoints,
        },
        "refused": None if prepared.refused is None else prepared.refused.counts,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "seconds": {**prepared.seconds, "train": seconds},
        "metrics": {"initial": judged[0], "final": judged[-1]},
        "updates": int(run.fits.updates.sum()),
        "samples_updated": int((run.fits.updates > 0).sum()),
    }


def load_run(folder: str | Path) -> tuple[dict, list[dict], FitDictionary]:
    """What a finished run left: its summary, history and dictionary.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise FileNotFoundError(f"{folder}: no summary.json, so no finished run; make one with ./run train")
    summary_text, history_text = ((folder / name).read_text() for name in ("summary.json", "history.json"))
    return json.loads(summary_text), json.loads(history_text), dictionaries.load(folder / "fits.npz")


def load_model(folder: str | Path, prepared: Prepared) -> nn.Module:
    """The trained network of a run, in evaluation mode."""
    run = begin(prepared)
    if not run.resume(Path(folder) / "checkpoints"):
        raise FileNotFoundError(f"{folder}/checkpoints: no snapshot; train first: ./run train")
    return run.model.eval()
