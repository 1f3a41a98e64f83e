"""Bodies for other programs: one mesh as obj, ply or glb, and fits in SPIN's own layout."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import files

FORMATS = (".obj", ".ply", ".glb")


def save_mesh(
    path: str | PathLike,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    y_up: bool = False,
) -> Path:
    """Write one mesh in metres; the ending of the name says how.

    Args:
        path: ends in .obj, .ply or .glb.
        vertices: metres.
        faces: corners.
        y_up: turn a body of the camera frame (y down) half round x, so that it stands upright in Blender,
            MeshLab and other programs whose y points up. A body of the body frame needs none of it.

    Raises:
        ValueError: for another ending, or vertices that are not finite.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name} ends in {path.suffix or 'nothing'!r}; a mesh is written as {', '.join(FORMATS)}")
    if not torch.isfinite(vertices).all():
        raise ValueError(f"vertices for {path.name} hold NaN or infinity, which no mesh file takes")
    points = vertices.detach().cpu().double().numpy()
    if y_up:
        points = points * np.array([1.0, -1.0, -1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without processing no vertex is merged or moved to another place in the order.
    trimesh.Trimesh(points, faces.cpu().numpy(), process=False).export(path)
    return path


def save_spin_fits(
    path: str | PathLike, rotvec: Float[Tensor, "people 24 3"], betas: Float[Tensor, "people 10"]
) -> Path:
    """Write fits as SPIN's static fits: a float array (N, 82) of 72 rotation-vector numbers and 10 betas.

    Source: SPIN, train/fits_dict.py.

    Raises:
        ValueError: for a name that does not end in .npy.
    """
    path = Path(path)
    if path.suffix != ".npy":
        raise ValueError(f"{path.name}: SPIN reads its fits from a file that ends in .npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = torch.cat([rotvec.detach().flatten(1), betas.detach()], dim=1)
    np.save(path, rows.cpu().float().numpy())
    return path


def load_spin_fits(path: str | PathLike) -> tuple[Float[Tensor, "people 24 3"], Float[Tensor, "people 10"]]:
    """Read SPIN's static fits as (rotvec, betas).

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged, or holds no finite numeric array (N, 82).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No fits at {path}; `save_spin_fits` writes such a file, and SPIN offers its own.")
    rows = files.read_npy(path)
    if rows.ndim != 2 or rows.shape[1] != 82 or rows.dtype.kind != "f":
        raise ValueError(f"{path.name} holds {rows.dtype} {rows.shape}; SPIN's fits are a float array (N, 82)")
    if not np.isfinite(rows).all():
        raise ValueError(f"{path.name}: row {np.flatnonzero(~np.isfinite(rows).all(1))[0]} is not finite; leave it out")
    fits = torch.from_numpy(rows.astype(np.float32))
    return fits[:, :72].reshape(-1, 24, 3), fits[:, 72:]
