"""A lit picture of a body, by pyrender where OpenGL is there and by our own rasteriser where it is not."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from spinkit import raster
from spinkit.camera import RESOLUTION, Camera
from spinkit.view import gl
from spinkit.view.images import Image, as_picture, resized
from spinkit.view.shading import Shot, shade, vertex_normals
from spinkit.view.style import PAPER, SKIN, Colour

Backend = Literal["auto", "pyrender", "raster"]
SAMPLES = 2
"""The rasteriser draws this many times as fine and averages, for a smooth outline."""


def render(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    size: int | tuple[int, int] = 448,
    background: Image | None = None,
    colour: Colour | Float[Tensor, "vertices 3"] = SKIN,
    backend: Backend = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """Picture of a body where the camera sees it: over `camera.project(camera, vertices)`.

    Args:
        vertices: metres, before the camera's translation.
        faces: corners, counter-clockwise seen from outside.
        camera: one camera.
        size: one number for the whole square crop drawn with that side; (height, width) where the camera's
            pixels are the picture's own, as those of `camera.photo_camera`.
        background: a picture of the same view, stretched to the size; white by default.
        colour: one for all, or one a vertex; as a screen shows it, 0 to 1.
        backend: "auto" takes pyrender where it works. The two pictures are alike but for the outline.

    Raises:
        RuntimeError: for "pyrender" where OpenGL does not work here.
    """
    shot = _shot(vertices, faces, camera, size, colour)
    covered = _by_pyrender(shot) if _takes_pyrender(backend) else _by_raster(shot)
    if background is None:
        behind = np.full((*shot.size, 3), 255 * np.array(PAPER))
    else:
        behind = resized(as_picture(background), shot.size)
    return (covered[..., :3] + (1 - covered[..., 3:] / 255) * behind).round().clip(0, 255).astype(np.uint8)


def silhouette(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    size: int | tuple[int, int] = RESOLUTION,
    backend: Backend = "raster",
) -> Bool[np.ndarray, "height width"]:
    """The pixels whose centre the body covers; arguments as `render`'s."""
    shot = _shot(vertices, faces, camera, size, SKIN)
    if _takes_pyrender(backend):
        return gl.covered(shot)
    return _raster(shot, 1).mask[0].numpy()


def _takes_pyrender(backend: Backend) -> bool:
    if backend == "pyrender" and not gl.usable():
        raise RuntimeError(
            "pyrender cannot draw here: it needs EGL and OpenGL (Debian and Ubuntu: libegl1 libgl1) and the "
            'thread and process that drew first. Use backend="raster", which needs neither.'
        )
    return backend == "pyrender" or (backend == "auto" and gl.usable())


def _shot(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    size: int | tuple[int, int],
    colour: Colour | Float[Tensor, "vertices 3"],
) -> Shot:
    """Everything in pixels of the picture, on the CPU, in single precision."""
    if camera.focal.ndim:
        raise ValueError(f"a picture needs one camera, got a batch of {tuple(camera.focal.shape)}; choose one by index")
    scale, shape = (size / RESOLUTION, (size, size)) if isinstance(size, int) else (1.0, size)
    x, y = (scale * camera.center).tolist()
    vertices = (vertices + camera.translation).detach().cpu().float()
    painted = torch.as_tensor(colour, dtype=torch.float32).cpu().expand_as(vertices)
    return Shot(vertices, faces.cpu(), painted, scale * float(camera.focal), (x, y), shape)


def _by_pyrender(shot: Shot) -> Float[np.ndarray, "height width 4"]:
    return gl.colours(shot).astype(np.float64)


def _raster(shot: Shot, samples: int) -> raster.Raster:
    focal, center = torch.tensor([samples * shot.focal]), samples * torch.tensor([shot.center])
    size = (samples * shot.size[0], samples * shot.size[1])
    return raster.rasterize(shot.vertices[None], shot.faces, focal, center, size, cull=True)


def _by_raster(shot: Shot) -> Float[np.ndarray, "height width 4"]:
    fine = _raster(shot, SAMPLES)
    seen = fine.mask
    normals = vertex_normals(shot.vertices, shot.faces)
    carried = raster.interpolate(fine, shot.faces, torch.cat([shot.vertices, normals, shot.colour], dim=-1))
    position, normal, colour = carried[seen].split(3, dim=-1)
    drawn = torch.zeros(*seen.shape, 4)
    drawn[seen] = torch.cat([shade(position, normal, colour), torch.ones(len(position), 1)], dim=-1)
    coarse = torch.nn.functional.avg_pool2d(drawn.permute(0, 3, 1, 2), SAMPLES)
    return 255 * coarse[0].permute(1, 2, 0).double().numpy()
