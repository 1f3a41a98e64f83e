"""Cameras as pictures: what each of them sees, and where it stands."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from spinkit.camera import Camera
from spinkit.view.images import Image, contact_sheet
from spinkit.view.rendering import render
from spinkit.view.style import BLACK, PALETTE, page

GREY = 232
"""Behind a body without a photo, 0 to 255."""


def seen_through(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Mapping[str, Camera],
    size: int | tuple[int, int] = 224,
    background: Image | None = None,
    columns: int = 4,
) -> Figure:
    """One body through several cameras.

    Args:
        vertices: metres, before any camera's translation.
        faces: corners.
        cameras: one camera a title.
        size: as `render`'s: one number for crops, (height, width) for cameras of a photo.
        background: a picture of the same view; light grey where not given, so that its edges show.
        columns: in a full row.
    """
    behind = np.full((2, 2, 3), GREY, np.uint8) if background is None else background
    pictures = [render(vertices, faces, camera, size, behind) for camera in cameras.values()]
    columns = min(columns, len(pictures))
    return contact_sheet(pictures, list(cameras), columns, width=2.0 * columns)


def from_the_side(points: Float[Tensor, "points 3"], cameras: Mapping[str, Camera]) -> Figure:
    """Where each camera stands before a body, true to scale: the pinhole, the body, and the rays to its ends.

    Args:
        points: of the body, such as its vertices; metres, before any camera's translation.
        cameras: one camera a title.
    """
    places = {name: (points + camera.translation).detach().cpu().double().numpy() for name, camera in cameras.items()}
    far = max(float(place[:, 2].max()) for place in places.values())
    tall = max(float(np.ptp(place[:, 1])) for place in places.values())
    with page(8.0, len(places) * max(0.75, 8.0 * tall / far + 0.45), len(places), 1, share="x") as (figure, axes):
        for axis, (name, seen) in zip(axes[:, 0], places.items(), strict=True):
            distance, height = seen[:, 2], -seen[:, 1]
            for end in (height.argmax(), height.argmin()):
                axis.plot([0, distance[end]], [0, height[end]], color=PALETTE[3], linewidth=0.9)
            axis.plot(distance, height, ".", color=PALETTE[0], markersize=0.6)
            axis.plot(0, 0, ">", color=BLACK, markersize=7)
            axis.set_aspect("equal")
            axis.set(title=name, xlim=(-0.03 * far, 1.02 * far), yticks=[])
        axes[-1, 0].set(xlabel="distance from the camera (m)")
    return figure
