"""Snapshots of a run: weights, optimiser, dictionary and history together, or not at all.

A snapshot is a folder. It is written under another name and renamed when it is complete, so that a folder
`step_00000123` is always whole. Arrays are safetensors and npz files without pickles: loading runs no code.
Random states need no file: every step draws from a generator that is seeded by the run's seed and the step's number.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from spinkit import fits as fit_dictionaries
from spinkit.fits import FitDictionary

FORMAT = 1
"""Raised when an older program could misread a snapshot."""
KEPT = 2
"""Snapshots that stay; older ones are removed once a newer is whole."""


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    fits: FitDictionary,
    history: list[dict],
) -> Path:
    """Write a snapshot beside the others in `folder`, and remove all but the newest `KEPT`.

    Returns:
        The snapshot's folder.

    Raises:
        OSError: it could not be written; the message says that the one before it is whole.
    """
    final = folder / f"step_{step:08d}"
    draft = folder / f".draft_{step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()},
            draft / "model.safetensors",
        )
        save_file(_optimizer_tensors(model, optimizer), draft / "optimizer.safetensors")
        np.savez(draft / "fits.npz", **fits.arrays())
        state = {"format": FORMAT, "step": step, "history": history}
        (draft / "state.json").write_text(json.dumps(state))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(draft, final)
    # Safetensors reports a full disk by an error of its own, which is no OSError.
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        before = newest(folder)
        kept = f"The snapshot {before.name} is whole" if before else "There is no earlier snapshot"
        raise OSError(f"{final}: the snapshot was not written ({error}). {kept}; make room and run again.") from error
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path) -> Path | None:
    """The latest whole snapshot, or None."""
    found = _all(folder)
    return found[-1] if found else None


def load(snapshot: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, FitDictionary, list[dict]]:
    """Fill a model and its optimiser from a snapshot.

    Returns:
        The number of steps done, the dictionary, and the history.

    Raises:
        ValueError: the snapshot is damaged, of a newer program, or of another network.
    """
    try:
        state = json.loads((snapshot / "state.json").read_text())
        weights = load_file(snapshot / "model.safetensors")
        moments = load_file(snapshot / "optimizer.safetensors")
        fits = fit_dictionaries.load(snapshot / "fits.npz")
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{snapshot}: damaged ({error}). Remove this folder; the run goes on from the one before."
        ) from error
    if state.get("format") != FORMAT:
        raise ValueError(f"{snapshot}/state.json: format {state.get('format')}, this program reads {FORMAT}.")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{snapshot}/model.safetensors: of another network ({error}).") from error
    _fill_optimizer(model, optimizer, moments)
    return state["step"], fits, state["history"]


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step_*") if (p / "state.json").is_file())


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Adam's averages under their parameters' names."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{names[id(p)]}/{key}": value.detach().cpu().contiguous()
        for p, state in optimizer.state.items()
        for key, value in state.items()
    }


def _fill_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        found = {key.rsplit("/", 1)[1]: v for key, v in tensors.items() if key.rsplit("/", 1)[0] == name}
        if found:
            moved = {key: v if key == "step" else v.to(parameter.device) for key, v in found.items()}
            optimizer.state[parameter] = moved
