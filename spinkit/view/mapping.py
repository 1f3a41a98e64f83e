"""Where a keypoint file says the points of a person are, in the package's names: the picture to look at first."""

import math
import textwrap

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from spinkit import crop
from spinkit.keypoints import ANNOTATED, NAMES, OPENPOSE, SURE, Keypoints, filled
from spinkit.view.images import LIMBS, Image, as_picture, side_colour
from spinkit.view.style import page

BLANK = 240
"""Grey of the ground where there is no photo, of 255."""
MARGIN = 0.3
"""Room for names on either side, in sides of the picture."""
LABELS = 24
"""So many names fit above one another."""
SHARPEST = 1000
"""Pixels on the picture's side, at most."""
LINE = 125
"""Letters in a line under the picture."""


def mapping(person: Keypoints, photo: Image | None = None, kind: str | None = None, width: int | float = 8.0) -> Figure:
    """One person's keypoints by name, each with its confidence, and below them those that are missing.

    Blue is the body's own left, orange its right, green the midline. A ring without filling is a point that is not
    sure (`keypoints.SURE`).

    Args:
        person: in pixels of the photo.
        photo: what the points were marked in; an empty ground without it.
        kind: the file's, a key of `keypoints.SOURCES`. With it, points that were not found are told from those that
            nobody looks for.
        width: of the figure in inches.

    Raises:
        ValueError: for a person without two visible points apart.
    """
    x, y, side = crop.box_around(person.xy, person.confidence, 1.2).tolist()
    left, right, top, bottom = x - side / 2, x + side / 2, y - side / 2, y + side / 2
    with page(width, 0.7 * width) as (figure, axes):
        place = axes[0, 0]
        place.imshow(_ground(photo, (left, top, right, bottom)), extent=(left, right, bottom, top))
        place.set(xlim=(left - MARGIN * side, right + MARGIN * side), ylim=(bottom, top))
        place.set_axis_off()
        _draw(place, person)
        order = torch.where(person.visible)[0]
        order = order[person.xy[order, 0].argsort()].tolist()
        half = (len(order) + 1) // 2
        _label(place, person, order[:half], left - 0.03 * side, "right")
        _label(place, person, order[half:], right + 0.03 * side, "left")
        figure.supxlabel("\n".join(missing_lines(person, kind)), fontsize=8, linespacing=1.4)
    return figure


def missing_lines(person: Keypoints, kind: str | None = None) -> list[str]:
    """Which of the 49 are there, and which are not and why, as lines of text."""
    there = [name for name, seen in zip(NAMES, person.visible.tolist(), strict=True) if seen]
    if kind is None:
        said = {"missing": [name for name in NAMES if name not in there]}
    else:
        looked_for = filled(kind)
        said = {
            f"not found in this file of {kind}": [name for name in looked_for if name not in there],
            f"not among the points of {kind}": [name for name in NAMES if name not in {*looked_for, *there}],
        }
    lines = [f"{len(there)} of {len(NAMES)} keypoints"]
    for reason, names in said.items():
        lines += textwrap.wrap(f"{reason}: {_listing(names)}", LINE) if names else []
    return lines


def _listing(names: list[str]) -> str:
    """The names; a half that is there wholly is said in one word."""
    halves = {"all 25 of OpenPose (OP)": NAMES[OPENPOSE], "all 24 that are annotated": NAMES[ANNOTATED]}
    whole = {words: half for words, half in halves.items() if set(half) <= set(names)}
    covered = {name for half in whole.values() for name in half}
    # Spaces that do not break keep a name on its line.
    return (
        ", ".join([*whole, *(name.replace(" ", "\N{NO-BREAK SPACE}") for name in names if name not in covered)])
        or "none"
    )


def _ground(photo: Image | None, box: tuple[float, float, float, float]) -> UInt8[np.ndarray, "side side 3"]:
    """The part of the photo in the box (left, top, right, bottom), white where the box leaves it."""
    if photo is None:
        return np.full((2, 2, 3), BLANK, np.uint8)
    picture = PillowImage.fromarray(as_picture(photo))
    side = max(2, round(min(box[2] - box[0], SHARPEST)))
    seen = picture.transform(
        (side, side), PillowImage.Transform.EXTENT, box, PillowImage.Resampling.BICUBIC, fillcolor="white"
    )
    return np.asarray(seen)


def _draw(place: Axes, person: Keypoints) -> None:
    xy, seen, sure = person.xy.tolist(), person.visible.tolist(), (person.confidence > SURE).tolist()
    for a, b in LIMBS:
        if seen[a] and seen[b]:
            colour = _colour(NAMES[a], NAMES[b])
            place.plot(*zip(xy[a], xy[b], strict=True), color=colour, linewidth=1.6, alpha=0.8, zorder=2)
    for i in np.flatnonzero(seen):
        colour = _colour(NAMES[i])
        inside, edge = (colour, "white") if sure[i] else ("none", colour)
        place.plot(*xy[i], "o", markersize=6, markerfacecolor=inside, markeredgecolor=edge, markeredgewidth=1, zorder=4)


def _label(place: Axes, person: Keypoints, points: list[int], x: float, alignment: str) -> None:
    """Names beside the picture, each as near the height of its point as the others let it be."""
    points = sorted(points, key=lambda i: float(person.xy[i, 1]))
    bottom, top = place.get_ylim()
    heights = _spread([float(person.xy[i, 1]) for i in points], top, bottom, (bottom - top) / LABELS)
    look = {"ha": alignment, "va": "center", "fontsize": 8, "zorder": 3}
    arrow = {
        "arrowstyle": "-",
        "linewidth": 0.9,
        "shrinkA": 2,
        "shrinkB": 3,
        "relpos": (float(alignment == "right"), 0.5),
    }
    for i, height in zip(points, heights, strict=True):
        text, colour = f"{NAMES[i]}  {person.confidence[i]:.2f}", _colour(NAMES[i])
        place.annotate(text, person.xy[i].tolist(), (x, height), arrowprops={**arrow, "color": colour}, **look)


def _spread(wished: list[float], top: float, bottom: float, step: float) -> list[float]:
    """Heights at least a step apart that follow the wishes, which are in order, up and down alike."""
    step = min(step, (bottom - top) / max(1, len(wished)))
    below, above = [-math.inf], [math.inf]
    for down, up in zip(wished, reversed(wished), strict=True):
        below.append(max(down, below[-1] + step))
        above.append(min(up, above[-1] - step))
    middle = [(a + b) / 2 for a, b in zip(below[1:], reversed(above[1:]), strict=True)]
    highest = [top + (rank + 0.5) * step for rank in range(len(wished))]
    lowest = [top + bottom - height for height in reversed(highest)]
    return [min(max(h, a), b) for h, a, b in zip(middle, highest, lowest, strict=True)]


def _colour(*names: str) -> tuple[float, float, float]:
    return tuple(part / 255 for part in side_colour(*names))
