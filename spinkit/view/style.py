"""One look for every figure: colours that colour-blind readers tell apart, readable in any theme."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

Colour = tuple[float, float, float]
"""Red, green, blue as a screen shows them, 0 to 1."""

# Okabe & Ito, "Color universal design" (2008), in the order in which a figure takes them.
BLUE, ORANGE, GREEN = (0.0, 0.447, 0.698), (0.902, 0.624, 0.0), (0.0, 0.620, 0.451)
VERMILION, PURPLE, SKY = (0.835, 0.369, 0.0), (0.800, 0.475, 0.655), (0.337, 0.706, 0.914)
YELLOW, BLACK = (0.941, 0.894, 0.259), (0.0, 0.0, 0.0)
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW, BLACK)

LEFT, RIGHT, MIDDLE = SKY, ORANGE, GREEN
"""The body's own left, right and midline, in every figure."""
SKIN = (0.70, 0.78, 0.86)
"""A body without a colour of its own: pale and cool, so that keypoints stand out on it."""
PAPER = (1.0, 1.0, 1.0)
"""Behind charts and lone bodies. Opaque, so that black text on it stays readable in a dark theme."""
INK = "#7f7f7f"
"""Text of the interactive figures, whose ground is transparent: grey reads on white and on black."""

_THEME = {
    "figure.dpi": 110,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "font.family": "DejaVu Sans",
}


@contextmanager
def page(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    share: str = "",
    heights: Sequence[float] | None = None,
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A figure and its (rows, columns) axes, in the house's look.

    The figure is closed at the end, so that a notebook shows it once, as the value of its cell.

    Args:
        width: inches.
        height: inches.
        rows: of axes.
        columns: of axes.
        share: "x", "y" or both, where all axes have the same limits.
        heights: of the rows, relative to one another.
    """
    with plt.rc_context(_THEME):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(width, height),
            layout="constrained",
            squeeze=False,
            sharex="x" in share,
            sharey="y" in share,
            height_ratios=heights,
        )
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def css(colour: Colour) -> str:
    """The colour as a web page writes it."""
    return "rgb({}, {}, {})".format(*(round(255 * part) for part in colour))
