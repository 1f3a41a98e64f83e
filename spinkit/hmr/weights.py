"""Weights in published layouts: ImageNet's for the trunk is read, SPIN's for the whole network read and written."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from spinkit.hmr import legacy
from spinkit.hmr.head import HMR

PUBLISHED_FIRST_LAYER = (1024, 2205)
"""Shape of the head's first layer over ResNet-50: 2048 features, 144 + 10 + 3 parameters."""
FOLDER = 0x10
"""The bit by which a zip archive marks a folder."""
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
    """Fills the whole network, in place, from a SPIN checkpoint (`model_checkpoint.pt`), of Python 2 or 3.

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


def save_published(model: HMR, path: str | Path, step: int = 0) -> Path:
    """Writes the whole network as SPIN's checkpoints are, in the format that SPIN's own torch 1.1 reads.

    The entry `model` has the published keys and the 6D rotations their published layout, so that whatever reads SPIN's
    checkpoint reads this one. There is no optimiser in it: SPIN can start from it, not go on.

    Args:
        model: a `resnet50`; programs that read such files know no other backbone.
        path: for instance `model_checkpoint.pt`.
        step: training steps that the weights have seen.

    Raises:
        ValueError: the network is not the published one, or a weight is not finite.
    """
    if not isinstance(model.bend, nn.Identity) or model.fc1.weight.shape != PUBLISHED_FIRST_LAYER:
        raise ValueError(f"{path}: the network is no resnet50, and SPIN's readers know no other; save its state dict")
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: '{broken[0]}' holds NaN or infinity; take an earlier snapshot")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state, "total_step_count": step}, path, _use_new_zipfile_serialization=False)
    return path


def _read(path: str | Path) -> dict:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"No weights at {path}. torchvision's documentation links its ImageNet files, SPIN's fetch_data.sh fetches "
            "model_checkpoint.pt; a network can also be trained from nothing."
        )
    try:
        # SPIN's files were written on a GPU. Both readers refuse files that would run code while they load.
        if legacy.is_legacy(Path(path)):
            content = legacy.read_legacy(Path(path))
        else:
            _check_sums(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Damage surfaces as whatever torch, zipfile or pickle stumbles over.
        # Torch wraps its reason in advice to load the file unsafely.
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].split(". ")[0]
        remedy = "fetch it again, from where its authors offer it"
        raise ValueError(f"{path} is no file of tensors that can be read safely ({reason}); {remedy}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    return content


def _check_sums(path: str | Path) -> None:
    """Compare a zip archive with the checksums in it, which torch writes and does not look at."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        # What claims to be longer than it is never reaches its checksum, and of what is marked as a folder torch reads
        # nothing: its numbers would be whatever lay in memory.
        odd = [e for e in archive.infolist() if e.external_attr & FOLDER or _stored_short(e)]
        broken = odd[0].filename if odd else archive.testzip()
    if broken:
        raise ValueError(f"{broken} is not as its checksum says")


def _stored_short(entry: zipfile.ZipInfo) -> bool:
    return entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size


def _check(path: str | Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Refuses the first key that is missing, unknown, of another shape or not finite."""
    remedy = "is this the file of another backbone?"
    for key, value in wanted.items():
        if key not in found and not key.endswith("num_batches_tracked") and not key.startswith("init_"):
            raise ValueError(f"{path} lacks '{key}'; {remedy}")
        if key in found and not isinstance(found[key], Tensor):
            raise ValueError(f"{path}: '{key}' is a {type(found[key]).__name__}, expected a tensor; {remedy}")
        if key in found and not _alike(found[key], value):
            kinds = f"{found[key].dtype} ({found[key].layout}), the network's has {value.dtype}"
            raise ValueError(f"{path}: '{key}' holds {kinds}; fetch the file again")
        if key in found and found[key].shape != value.shape:
            shapes = f"{tuple(found[key].shape)}, the network's has {tuple(value.shape)}"
            raise ValueError(f"{path}: '{key}' has shape {shapes}; {remedy}")
        if key in found and not found[key].to(value.dtype).isfinite().all():
            raise ValueError(f"{path}: '{key}' holds NaN or infinity; fetch the file again")
    unknown = sorted(str(key) for key in found.keys() - wanted.keys())
    if unknown:
        raise ValueError(f"{path} has '{unknown[0]}', which the network lacks; {remedy}")


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor has numbers of the wanted kind, and has them at all."""
    plain = found.layout == torch.strided and not found.is_meta and not found.is_quantized
    return plain and found.is_floating_point() == wanted.is_floating_point() and not found.is_complex()
