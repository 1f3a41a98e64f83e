"""Reader of the training and test files that SPIN's preprocessing scripts write (`dataset_extras/*.npz`)."""

import zipfile
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import crop, files
from spinkit.data.images import PhotoCrops
from spinkit.data.samples import Samples, Truth
from spinkit.keypoints import Keypoints

TRAIN_FILES = {
    "h36m": "h36m_train.npz",
    "lsp-orig": "lsp_dataset_original_train.npz",
    "lspet": "hr-lspet_train.npz",
    "mpii": "mpii_train.npz",
    "coco": "coco_2014_train.npz",
    "mpi-inf-3dhp": "mpi_inf_3dhp_train.npz",
}
"""SPIN's names of the sets that it trains on, and of their files."""
TEST_FILES = {
    "h36m-p1": "h36m_valid_protocol1.npz",
    "h36m-p2": "h36m_valid_protocol2.npz",
    "lsp": "lsp_dataset_test.npz",
    "mpi-inf-3dhp": "mpi_inf_3dhp_valid.npz",
    "3dpw": "3dpw_test.npz",
}
"""The same of the sets that it is judged on."""
REQUIRED = ("imgname", "center", "scale")
SHAPES = {
    "center": (2,),
    "scale": (),
    "openpose": (25, 3),
    "part": (24, 3),
    "pose": (72,),
    "shape": (10,),
    "has_smpl": (),
    "S": (24, 4),
}
"""Shape of each field for one person. Fields of words are left to `read_spin_words`, and others alone."""
WORDS = {
    "imgname": "photos, relative to the folder of the set",
    "gender": "with which SMPL model, male, female or neutral, pose and shape of a row go",
    "maskname": "pictures of each person's outline, relative to the folder of UPi-S1h",
    "partname": "pictures of each person's six parts, relative to the same folder",
}
GENDERS = ("m", "f", "n")

PIXELS_A_SCALE = 200
"""A box of scale 1 has a side of this many pixels."""
LARGEST_BODY = 20.0
"""Metres: joints farther than this from their root were not written in metres."""


def read_spin_npz(
    path: str | PathLike[str], image_root: str | PathLike[str], size: int, margin: float = 1.25
) -> Samples:
    """A set in SPIN's format, photos cropped on demand.

    What the file says of bodies serves as labels and as judge alike: a file for testing is not trained on.

    Args:
        path: the npz file. `imgname`, `center` and `scale` are needed, all other fields optional.
        image_root: the folder that `imgname` is relative to.
        size: pixels of the side of a stored crop, which covers `margin` times the person's box.
        margin: room around the box for augmentation.

    Raises:
        FileNotFoundError: when the file, or any photo that it names, is absent.
        ValueError: when a field is missing, has a wrong shape, or holds what it cannot mean.
    """
    path = Path(path)
    arrays = _load(path, tuple(SHAPES))
    photos = _photos(_words(arrays, "imgname", path), Path(image_root), path)
    numbers = {field: _numbers(arrays, field, path) for field in SHAPES if field in arrays}
    boxes = torch.cat([numbers["center"], PIXELS_A_SCALE * numbers["scale"][:, None]], dim=-1)
    broken = ~torch.isfinite(boxes).all(dim=-1) | (boxes[:, 2] <= 0)
    if broken.any():
        row = broken.nonzero()[0].item()
        raise ValueError(f"{path}: center or scale of row {row} makes no box {boxes[row].tolist()}; drop that row")
    truth = _truth(numbers, path)
    return Samples(
        name=path.stem,
        images=PhotoCrops(photos, boxes, size, margin),
        keypoints=crop.crop_keypoints(_keypoints(numbers, path), boxes),
        labels=truth,
        judge=truth if (truth.has_smpl | truth.has_pose_3d).any() else None,
        margin=margin,
    )


def read_spin_words(path: str | PathLike[str], field: str) -> tuple[str, ...]:
    """A field of words in a file of SPIN's format, one a sample, in the order of `read_spin_npz`.

    Args:
        path: the npz file.
        field: one of `WORDS`, which says what each holds.

    Raises:
        FileNotFoundError: when the file is absent.
        ValueError: when the field is absent, no list of one word a row, or a gender none of `GENDERS`.
    """
    path = Path(path)
    arrays = _load(path, (field,))
    if field not in arrays:
        raise ValueError(f"{path}: no field {field!r}; take the set as SPIN's preprocessing writes it")
    words, n = _words(arrays, field, path), len(arrays["imgname"])
    if len(words) != n:
        raise ValueError(f"{path}: {field} has {len(words)} rows, imgname {n}; write it again")
    strange = sorted(set(words) - set(GENDERS)) if field == "gender" else []
    if strange:
        raise ValueError(f"{path}: gender holds {strange[0]!r}, expected one of {', '.join(GENDERS)}; correct it")
    return words


def _words(arrays: dict[str, np.ndarray], field: str, path: Path) -> tuple[str, ...]:
    """Strings, which Python 2 wrote as bytes."""
    array = arrays[field]
    if array.dtype.kind not in "US" or array.ndim != 1 or len(array) == 0:
        raise ValueError(f"{path}: {field} must be a list of strings, got {array.dtype} {array.shape}")
    return tuple(word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in array)


def _load(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The required fields and, where the file has them, those that are wanted."""
    if not path.is_file():
        raise FileNotFoundError(f"no data set at {path}; run SPIN's preprocessing or correct the path")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no npz archive; write it with numpy.savez")
    # Opened here, because numpy leaves a damaged file open.
    with open(path, "rb") as file, _archive(file, path) as archive:
        missing = [field for field in REQUIRED if field not in archive]
        if missing:
            raise ValueError(f"{path}: no field {missing[0]!r}; every set needs {', '.join(REQUIRED)}")
        return {field: _array(archive, field, path) for field in (*REQUIRED, *wanted) if field in archive}


def _archive(file: BinaryIO, path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(file, allow_pickle=False)
        files.check_directory(archive, file)
        return archive
    except Exception as error:  # Damage surfaces as whatever zipfile, zlib or numpy stumbles over.
        raise ValueError(f"{path} is a damaged npz archive ({error}); fetch or write it again") from error


def _array(archive: np.lib.npyio.NpzFile, field: str, path: Path) -> np.ndarray:
    try:
        return archive[field]
    except Exception as error:  # As above.
        remedy = "write it again as a plain array of numbers or strings"
        raise ValueError(f"{path}: field {field!r} cannot be read ({error}); {remedy}") from error


def _numbers(arrays: dict[str, np.ndarray], field: str, path: Path) -> Float[Tensor, "n ..."]:
    array, expected = arrays[field], (len(arrays["imgname"]), *SHAPES[field])
    if array.shape != expected:
        raise ValueError(f"{path}: {field} has shape {array.shape}, expected {expected}; write it again")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {field} holds {array.dtype}, expected numbers; write it again")
    return torch.from_numpy(array.astype(np.float32))


def _photos(names: tuple[str, ...], root: Path, path: Path) -> list[Path]:
    photos = [root / name for name in names]
    # Several rows often share a photo.
    missing = [photo for photo in dict.fromkeys(photos) if not photo.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path}: {len(missing)} photos of imgname are missing, the first is {missing[0]}; "
            "fetch them or correct image_root"
        )
    return photos


def _keypoints(numbers: dict[str, Tensor], path: Path) -> Keypoints:
    """Both halves of the 49, in pixels of the photo."""
    n = len(numbers["scale"])
    halves = [numbers.get(field, torch.zeros(n, *SHAPES[field])) for field in ("openpose", "part")]
    xy, confidence = torch.cat(halves, dim=1).split([2, 1], dim=-1)
    broken = ~torch.isfinite(confidence) | ((confidence > 0) & ~torch.isfinite(xy).all(dim=-1, keepdim=True))
    if broken.any():
        row = broken.nonzero()[0, 0].item()
        raise ValueError(f"{path}: openpose or part of row {row} is not finite; set its confidence to 0")
    visible = confidence > 0
    return Keypoints(torch.where(visible, xy, torch.zeros_like(xy)), confidence.clamp(min=0)[..., 0])


def _truth(numbers: dict[str, Tensor], path: Path) -> Truth:
    """Poses, shapes and 3D joints, where the file has them."""
    n = len(numbers["scale"])
    truth = vars(Truth.none(n)).copy()
    if ("pose" in numbers) != ("shape" in numbers):
        raise ValueError(f"{path}: pose and shape come together; add the one that is missing or drop the other")
    if "pose" in numbers:
        known = numbers.get("has_smpl", torch.ones(n)) > 0
        truth["has_smpl"] = known
        truth["rotvec"] = _where_known(numbers["pose"], known, "pose", path).reshape(n, 24, 3)
        truth["betas"] = _where_known(numbers["shape"], known, "shape", path)
    if "S" in numbers:
        visible = numbers["S"][..., 3:] > 0
        positions = _where_known(numbers["S"][..., :3], visible, "S", path)
        if (positions.abs() > LARGEST_BODY).any():
            raise ValueError(f"{path}: S reaches {positions.abs().max():.0f} m; divide millimetres by 1000")
        truth["joints"] = torch.cat([positions, visible.to(positions.dtype)], dim=-1)
        truth["has_pose_3d"] = visible.any(dim=1)[:, 0]
    return Truth(**truth)


def _where_known(values: Tensor, known: Tensor, field: str, path: Path) -> Tensor:
    """The values, zero where they are not known; what is known must be finite."""
    known = known.reshape(*known.shape, *[1] * (values.ndim - known.ndim))
    values = torch.where(known, values, torch.zeros_like(values))
    if not torch.isfinite(values).all():
        row = (~torch.isfinite(values)).nonzero()[0, 0].item()
        raise ValueError(f"{path}: {field} of row {row} is not finite; repair it or clear its mask")
    return values
