"""Fits in the three layouts that SPIN has published: one row a sample, in the order of the training npz."""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit import files

LAYOUTS = {"static": None, "final": ("betas", "valid_fit"), "multiview": ("shape", "has_smpl")}
"""`static` is a bare array, `{dataset}_fits.npy`: 72 pose numbers and 10 betas. The others are npz archives with `pose`
beside these two names: the released final fits, and the multi-view fits of MPI-INF-3DHP."""


@dataclass(frozen=True)
class StoredFits:
    """One body for every sample of a set, as the untouched image shows it."""

    rotvec: Float[Tensor, "n 24 3"]
    """Radians, the whole body's orientation first."""
    betas: Float[Tensor, "n 10"]
    valid: Bool[Tensor, "n"]
    """Which fits their makers trust. The others may be poor, or a body that merely stands there."""

    def __len__(self) -> int:
        return len(self.rotvec)

    def judged(self, error: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """A judge's errors, px^2, infinite where the file itself does not trust its fit."""
        return torch.where(self.valid, error, torch.full_like(error, torch.inf))


def standing(n: int) -> tuple[Float[Tensor, "n 24 3"], Float[Tensor, "n 10"]]:
    """Rest poses upright in the camera frame, for samples without a fit: rotvec and betas."""
    rotvec = torch.zeros(n, 24, 3)
    rotvec[:, 0, 0] = math.pi
    return rotvec, torch.zeros(n, 10)


def read_fits(path: str | PathLike[str], count: int | None = None) -> StoredFits:
    """Fits in any of `LAYOUTS`; the file's ending and fields say which.

    Args:
        path: a file of .npy or .npz.
        count: samples of the set that the fits are for; None where any number will do.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, in another layout, of another number of rows than `count`, or a fit that it
            trusts is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No fits at {path}; `save_fits` writes such a file, and SPIN's fetch_data.sh its own.")
    pose, betas, valid = _static(path) if path.suffix == ".npy" else _archive(path)
    if len(pose) == 0:
        raise ValueError(f"{path}: holds no fits; make or download it again.")
    if count is not None and len(pose) != count:
        raise ValueError(
            f"{path}: {len(pose)} fits for {count} samples. Fits follow the rows of one training file; take the file "
            "that they were made with (SPIN's were made with SPIN's released npz), or leave the fits out."
        )
    # A float64 beyond float32 would become infinite below.
    finite = (np.abs(np.concatenate([pose, betas], axis=1)) <= np.finfo(np.float32).max).all(axis=1)
    broken = np.flatnonzero(valid & ~finite)
    if len(broken):
        raise ValueError(f"{path}: the fit of row {broken[0]} is not finite; leave it out, or clear its flag")
    rotvec, shapes = standing(len(pose))
    known = torch.from_numpy(finite)
    rotvec[known] = torch.from_numpy(pose[finite].astype(np.float32)).reshape(-1, 24, 3)
    shapes[known] = torch.from_numpy(betas[finite].astype(np.float32))
    return StoredFits(rotvec, shapes, torch.from_numpy(valid))


def _static(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = files.read_npy(path)
    if rows.ndim != 2 or rows.shape[1] != 82 or rows.dtype.kind != "f":
        raise ValueError(f"{path} holds {rows.dtype} {rows.shape}; SPIN's static fits are a float array (N, 82)")
    return rows[:, :72], rows[:, 72:], np.ones(len(rows), dtype=bool)


def _archive(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = files.read_npz(path)
    named = [names for names in LAYOUTS.values() if names and {"pose", *names} <= arrays.keys()]
    if not named:
        held = ", ".join(arrays) or "nothing"
        wanted = " or ".join(f"pose, {betas}, {flag}" for betas, flag in filter(None, LAYOUTS.values()))
        raise ValueError(f"{path} holds {held}; files of fits have {wanted}. A run's own fits.npz is for fits.load.")
    betas, flag = named[0]
    n = len(np.atleast_1d(arrays["pose"]))
    for field, shape in (("pose", (n, 72)), (betas, (n, 10)), (flag, (n,))):
        array = arrays[field]
        if array.shape != shape or array.dtype.kind not in "fiub":
            raise ValueError(f"{path}: {field} holds {array.dtype} {array.shape}, expected numbers {shape}")
    return arrays["pose"], arrays[betas], arrays[flag] > 0


def save_fits(
    path: str | PathLike[str],
    rotvec: Float[Tensor, "n 24 3"],
    betas: Float[Tensor, "n 10"],
    valid: Bool[Tensor, "n"] | None = None,
    layout: str = "static",
) -> Path:
    """Write fits so that SPIN and its descendants read them.

    Args:
        path: ends in .npy for the layout `static`, otherwise in .npz.
        rotvec: radians, as the untouched images show the people.
        betas: shapes.
        valid: which fits to trust; None for all. The layout `static` has no room for it.
        layout: one of `LAYOUTS`.

    Raises:
        ValueError: an unknown layout, another ending than its own, flags that it would lose, or a number that is not
            finite.

    Source: SPIN's train/fits_dict.py and datasets/base_dataset.py; the released fits as PyMAF reads them.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got '{layout}'")
    ending = ".npz" if LAYOUTS[layout] else ".npy"
    if path.suffix != ending:
        raise ValueError(f"{path.name}: SPIN reads fits in the layout {layout} from a file that ends in {ending}")
    if valid is not None and not valid.all() and not LAYOUTS[layout]:
        raise ValueError(f"{path.name}: the layout {layout} has no flags, and {(~valid).sum()} fits are not valid")
    pose, shapes = (x.detach().cpu().float().flatten(1).numpy() for x in (rotvec, betas))
    if not (np.isfinite(pose).all() and np.isfinite(shapes).all()):
        raise ValueError(f"fits for {path.name} hold NaN or infinity; let such samples stand, and mark them not valid")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not LAYOUTS[layout]:
        np.save(path, np.concatenate([pose, shapes], axis=1))
        return path
    name, flag = LAYOUTS[layout]
    flags = np.ones(len(pose), dtype=np.uint8) if valid is None else valid.cpu().numpy().astype(np.uint8)
    np.savez(path, **{"pose": pose, name: shapes, flag: flags})
    return path
