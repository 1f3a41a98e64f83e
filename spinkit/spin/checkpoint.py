"""Snapshots of a run: weights, optimiser, dictionary, history and settings together, or not at all.

How a snapshot comes to lie in its folder whole, and which one is the newest, says `shelf`. Arrays are safetensors and
npz files without pickles: loading runs no code.

Random states need no file: every step draws its batch, its augmentation and its dropout from generators that are
seeded by the run's seed and the step's number. The place in the schedule of the learning rate is the step's number too.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from spinkit import files, shelf
from spinkit import fits as fit_dictionaries
from spinkit.fits import FitDictionary
from spinkit.shelf import FORMAT, KEPT, newest

__all__ = ["FORMAT", "KEPT", "Beside", "beside", "load", "newest", "replace_fits", "save"]


@dataclass(frozen=True)
class Beside:
    """What a snapshot holds beside weights, fits and history."""

    settings: dict = field(default_factory=dict)
    """Of the run, as JSON has them; empty in format 1."""
    tally: dict = field(default_factory=dict)
    """What the steps since the last record of the history did, as JSON has it."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The tensors that the tally speaks of."""


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    fits: FitDictionary,
    history: list[dict],
    beside: Beside | None = None,
) -> Path:
    """Write a snapshot beside the others in `folder`, and remove all but the newest `KEPT`.

    Returns:
        The snapshot's folder.

    Raises:
        OSError: it could not be written; the message says that the one before it is whole.
        ValueError: the folder holds a snapshot of a newer program, of which nothing is touched.
    """
    beside = beside or Beside()
    state = {"format": FORMAT, "step": step, "history": history, "settings": beside.settings, "tally": beside.tally}

    def contents() -> Iterator[tuple[str, bytes]]:
        # One after the other, so that a large network is not in memory twice.
        yield "model.safetensors", _packed(model.state_dict())
        yield "optimizer.safetensors", _packed(_optimizer_tensors(model, optimizer))
        yield "fits.npz", _archive(fits)
        yield "tally.safetensors", _packed(beside.tensors)
        yield "state.json", json.dumps(state).encode()

    return shelf.publish(folder, step, contents())


def load(snapshot: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, FitDictionary, list[dict]]:
    """Fill a model and its optimiser from a snapshot.

    Returns:
        The number of steps done, the dictionary, and the history.

    Raises:
        ValueError: the snapshot is damaged, of a newer program, or of another network.
    """
    shelf.check(snapshot)
    try:
        state = files.read_object(snapshot / "state.json", shelf.REMEDY)
        step, history = state["step"], state["history"]
        weights = safetensors.load_file(snapshot / "model.safetensors")
        moments = safetensors.load_file(snapshot / "optimizer.safetensors")
        fits = fit_dictionaries.load(snapshot / "fits.npz")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise shelf.DamagedError(f"{snapshot}: damaged ({error})") from error
    # The first format has no checksums that would tell.
    if not all(value.isfinite().all() for value in (*weights.values(), *moments.values())):
        raise shelf.DamagedError(f"{snapshot}: damaged (weights or moments are not finite)")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{snapshot}/model.safetensors: of another network ({error}).") from error
    _fill_optimizer(model, optimizer, moments)
    return step, fits, history


def beside(snapshot: Path) -> Beside:
    """What a whole snapshot holds beside weights, fits and history."""
    state = files.read_object(snapshot / "state.json", shelf.REMEDY)
    if "settings" not in state:
        return Beside()
    return Beside(state["settings"], state["tally"], safetensors.load_file(snapshot / "tally.safetensors"))


def replace_fits(folder: Path, fits: FitDictionary) -> Path:
    """Write the newest snapshot again with another dictionary; nothing else changes.

    Nobody else may write to the folder meanwhile: hold the run (`job.hold`).

    Args:
        folder: of the snapshots.
        fits: of as many samples as the dictionary that is there.

    Returns:
        The new snapshot. The one before it stays, with the dictionary that it had.

    Raises:
        FileNotFoundError: there is no whole snapshot.
        ValueError: the dictionary is of another number of samples.
        OSError: it could not be written; the one before it is whole.
    """
    before = newest(folder)
    if before is None:
        raise FileNotFoundError(f"{folder}: no whole snapshot; train first: ./run train")
    held = len(fit_dictionaries.load(before / "fits.npz"))
    if len(fits) != held:
        raise ValueError(
            f"{before}/fits.npz holds {held} fits, the new dictionary {len(fits)}; give one for each sample"
        )
    known = beside(before)
    state = files.read_object(before / "state.json", shelf.REMEDY)
    state |= {"format": FORMAT, "settings": known.settings, "tally": known.tally}
    contents = {
        "fits.npz": _archive(fits),
        "tally.safetensors": _packed(known.tensors),
        "state.json": json.dumps(state).encode(),
    }
    kept = ((name, contents.get(name) or (before / name).read_bytes()) for name in shelf.FILES)
    return shelf.publish(folder, state["step"], kept)


def _packed(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _archive(fits: FitDictionary) -> bytes:
    file = io.BytesIO()
    np.savez(file, **fits.arrays())
    return file.getvalue()


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's averages under their parameters' names."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {f"{names[id(p)]}/{key}": value for p, state in optimizer.state.items() for key, value in state.items()}


def _fill_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        found = {key.rsplit("/", 1)[1]: v for key, v in tensors.items() if key.rsplit("/", 1)[0] == name}
        if found:
            # In memory as the parameter lies, which is how Adam makes them.
            moved = {
                k: v if k == "step" else torch.empty_like(parameter, dtype=v.dtype).copy_(v) for k, v in found.items()
            }
            optimizer.state[parameter] = moved
