"""A run from its first step to its results, and what it left, read again."""

import io
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from spinkit import evaluate, files, hmr, smplify, spin, storage
from spinkit import fits as dictionaries
from spinkit.data import Samples
from spinkit.fits import FitDictionary
from spinkit.hmr import Regression
from spinkit.job.holding import hold
from spinkit.job.preparation import Prepared
from spinkit.job.preset import Preset
from spinkit.people import PeopleSettings
from spinkit.spin import Run, Schedule, SpinSettings, World

LARGE = ("gpu", "spin2019")
"""Presets that are made for a graphics card."""


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
    return replace(Run.begin(model, copy, preset.spin), settings=_settings(prepared))


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


def regress(prepared: Prepared, run: Run, keys: torch.Tensor) -> smplify.Start:
    """What a run's network says of some held-out people, in a form that can be drawn."""
    chosen = prepared.test.subset(keys)
    said = evaluate.regress(run.model, chosen, size=prepared.preset.spin.image_size)
    return spin.start_from(Regression(said.rotmat.cpu(), said.betas.cpu(), said.weak.cpu()))


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


def train(
    prepared: Prepared,
    folder: Path,
    progress: bool = True,
    device: torch.device | str | None = None,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Train into a folder, going on from its newest snapshot where one is there, and write its `summary.json`.

    Args:
        prepared: all that the run needs.
        folder: for all that it leaves.
        progress: whether to show a bar.
        device: that trains; None for the graphics card, where there is one and the preset is made for it.
        watch: called before the first step and whenever the history has grown, as `spin.train` calls it.

    Raises:
        HeldError: another run trains into the folder.
        ValueError: the folder holds a run of other settings, or of a newer program.
        OSError: nothing more can be written there; the newest snapshot is whole.
        KeyboardInterrupt: after a Ctrl-C; its message says how to go on.
    """
    chosen = torch.device(device or _usual_device(prepared.preset))
    with hold(folder):
        try:
            return _train(prepared, folder, progress, chosen, spin.guarded(watch))
        except KeyboardInterrupt as interrupt:
            if interrupt.args:  # The training's own, which say more.
                raise
            raise KeyboardInterrupt(
                f"interrupted. What {folder / 'checkpoints'} holds is whole. To go on from there, run this again; in a "
                "notebook, this cell. The end will be the same as if nothing had happened."
            ) from None


def _train(prepared: Prepared, folder: Path, progress: bool, device: torch.device, watch: Callable[[Run], None]) -> Run:
    started, preset = time.monotonic(), prepared.preset
    _claim(folder, prepared)
    run = begin(prepared, device)
    if run.resume(folder / "checkpoints"):
        print(f"going on from step {run.steps_done} of {preset.spin.steps} in {folder}")
    else:
        run.history.append({"step": 0, **measure(prepared, run)})
    schedule = Schedule(preset.judge_every, preset.save_every, folder / "checkpoints", progress)
    run.model.train()
    watch(run)
    world = prepared.world.to(device)
    spin.train(run, prepared.train, world, schedule, lambda state: measure(prepared, state), watch)
    _fit_once_more(prepared, run, world, folder, progress)
    watch(run)
    _write_results(prepared, run, folder, time.monotonic() - started)
    return run


def _usual_device(preset: Preset) -> str:
    return "cuda" if preset.name in LARGE and torch.cuda.is_available() else "cpu"


def _fit_once_more(prepared: Prepared, run: Run, world: World, folder: Path, progress: bool) -> None:
    """The last fits, where the settings ask for them and an earlier call has not made them.

    A call that ends on the way has kept nothing of them; the next one makes all of them from the same snapshot.
    """
    settings = world.settings
    if settings.mode != "loop" or not settings.last_fits or any("last_fits" in record for record in run.history):
        return
    replaced = spin.sweep(run, prepared.train, world, progress)
    judged = {"step": run.steps_done, **measure(prepared, run)}
    run.history += [{"step": run.steps_done, "last_fits": replaced}, judged]
    run.save(folder / "checkpoints")


def _settings(prepared: Prepared) -> dict:
    noted = {"preset": asdict(prepared.preset), "sources": asdict(prepared.sources)}
    # The file may change while its path stays.
    noted |= {"recipe": asdict(prepared.recipe)} if prepared.recipe else {}
    return json.loads(json.dumps(noted))


def _claim(folder: Path, prepared: Prepared) -> None:
    """Note a run's settings in its folder, or refuse a folder that holds others."""
    note, settings = folder / "settings.json", _settings(prepared)
    remedy = "choose another folder, or remove it"
    if note.is_file():
        held = _completed(
            files.read_json(
                note, f"remove this file, for snapshots with a manifest know their settings too; or {remedy}"
            )
        )
        if held != settings:
            raise ValueError(
                f"{folder}: holds a run of other settings (settings.json); {_differing(held, settings)}; {remedy}"
            )
        return
    # Lost, perhaps: what lies here without a note may still be another run.
    snapshot = spin.checkpoint.newest(folder / "checkpoints")
    held = _completed(spin.checkpoint.beside(snapshot).settings) if snapshot else {}
    if held not in ({}, settings):
        raise ValueError(f"{snapshot}: of a run of other settings; {_differing(held, settings)}; {remedy}")
    storage.replace(note, json.dumps(settings, indent=1).encode())


def _completed(held: object) -> object:
    """Settings that an older program has noted, with the defaults of those that it did not know."""
    try:
        preset = held["preset"]
        defaults = json.loads(json.dumps({"spin": asdict(SpinSettings()), "people": asdict(PeopleSettings())}))
        return held | {"preset": preset | {name: values | preset[name] for name, values in defaults.items()}}
    except (KeyError, TypeError):
        return held


def _differing(held: object, asked: object, name: str = "") -> str:
    """The first setting that differs, in words."""
    if isinstance(held, dict) and isinstance(asked, dict):
        for key in [*asked, *held]:
            if held.get(key) != asked.get(key):
                return _differing(held.get(key), asked.get(key), f"{name}.{key}".removeprefix("."))
    return f"{name} is {held} there, {asked} here"


def _write_results(prepared: Prepared, run: Run, folder: Path, seconds: float) -> None:
    """The dictionary, the history and the summary, where people look for them."""
    fits = io.BytesIO()
    try:
        # Again, because the folder may have vanished meanwhile: the snapshot made it anew, and nobody the note.
        _claim(folder, prepared)
        np.savez_compressed(fits, **run.fits.arrays())
        storage.replace(folder / "fits.npz", fits.getvalue())
        storage.replace(folder / "history.json", json.dumps(run.history).encode())
        # Last: whoever finds a summary finds a finished run.
        storage.replace(folder / "summary.json", json.dumps(summary(prepared, run, seconds), indent=1).encode())
    except OSError as error:
        raise OSError(
            f"{folder}: results not written ({error}). The newest snapshot is whole; make room and run again."
        ) from error


def summary(prepared: Prepared, run: Run, seconds: float) -> dict:
    """Settings, versions, times and every metric of a finished run."""
    judged = [record for record in run.history if "test_pa_mpjpe" in record]
    packages = ("torch", "numpy", "roma", "spinkit")
    return {
        **_settings(prepared),
        "body": prepared.body.name,
        "samples": {"train": len(prepared.train), "test": len(prepared.test), "few_keypoints": prepared.few_keypoints},
        "refused": None if prepared.refused is None else prepared.refused.counts,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "seconds": {**prepared.seconds, "train": seconds},
        "metrics": {"initial": judged[0], "final": judged[-1]},
        "updates": int(run.fits.updates.sum()),
        "samples_updated": int((run.fits.updates > 0).sum()),
        "bad_samples": sum(record.get("bad_samples", 0) for record in run.history),
        "skipped_steps": sum(record.get("skipped", 0) for record in run.history),
    }


def load_run(folder: str | Path) -> tuple[dict, list[dict], FitDictionary]:
    """What a finished run left: its summary, history and dictionary.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: a file of it is damaged.
    """
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise FileNotFoundError(f"{folder}: no summary.json, so no finished run; make one with ./run train")
    remedy = "run it again: a finished run writes it anew from its newest snapshot"
    summary = files.read_object(folder / "summary.json", remedy)
    history = files.read_records(folder / "history.json", remedy)
    return summary, history, dictionaries.load(folder / "fits.npz")


def load_model(folder: str | Path, prepared: Prepared) -> nn.Module:
    """The trained network of a run, in evaluation mode."""
    run = begin(prepared)
    if not run.resume(Path(folder) / "checkpoints"):
        raise FileNotFoundError(f"{folder}/checkpoints: no snapshot; train first: ./run train")
    return run.model.eval()
