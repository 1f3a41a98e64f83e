"""What the regressor speaks: 6D rotations, the body it starts from and the body it answers with."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import files


@dataclass(frozen=True)
class Regression:
    """One body and one camera for every image."""

    rotmat: Float[Tensor, "*batch 24 3 3"]
    """Rotation of every joint against its parent; the first is the body against the camera."""
    betas: Float[Tensor, "*batch 10"]
    """Shape coefficients."""
    weak: Float[Tensor, "*batch 3"]
    """Weak-perspective camera: scale (half crops per metre), x and y (metres)."""

    def detach(self) -> "Regression":
        """The same numbers, cut off from the graph."""
        return Regression(self.rotmat.detach(), self.betas.detach(), self.weak.detach())


@dataclass(frozen=True)
class MeanParameters:
    """Where the head starts before it has looked at the image."""

    rot6d: Float[Tensor, "144"]
    betas: Float[Tensor, "10"]
    weak: Float[Tensor, "3"]


def rot6d_to_rotmat(rot6d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices from SPIN's six numbers, by Gram-Schmidt.

    The six are the first two columns of the matrix, interleaved: read as a 3 x 2 matrix row by row. Other
    libraries store two rows one after the other, which is a different layout of the same idea.

    Source: Zhou et al. 2019, section 4; layout of SPIN's utils/geometry.py::rot6d_to_rotmat.
    """
    return roma.special_gramschmidt(rot6d.unflatten(-1, (3, 2)), epsilon=1e-12)


def rotmat_to_rot6d(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two columns of every matrix, row by row; undone by `rot6d_to_rotmat`."""
    return rotmat[..., :2].flatten(-2)


def mean_parameters(body_pose: Float[Tensor, "69"] | None = None) -> MeanParameters:
    """A start without any file: upright, facing the camera, of average shape, filling the crop.

    Args:
        body_pose: rotation vectors of the 23 joints below the root, for instance the mean of a pose prior.
            None takes the rest pose.
    """
    body_pose = torch.zeros(69) if body_pose is None else body_pose
    # Bodies are modelled with y up, and the camera's y points down.
    root = body_pose.new_tensor([math.pi, 0.0, 0.0])
    rotvec = torch.cat([root, body_pose]).unflatten(0, (24, 3))
    rot6d = rotmat_to_rot6d(roma.rotvec_to_rotmat(rotvec)).flatten()
    return MeanParameters(rot6d, body_pose.new_zeros(10), body_pose.new_tensor([0.9, 0.0, 0.0]))


def read_mean_parameters(path: str | Path) -> MeanParameters:
    """Reads `smpl_mean_params.npz`, the start that SPIN was trained from.

    Raises:
        FileNotFoundError: without the file.
        ValueError: when the file is damaged, or a field is missing, of another shape or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No mean parameters at {path}. SPIN's fetch_data.sh downloads them; to go on without, use "
            "hmr.mean_parameters()."
        )
    fields = files.read_npz(path)
    read = {name: _field(path, fields, name, size) for name, size in FIELDS.items()}
    return MeanParameters(read["pose"], read["shape"], read["cam"])


FIELDS = {"pose": 144, "shape": 10, "cam": 3}


def _field(path: Path, fields: dict[str, np.ndarray], name: str, size: int) -> Float[Tensor, " size"]:
    if name not in fields:
        raise ValueError(f"{path} has no field '{name}'; smpl_mean_params.npz has {', '.join(FIELDS)}")
    if fields[name].shape != (size,):
        raise ValueError(f"{path}: field '{name}' has shape {fields[name].shape}, expected ({size},)")
    if not files.finite(fields[name]):
        raise ValueError(f"{path}: field '{name}' holds NaN or infinity; fetch the file again")
    return torch.from_numpy(fields[name].astype(np.float32))
