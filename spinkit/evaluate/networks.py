"""A trained network by its path: a checkpoint as SPIN published it, or the folder of a run of ours."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spinkit import files, hmr, shelf
from spinkit.hmr import HMR, MeanParameters

PUBLISHED_BACKBONE, PUBLISHED_SIZE = "resnet50", 224
"""The trunk of published networks, and the pixels of the crops that they take."""


@dataclass(frozen=True)
class Network:
    """A regressor, and the crops that it takes."""

    model: HMR
    """In evaluation mode."""
    size: int
    """Pixels of a crop's side."""
    name: str
    """What it is, in words."""
    body: str | None = None
    """Path of the body that a run was trained with, empty for the default one; None for a published network, whose
    body is SMPL's neutral one."""


def load_network(path: str | Path, mean: str | Path | None = None) -> Network:
    """Loads a regressor, without running code from its file.

    Args:
        path: a checkpoint in SPIN's layout (ResNet-50, an entry `model`), or a run's folder, whose newest whole
            snapshot is taken; a damaged one is passed over with a warning.
        mean: `smpl_mean_params.npz`, from which the published network starts; needed only where the checkpoint
            does not hold it.

    Raises:
        FileNotFoundError: there is neither, or the folder holds no snapshot.
        ValueError: the weights are damaged or of another network, no snapshot is whole, or the start of the head is
            not known.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}; give SPIN's model_checkpoint.pt or the folder of a run")
    network = _of_run(path) if path.is_dir() else _published(path, None if mean is None else Path(mean))
    network.model.eval()
    return network


def _unknown_mean() -> MeanParameters:
    """A start that spoils every answer until a file has filled it in."""
    return MeanParameters(*(torch.full((count,), torch.nan) for count in (144, 10, 3)))


def _published(path: Path, mean: Path | None) -> Network:
    start = hmr.read_mean_parameters(mean) if mean is not None and mean.is_file() else _unknown_mean()
    model = HMR(PUBLISHED_BACKBONE, start)
    hmr.load_published(model, path)
    if not all(buffer.isfinite().all() for buffer in (model.init_pose, model.init_shape, model.init_cam)):
        raise ValueError(
            f"{path} does not say where its head starts (init_pose, init_shape, init_cam); put SPIN's "
            "smpl_mean_params.npz beside it or into the folder of the body models"
        )
    return Network(model, PUBLISHED_SIZE, f"{path.name}, {PUBLISHED_BACKBONE}")


def _of_run(folder: Path) -> Network:
    note = folder / "settings.json"
    if not note.is_file():
        raise FileNotFoundError(f"{folder}: no settings.json, so no run of ours; make one with ./run train")
    settings = files.read_json(note, "train into another folder")
    try:
        preset, body = settings["preset"], settings["sources"]["body"]
        backbone, size = preset["backbone"], preset["spin"]["image_size"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{note}: lacks {error}; train again") from error
    if not (backbone in list(hmr.PLANS) and isinstance(size, int) and size > 0 and isinstance(body, str)):
        told = f"backbone {backbone!r}, image_size {size!r} or body {body!r}"
        raise ValueError(f"{note}: {told} is not what a run writes; train again")
    snapshot = shelf.newest_if_any(folder / "checkpoints")
    if snapshot is None:
        raise FileNotFoundError(f"{folder}/checkpoints: no snapshot; train first: ./run train")
    model = HMR(backbone, _unknown_mean())
    _fill(model, snapshot / "model.safetensors")
    return Network(model, size, f"{folder.name} at {snapshot.name}, {backbone}", body)


def _fill(model: HMR, weights: Path) -> None:
    """Load weights of a whole snapshot, where they are of this network and finite."""
    remedy = f"remove {weights.parent} to take the snapshot before it, or train again"
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{weights}: damaged or of another network ({error}); {remedy}") from error
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise ValueError(f"{weights}: not finite; {remedy}")
