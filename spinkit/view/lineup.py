"""Bodies beside one another at one scale, painted with what is known of their skin."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from spinkit.camera import RESOLUTION, crop_camera
from spinkit.view.bodies import PORTRAIT_FILL, PORTRAIT_FOCAL, about_the_vertical, still, upright
from spinkit.view.images import contact_sheet
from spinkit.view.rendering import render
from spinkit.view.style import PALETTE, SKIN, Colour, page

HEAT = matplotlib.colormaps["YlOrRd"]
"""From nothing (pale) to the most (dark red), in the order of lightness, so that it reads without colour too."""
GAP = 8
"""Pixels of white that stay around a body when the rest of its picture is cut off."""


def line_up(
    bodies: Sequence[Float[Tensor, "vertices 3"]],
    faces: Int[Tensor, "faces 3"],
    titles: Sequence[str] = (),
    colours: Sequence[Colour | Float[Tensor, "vertices 3"]] = (),
    frame: str = "body",
    turn: int | float = 0.0,
    columns: int = 8,
) -> Figure:
    """Bodies on one floor and at one scale, so that a smaller one looks smaller.

    Args:
        bodies: vertices of each, metres.
        faces: corners, the same for all.
        titles: one a body, or none.
        colours: one a body, each a colour or one a vertex; none for pale skin.
        frame: "body" where y points up, "camera" where it points down.
        turn: degrees about the vertical; 90 shows the left side.
        columns: in a full row.

    Raises:
        ValueError: without bodies, or with another number of colours.
    """
    if not len(bodies):
        raise ValueError("a line-up needs at least one body")
    if colours and len(colours) != len(bodies):
        raise ValueError(f"{len(bodies)} bodies need as many colours, got {len(colours)}")
    standing = [_on_the_floor(about_the_vertical(upright(body, frame), turn)) for body in bodies]
    pictures = _same_scale(standing, faces, colours or [SKIN] * len(bodies))
    columns = min(columns, len(pictures))
    height, width = pictures[0].shape[:2]
    # As wide as a page, but for one or two tall bodies, which would need a page each.
    return contact_sheet(pictures, titles, columns, min(8.0, 3.2 * columns * width / height))


def heat_map(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    values: Float[Tensor, "vertices"],
    unit: str,
    top: int | float | None = None,
    turns: Sequence[int | float] = (0.0, 90.0, 180.0),
) -> Figure:
    """A number on every point of the skin, as colour, from several sides.

    Args:
        vertices: metres, y up.
        faces: corners.
        values: not negative.
        unit: what they are, written at the colour bar.
        top: painted in the darkest red, as is all above; the largest value where not given.
        turns: degrees about the vertical, one picture each.
    """
    top = float(values.max()) if top is None else float(top)
    views = np.asarray(still(vertices, faces, turns, colour=heat(values, top)))
    with page(8.0, 8.0 / (len(turns) + 0.35)) as (figure, axes):
        place = axes[0, 0]
        place.imshow(views)
        place.set_axis_off()
        scale = ScalarMappable(Normalize(0, top), HEAT)
        figure.colorbar(scale, ax=place, label=unit, shrink=0.8, extend="max" if values.max() > top else "neither")
    return figure


def heat(values: Float[Tensor, "vertices"], top: int | float) -> Float[Tensor, "vertices 3"]:
    """Colours of numbers between nothing and `top`."""
    share = (values.detach().cpu().double() / max(float(top), 1e-12)).clamp(0, 1).numpy()
    return torch.from_numpy(HEAT(share)[..., :3]).float()


def blended(weights: Float[Tensor, "vertices joints"]) -> Float[Tensor, "vertices 3"]:
    """A colour for each joint, mixed on the skin as its weights are; neighbours in the order never share a colour."""
    # Six colours, then the same again paler: enough for 24 joints of which neighbours differ.
    palette = torch.tensor(PALETTE[:6])
    paler = [palette * share + (1 - share) for share in (1.0, 0.6, 0.8, 0.4)]
    colours = torch.cat(paler)[torch.arange(weights.shape[1]) % 24]
    return weights.detach().cpu().float() @ colours


def _on_the_floor(seen: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 3"]:
    """Soles at y = 0 of the camera frame, in which up is negative."""
    return seen - seen.new_tensor([0.0, float(seen[:, 1].amax()), 0.0])


def _same_scale(
    standing: Sequence[Float[Tensor, "vertices 3"]],
    faces: Int[Tensor, "faces 3"],
    colours: Sequence[Colour | Float[Tensor, "vertices 3"]],
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """One camera for all, then the white around all of them cut off."""
    everyone = torch.stack([body.abs().amax(0) for body in standing]).amax(0)
    tall = -min(float(body[:, 1].amin()) for body in standing)
    reach = max(tall / 2, float(everyone[0]))
    depth = 2 * PORTRAIT_FOCAL * reach / (PORTRAIT_FILL * RESOLUTION) + float(everyone[2])
    camera = crop_camera(torch.tensor([0.0, tall / 2, depth]), PORTRAIT_FOCAL)
    pictures = [render(b, faces, camera, 448, colour=c) for b, c in zip(standing, colours, strict=True)]
    ink = np.min([picture.min(axis=-1) for picture in pictures], axis=0) < 250
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    window = tuple(slice(max(at[0] - GAP, 0), at[-1] + GAP + 1) for at in (rows, columns))
    return [picture[window] for picture in pictures]
