"""A trained network by its path: a checkpoint as SPIN published it, or the folder of a run of ours."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spinkit import files, hmr
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
        path: a checkpoint in SPIN's layout (ResNet-50, an entry `model`), or a run's folder, whose newest snapshot
            is taken.
        mean: `smpl_mean_params.npz`, from which the published network starts; needed only where the checkpoint
            does not hold it.

    Raises:
        FileNotFoundError: there is neither, or the folder holds no snapshot.
        ValueError: the weights are damaged or of another network, or the start of the head is not known.
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
    # A snapshot gets its name when it is whole.
    snapshots = sorted(folder.glob("checkpoints/step_*/model.safetensors"))
    if not snapshots:
        raise FileNotFoundError(f"{folder}/checkpoints: no snapshot; train first: ./run train")
    model = HMR(backbone, _unknown_mean())
    try:
        model.load_state_dict(load_file(snapshots[-1]))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{snapshots[-1]}: damaged or of another network ({error}); train again") from error
    return Network(model, size, f"{folder.name} at {snapshots[-1].parent.name}, {backbone}", body)
