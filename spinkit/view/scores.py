"""Charts of errors: joint by joint, and person by person."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from spinkit.view.charts import Number, Numbers
from spinkit.view.style import BLACK, PALETTE, page

MARKERS = "osD^vP"
"""A second way, beside colour, to tell groups apart."""


def joint_errors(
    groups: Mapping[str, Float[Tensor, "n joints"]], names: Sequence[str], x: str = "error (mm)"
) -> Figure:
    """Errors joint by joint: a mark at each group's mean, and a line over the middle half of its people.

    Args:
        groups: name, and the error of every person and joint, in the unit that is to be shown.
        names: of the joints.
        x: what the errors are, with the unit.

    Raises:
        ValueError: a group has other joints than the names.
    """
    for name, errors in groups.items():
        if errors.shape[1] != len(names):
            raise ValueError(f"{name} has {errors.shape[1]} joints, but there are {len(names)} names")
    rows, gap = np.arange(len(names)), 0.7 / max(1, len(groups))
    with page(6.8, 0.9 + 0.078 * len(names) * (1 + len(groups)), 1, 1) as (figure, axes):
        place = axes[0, 0]
        for number, (name, errors) in enumerate(groups.items()):
            values, colour = errors.detach().cpu().double().numpy(), PALETTE[number % len(PALETTE)]
            at = rows + gap * (number - (len(groups) - 1) / 2)
            low, high = np.quantile(values, [0.25, 0.75], axis=0)
            place.hlines(at, low, high, color=colour, linewidth=1.2, alpha=0.6)
            place.plot(values.mean(axis=0), at, MARKERS[number % len(MARKERS)], color=colour, markersize=5, label=name)
        place.set_yticks(rows, names)
        place.set(xlabel=x, ylim=(len(names) - 0.4, -0.6))
        place.set_xlim(left=0)
        place.grid(visible=False, axis="y")
        place.legend()
    return figure


def ranking(values: Numbers, y: str, threshold: Number | None = None, mark: Sequence[int] = ()) -> Figure:
    """One bar a person, from the smallest value to the largest, with the person's number below.

    Args:
        values: one a person.
        y: what they are, with the unit.
        threshold: drawn as a line, if any; the scale is then logarithmic, so that both ends can be read.
        mark: people whose bars stand out.
    """
    heights = np.asarray(values, float)
    order = heights.argsort(kind="stable")
    colours = [PALETTE[1] if person in mark else PALETTE[0] for person in order]
    with page(max(4.0, min(9.0, 1.2 + 0.24 * len(order))), 2.8) as (figure, axes):
        place = axes[0, 0]
        place.bar(np.arange(len(order)), heights[order], color=colours)
        place.set_xticks(np.arange(len(order)), order, rotation=90 if len(order) > 12 else 0)
        place.set(xlabel="person", ylabel=y)
        place.grid(visible=False, axis="x")
        if threshold is not None:
            place.set_yscale("log")
            place.axhline(threshold, color=BLACK, linestyle="--", linewidth=1.2)
            place.annotate(f"threshold {threshold:g}", (0, threshold), (2, 4), textcoords="offset points", fontsize=8)
            place.set_ylim(top=1.8 * max(threshold, heights[np.isfinite(heights)].max(initial=0)))
    return figure
