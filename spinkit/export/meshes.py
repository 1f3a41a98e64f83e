"""One still mesh as obj, ply or glb."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

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
