"""Reads weights that others have published: ImageNet for the trunk, SPIN for the whole network."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from spinkit.hmr.head import HMR

HEAD = ("fc1.", "fc2.", "decpose.", "decshape.", "deccam.", "init_")


def load_backbone(model: HMR, path: str | Path) -> None:
    """Fills the trunk, in place, from a torchvision ImageNet file; the head stays as it is.

    Args:
        model: a network whose backbone has the file's shapes.
        path: a state dict such as `resnet50-0676ba61.pth`. Its `fc.*`, the ImageNet classifier, is left out.

    Raises:
        FileNotFoundError: without the file.
        ValueError: when a key is missing, unknown or of another shape.
    """
    found = {key: value for key, value in _read(path).items() if not key.startswith("fc.")}
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(HEAD)}
    _check(path, wanted, found)
    model.load_state_dict(found, strict=False)


def load_published(model: HMR, path: str | Path) -> None:
    """Fills the whole network, in place, from a SPIN checkpoint (`model_checkpoint.pt`).

    The mean parameters and the counters of batch normalisation may be absent from the file; the network then
    keeps its own. Every other key must be there in its shape.

    Raises:
        FileNotFoundError: without the file.
        ValueError: when the file is no SPIN checkpoint, or a key is missing, unknown or of another shape.
    """
    checkpoint = _read(path)
    if not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f"{path} has no entry 'model', so it is no SPIN checkpoint; is it for load_backbone?")
    _check(path, model.state_dict(), checkpoint["model"])
    model.load_state_dict(checkpoint["model"], strict=False)


def _read(path: str | Path) -> dict:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"No weights at {path}. torchvision's documentation links its ImageNet files, SPIN's fetch_data.sh fetches "
            "model_checkpoint.pt; a network can also be trained from nothing."
        )
    try:
        # SPIN's files were written on a GPU. weights_only refuses files that would run code while they load.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no file of tensors that torch can read safely: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    return content


def _check(path: str | Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Refuses the first key that is missing, unknown, of another shape or not finite."""
    remedy = "is this the file of another backbone?"
    for key, value in wanted.items():
        if key not in found and not key.endswith("num_batches_tracked") and not key.startswith("init_"):
            raise ValueError(f"{path} lacks '{key}'; {remedy}")
        if key in found and found[key].shape != value.shape:
            shapes = f"{tuple(found[key].shape)}, the network's has {tuple(value.shape)}"
            raise ValueError(f"{path}: '{key}' has shape {shapes}; {remedy}")
        if key in found and not found[key].isfinite().all():
            raise ValueError(f"{path}: '{key}' holds NaN or infinity; fetch the file again")
    unknown = sorted(found.keys() - wanted.keys())
    if unknown:
        raise ValueError(f"{path} has '{unknown[0]}', which the network lacks; {remedy}")
