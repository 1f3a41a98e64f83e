"""Flat pictures: from whatever the package holds to what a notebook shows; keypoints; contact sheets."""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from torch import Tensor

from spinkit.camera import RESOLUTION
from spinkit.keypoints import NAMES, Keypoints
from spinkit.view.style import LEFT, MIDDLE, RIGHT, page

Image = Tensor | np.ndarray | PillowImage.Image
"""A tensor (3, H, W) of bytes or of numbers from 0 to 1, an array (H, W, 3) of bytes, or Pillow's own."""

# Limbs as pairs of keypoints: once among OpenPose's, once among the annotated ones.
LIMBS = (
    *((1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13)),
    *((13, 14), (0, 1), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (14, 21), (11, 22), (11, 24)),
    *((25, 26), (26, 27), (28, 29), (29, 30), (31, 32), (32, 33), (34, 35), (35, 36)),
    *((27, 28), (33, 34), (27, 33), (28, 34), (37, 38), (44, 45), (45, 47), (44, 46), (46, 48)),
)
FINE = 3
"""Lines and dots are drawn this many times as large and then shrunk, which smooths them."""


def as_picture(image: Image) -> UInt8[np.ndarray, "height width 3"]:
    """Any image of the package as rows of red, green, blue bytes.

    Raises:
        ValueError: for a shape or dtype that is no picture.
    """
    if isinstance(image, PillowImage.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"a picture as a tensor has shape (3, height, width), got {tuple(image.shape)}")
        if image.is_floating_point():
            image = (255 * image.detach().clamp(0, 1)).round().to(torch.uint8)
        image = image.cpu().permute(1, 2, 0).numpy()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a picture is (height, width, 3) bytes, got {image.shape} of {image.dtype}")
    return image


def resized(picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """The picture stretched to (height, width)."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(PillowImage.fromarray(picture).resize(size[::-1], PillowImage.Resampling.BICUBIC))


def keypoints_on(
    image: Image,
    keypoints: Keypoints,
    against: Float[Tensor, "49 2"] | None = None,
    side: int | None = 448,
    names: bool = False,
) -> PillowImage.Image:
    """Keypoints on a picture: dots on limbs, the body's left in blue, its right in orange, the midline green.

    Args:
        image: the crop, or the photo.
        keypoints: of one person. A dot is larger the surer its detection is; a missing one is not drawn.
        against: where a fit sees the same keypoints; a red line joins each to its detection.
        side: draw the crop's 224 pixels with this side; None where keypoints are in the image's pixels.
        names: write each keypoint's name beside it.
    """
    picture = as_picture(image)
    size = picture.shape[:2] if side is None else (side, side)
    scale = FINE * (1.0 if side is None else side / RESOLUTION)
    canvas = PillowImage.fromarray(resized(picture, (FINE * size[0], FINE * size[1])))
    pen = ImageDraw.Draw(canvas)
    unit = FINE * max(size) / 448
    xy, confidence = (scale * keypoints.xy).tolist(), keypoints.confidence.tolist()
    _draw_limbs(pen, xy, confidence, unit)
    _draw_dots(pen, xy, confidence, unit)
    if against is not None:
        _draw_misses(pen, xy, (scale * against).tolist(), confidence, unit)
    if names:
        _draw_names(pen, xy, confidence, unit)
    return canvas.resize(size[::-1], PillowImage.Resampling.LANCZOS)


def contact_sheet(images: Sequence[Image], titles: Sequence[str] = (), columns: int = 4, width: float = 8.0) -> Figure:
    """Pictures in rows, each with its title.

    Args:
        images: of any sizes.
        titles: one a picture, or none.
        columns: in a full row.
        width: of the whole sheet in inches.

    Raises:
        ValueError: without images, or with another number of titles.
    """
    if not len(images):
        raise ValueError("a contact sheet needs at least one picture")
    if titles and len(titles) != len(images):
        raise ValueError(f"{len(images)} pictures need as many titles, got {len(titles)}")
    pictures = [as_picture(image) for image in images]
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    shapes = [picture.shape[0] / picture.shape[1] for picture in pictures]
    tallest = [max(shapes[row * columns : (row + 1) * columns]) for row in range(rows)]
    height = sum(tallest) * width / columns + rows * (0.25 if titles else 0.05)
    with page(width, height, rows, columns, heights=tallest) as (figure, axes):
        for place in axes.flat:
            place.set_axis_off()
            place.set_anchor("N")
        for place, picture in zip(axes.flat, pictures, strict=False):
            place.imshow(picture, interpolation="nearest" if picture.shape[1] < 100 else None)
        for place, title in zip(axes.flat, titles, strict=False):
            place.set_title(title, fontsize=9)
    return figure


def side_colour(*names: str) -> tuple[int, int, int]:
    """The colour, in bytes, of a point or of a limb by the side of the body that the names say."""
    left = any(name.removeprefix("OP ").startswith("L") for name in names)
    right = any(name.removeprefix("OP ").startswith("R") for name in names)
    colour = MIDDLE if left == right else LEFT if left else RIGHT
    return tuple(round(255 * part) for part in colour)


def _draw_limbs(pen: ImageDraw.ImageDraw, xy: list, confidence: list, unit: float) -> None:
    for a, b in LIMBS:
        if confidence[a] > 0 and confidence[b] > 0:
            pen.line([*xy[a], *xy[b]], fill=side_colour(NAMES[a], NAMES[b]), width=round(2.5 * unit))


def _draw_dots(pen: ImageDraw.ImageDraw, xy: list, confidence: list, unit: float) -> None:
    for index, ((x, y), c) in enumerate(zip(xy, confidence, strict=True)):
        if c > 0:
            radius = (2.0 + 2.5 * min(c, 1.0)) * unit
            pen.ellipse(
                [x - radius, y - radius, x + radius, y + radius],
                fill=side_colour(NAMES[index]),
                outline="white",
                width=round(unit),
            )


def _draw_names(pen: ImageDraw.ImageDraw, xy: list, confidence: list, unit: float) -> None:
    font = ImageFont.load_default(size=9 * unit)
    for (x, y), c, name in zip(xy, confidence, NAMES, strict=True):
        if c > 0:
            place = (x + 6 * unit, y - 5 * unit)
            pen.text(place, name, fill="white", font=font, stroke_width=unit, stroke_fill="black")


def _draw_misses(pen: ImageDraw.ImageDraw, xy: list, against: list, confidence: list, unit: float) -> None:
    for detected, seen, c in zip(xy, against, confidence, strict=True):
        if c > 0:
            pen.line([*detected, *seen], fill=(220, 30, 30), width=round(1.5 * unit))
            x, y = seen
            pen.ellipse([x - 2 * unit, y - 2 * unit, x + 2 * unit, y + 2 * unit], fill=(220, 30, 30))


def png(picture: Image | Figure) -> bytes:
    """A picture or a figure as the bytes of a PNG file, such as `ipywidgets.Image` takes for its value."""
    held = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(held, format="png")
    else:
        PillowImage.fromarray(as_picture(picture)).save(held, format="PNG")
    return held.getvalue()
