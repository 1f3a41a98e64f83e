"""Fitted people on the photo that they came from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image as PillowImage
from PIL import ImageDraw
from torch import Tensor

from spinkit.body import Body
from spinkit.camera import Camera, photo_camera
from spinkit.view.bodies import FitLike, overlay
from spinkit.view.images import Image, as_picture
from spinkit.view.style import ORANGE


@dataclass(frozen=True)
class InPhoto:
    """A fit whose cameras count the photo's pixels."""

    rotvec: Float[Tensor, "n 24 3"]
    betas: Float[Tensor, "n 10"]
    camera: Camera


def on_photo(
    photo: Image, body: Body, fits: FitLike, boxes: Float[Tensor, "n 3"], opacity: int | float = 0.9
) -> PillowImage.Image:
    """Everyone who was fitted, over the whole photo; who is nearer is drawn over who is farther.

    Args:
        photo: all of it.
        body: that the fits are of.
        fits: of n people, whose cameras are those of their crops.
        boxes: of the crops: centre x, centre y and side in pixels of the photo.
        opacity: 1 hides what is behind the bodies.
    """
    camera = photo_camera(fits.camera, boxes)
    people = InPhoto(fits.rotvec, fits.betas, camera)
    # Every crop has a focal length of its own; only the ratio says who stands farther away.
    distance = camera.translation[:, 2] / camera.focal
    picture = PillowImage.fromarray(as_picture(photo))
    for person in distance.argsort(descending=True).tolist():
        picture = overlay(picture, body, people, person, opacity, side=None)
    return picture


def boxes_on(photo: Image, boxes: Float[Tensor, "n 3"]) -> PillowImage.Image:
    """The photo with the boxes (centre x, centre y, side, in its pixels) that crops are cut from."""
    canvas = PillowImage.fromarray(np.array(as_picture(photo)))
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(canvas.size) / 200))
    for x, y, side in boxes.tolist():
        corners = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        pen.rectangle(corners, outline=tuple(round(255 * part) for part in ORANGE), width=width)
    return canvas
