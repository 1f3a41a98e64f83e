"""Fitted bodies as pictures: on their photo, beside one another, from all sides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import roma
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from torch import Tensor

from spinkit.body import Body
from spinkit.camera import RESOLUTION, Camera, crop_camera
from spinkit.view.images import Image, as_picture, contact_sheet, resized
from spinkit.view.rendering import Backend, render
from spinkit.view.style import SKIN, Colour

PORTRAIT_FOCAL = 1000.0
"""Pixels of the crop; a lone body is seen from 4 to 5 m, as a photographer would stand."""
PORTRAIT_FILL = 0.9
"""The part of a portrait's height or width that the body takes."""


@runtime_checkable
class FitLike(Protocol):
    """What a picture needs to know of a fit, for one person or for many."""

    rotvec: Float[Tensor, "*batch 24 3"]
    betas: Float[Tensor, "*batch 10"]
    camera: Camera


def posed(body: Body, fit: FitLike, index: int = 0) -> tuple[Float[Tensor, "vertices 3"], Camera]:
    """The vertices (metres, before the camera's translation) and the camera of one person of a fit."""
    rotvec, betas, camera = fit.rotvec.detach(), fit.betas.detach(), fit.camera
    if rotvec.ndim == 3:
        rotvec, betas, camera = rotvec[index], betas[index], camera[index]
    elif rotvec.ndim != 2:
        raise ValueError(f"a fit of one person or of a batch is needed, got rotvec {tuple(rotvec.shape)}")
    return body.vertices(roma.rotvec_to_rotmat(rotvec), betas), camera


def overlay(
    image: Image,
    body: Body,
    fit: FitLike,
    index: int = 0,
    opacity: int | float = 0.9,
    side: int | None = 448,
) -> PillowImage.Image:
    """The fitted body over its picture.

    Args:
        image: the square crop, or the photo.
        body: that the fit is of.
        fit: of one person, or of many.
        index: the person, where there are many.
        opacity: 1 hides what is behind the body.
        side: draw the crop's 224 pixels with this side; None where the image is a photo and the fit's camera
            counts its pixels, as that of `camera.photo_camera`.
    """
    picture = as_picture(image)
    size = picture.shape[:2] if side is None else (side, side)
    picture = resized(picture, size)
    vertices, camera = posed(body, fit, index)
    drawn = render(vertices, body.faces, camera, size if side is None else side, picture)
    mixed = opacity * drawn.astype(np.float64) + (1 - opacity) * picture
    return PillowImage.fromarray(mixed.round().astype(np.uint8))


def side_by_side(image: Image, body: Body, fits: Mapping[str, FitLike], index: int = 0, width: float = 8.0) -> Figure:
    """The picture, and the picture with each of some fits over it; say {"start": first, "fitted": last}."""
    pictures = [
        resized(as_picture(image), (448, 448)),
        *(overlay(image, body, fit, index) for fit in fits.values()),
    ]
    return contact_sheet(pictures, ["image", *fits], columns=len(pictures), width=width)


def two_views(
    image: Image, body: Body, fit: FitLike, index: int = 0, turn: int | float = 90.0, side: int = 320
) -> PillowImage.Image:
    """The fitted body over its picture, and below it alone, turned about the vertical to show what the camera missed.

    Args:
        image: the square crop.
        body: that the fit is of.
        fit: of one person, or of many.
        index: the person, where there are many.
        turn: degrees; 90 shows the body's left where it faces the camera.
        side: of each view in pixels.
    """
    vertices, _ = posed(body, fit, index)
    views = (overlay(image, body, fit, index, side=side), still(vertices, body.faces, (turn,), "camera", side=side))
    return PillowImage.fromarray(np.concatenate([np.asarray(view) for view in views]))


def still(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    turns: Sequence[int | float] = (0.0,),
    frame: str = "body",
    colour: Colour | Float[Tensor, "vertices 3"] = SKIN,
    side: int = 320,
    backend: Backend = "auto",
) -> PillowImage.Image:
    """A lone body on white, once for every turn about the vertical.

    Args:
        vertices: metres.
        faces: corners.
        turns: degrees; 0 is the front (for a fitted body the camera's view), 90 shows the left side.
        frame: "body" where y points up and the body looks along z; "camera" where y points down.
        colour: one for all, or one a vertex.
        side: of each view in pixels.
        backend: as `render`'s.
    """
    seen = upright(vertices, frame)
    views = []
    for turn in turns:
        turned = about_the_vertical(seen, turn)
        views.append(render(turned, faces, portrait_camera(seen), side, colour=colour, backend=backend))
    return PillowImage.fromarray(np.concatenate(views, axis=1))


def turntable(
    body: Body, fit: FitLike, index: int = 0, frames: int = 24, side: int = 256
) -> list[UInt8[np.ndarray, "side side 3"]]:
    """The fitted body turning once about the vertical, beginning with the camera's view."""
    vertices, _ = posed(body, fit, index)
    turns = [360.0 * frame / frames for frame in range(frames)]
    return [np.asarray(still(vertices, body.faces, (turn,), "camera", side=side)) for turn in turns]


def save_gif(frames: Sequence[Image], path: str | Path, seconds: float = 0.08) -> Path:
    """Write pictures as an endless GIF, each shown for so many seconds.

    Raises:
        ValueError: without pictures.
    """
    if not len(frames):
        raise ValueError(f"{path} needs at least one picture")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [PillowImage.fromarray(as_picture(frame)) for frame in frames]
    first.save(path, save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)
    return path


def upright(vertices: Float[Tensor, "vertices 3"], frame: str) -> Float[Tensor, "vertices 3"]:
    """Into the camera frame, around the middle of the bounding box."""
    if frame not in ("body", "camera"):
        raise ValueError(f'frame must be "body" (y up) or "camera" (y down), got {frame!r}')
    seen = vertices.detach().cpu().float()
    if frame == "body":
        seen = seen * seen.new_tensor([1.0, -1.0, -1.0])
    return seen - (seen.amin(dim=0) + seen.amax(dim=0)) / 2


def about_the_vertical(seen: Float[Tensor, "vertices 3"], degrees: int | float) -> Float[Tensor, "vertices 3"]:
    """Turned about the vertical; growing angles show more of the left side of a body that faces us."""
    turn = roma.rotvec_to_rotmat(seen.new_tensor([0.0, np.radians(degrees), 0.0]))
    return seen @ turn.mT


def portrait_camera(seen: Float[Tensor, "vertices 3"]) -> Camera:
    """A camera that holds the body in every turn, at one distance so that it does not seem to grow."""
    around = seen[:, [0, 2]].norm(dim=-1).amax()
    reach = torch.maximum(around, seen[:, 1].abs().amax())
    depth = 2 * PORTRAIT_FOCAL * reach / (PORTRAIT_FILL * RESOLUTION) + around
    return crop_camera(torch.stack([0 * depth, 0 * depth, depth]), PORTRAIT_FOCAL)
