"""The file of predictions that SPIN's evaluation saves: one body and weak camera for each image of a set."""

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import files

KEYS = {"rotvec": "pose", "betas": "betas", "weak": "camera", "joints": "pred_joints"}
"""SPIN's name for each field."""
ENTRIES = {"rotvec": (72,), "betas": (10,), "weak": (3,), "joints": (17, 3)}
"""Shape of each in the file, for one image."""


@dataclass(frozen=True)
class Predictions:
    """A body for each image, as a regressor says it."""

    rotvec: Float[Tensor, "people 24 3"]
    betas: Float[Tensor, "people 10"]
    weak: Float[Tensor, "people 3"]
    """(s, tx, ty) of each crop."""
    joints: Float[Tensor, "people 17 3"]
    """Human3.6M's 17 points of the body, metres, not moved to the pelvis; `evaluate.h36m17` gives them."""

    def __len__(self) -> int:
        return len(self.rotvec)


def save_predictions(path: str | PathLike, said: Predictions) -> Path:
    """Write predictions as SPIN's `eval.py --result_file` does: `pose` (N,72), `betas`, `camera`, `pred_joints`.

    Raises:
        ValueError: for a name that does not end in .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path.name}: SPIN's predictions are kept in a file that ends in .npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {KEYS[f.name]: getattr(said, f.name).detach().cpu().numpy() for f in fields(said)}
    np.savez(path, **{**arrays, "pose": arrays["pose"].reshape(len(said), 72)})
    return path


def load_predictions(path: str | PathLike) -> Predictions:
    """Read predictions as SPIN's evaluation saves them.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged, a field is missing, or one has a wrong shape or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No predictions at {path}; SPIN's eval.py --result_file or `save_predictions` makes one."
        )
    arrays = files.read_npz(path)
    missing = [key for key in KEYS.values() if key not in arrays]
    if missing:
        raise ValueError(f"{path}: no field {missing[0]!r}; predictions have {', '.join(KEYS.values())}")
    people = arrays["pose"].shape[:1]
    for name, key in KEYS.items():
        expected = (*people, *ENTRIES[name])
        if arrays[key].shape != expected or arrays[key].dtype.kind != "f":
            found = f"{arrays[key].dtype} {arrays[key].shape}"
            raise ValueError(f"{path}: field {key!r} is {found}, expected floats {expected}; write it again")
        if not files.finite(arrays[key]):
            raise ValueError(f"{path}: field {key!r} holds NaN or infinity; leave those images out")
    said = {name: torch.from_numpy(arrays[key].astype(np.float32)) for name, key in KEYS.items()}
    return Predictions(**{**said, "rotvec": said["rotvec"].reshape(-1, 24, 3)})
