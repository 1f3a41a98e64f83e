"""What the colours of a body's skin may say: whom it follows, and what the pose adds to it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from spinkit.body import Posed
from spinkit.view.lineup import blended

PLAIN, WEIGHTS, BLENDED, CORRECTIVES = COLOURS = (
    "plain",
    "weights of the joint",
    "all joints, blended",
    "pose correctives",
)
MOST_MOVED = 60.0
"""Millimetres in the darkest red, the same for every pose so that colours compare; few bends reach it."""


@dataclass(frozen=True)
class Paint:
    """A number on every vertex, a colour on every vertex, or neither."""

    values: Float[Tensor, "vertices"] | None = None
    """Not negative."""
    unit: str = ""
    top: float = 1.0
    """The value of the darkest colour."""
    colours: Float[Tensor, "vertices 3"] | None = None


def paint(posed: Posed, joint: int, colour: str) -> Paint:
    """Colours for the skin of a posed body.

    Args:
        posed: the body.
        joint: whose weights are painted where `colour` asks for them.
        colour: one of `COLOURS`.

    Raises:
        ValueError: for any other.
    """
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour!r}")
    weights = posed.shaped.body.weights
    if colour == WEIGHTS:
        return Paint(weights[:, joint], "weight")
    if colour == BLENDED:
        return Paint(colours=blended(weights))
    if colour == CORRECTIVES:
        return Paint(1000 * posed.correctives().norm(dim=-1), "moved (mm)", MOST_MOVED)
    return Paint()
