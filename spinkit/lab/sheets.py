"""Pictures in rows with their captions, drawn in a few milliseconds: what a widget shows while a handle moves."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

LINE = 18
"""Pixels of a line of text."""
GAP = 6
COARSE = 8
"""Of 256 shades of each colour: the step between two in a light picture, too small to be seen."""
AS_LARGE_AS_IT_IS = {"align_self": "flex-start", "max_width": "100%"}
"""The layout of a picture in a box, which would stretch it to its own width."""


@cache
def font(size: int = 12) -> ImageFont.FreeTypeFont:
    """The charts' own font, which knows squares and millimetres; Pillow's lacks them."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def sheet(
    pictures: Sequence[PillowImage.Image], captions: Sequence[str], columns: int, text: int = 11
) -> PillowImage.Image:
    """Pictures of one size in rows on white, each above its caption.

    Args:
        pictures: at least one.
        captions: one a picture.
        columns: in a full row.
        text: height of the captions' font in pixels.

    Raises:
        ValueError: without pictures, or with another number of captions.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f"a sheet needs pictures and a caption for each, got {len(pictures)} and {len(captions)}")
    lines = 1 + max(caption.count("\n") for caption in captions)
    below = lines * round(text * LINE / 11)
    wide, high = pictures[0].width + GAP, pictures[0].height + below + GAP
    rows = -(-len(pictures) // columns)
    page = PillowImage.new("RGB", (columns * wide, rows * high), "white")
    pen = ImageDraw.Draw(page)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = place % columns * wide, place // columns * high
        page.paste(picture, (x, y))
        pen.text((x + 2, y + picture.height + 1), caption, fill="black", font=font(text))
    return page


def captioned(text: str, width: int) -> PillowImage.Image:
    """A strip with text alone, in as many lines as its width asks for."""
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".lstrip()
        if font().getlength(longer) <= width - 4 or not rows[-1]:
            rows[-1] = longer
        else:
            rows.append(word)
    page = PillowImage.new("RGB", (width, len(rows) * LINE + GAP), "white")
    ImageDraw.Draw(page).text((2, 4), "\n".join(rows), fill="black", font=font())
    return page


def stacked(strips: Sequence[PillowImage.Image]) -> PillowImage.Image:
    """Pictures below one another on white, the left edges in line."""
    page = PillowImage.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    top = 0
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return page


def light(picture: PillowImage.Image) -> PillowImage.Image:
    """The picture in coarser colours, which halves the weight of a still: a saved notebook is to stay light."""
    rounded = (np.asarray(picture).astype(np.uint16) + COARSE // 2) // COARSE * COARSE
    return PillowImage.fromarray(rounded.clip(0, 255).astype(np.uint8))


def jpeg(picture: PillowImage.Image) -> bytes:
    """The bytes that `ipywidgets.Image` takes with the format jpeg: a tenth of a PNG's, and sooner made."""
    held = io.BytesIO()
    picture.save(held, format="JPEG", quality=88)
    return held.getvalue()
