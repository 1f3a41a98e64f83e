"""The four pictures of the fit explorer: keypoints with arrows, the body over its crop, in space, and its energy."""

import base64
import math

import numpy as np
import plotly.graph_objects as go
import roma
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from plotly.basedatatypes import BaseFigure
from torch import Tensor

from spinkit import camera as cameras
from spinkit.body import Body
from spinkit.camera import RESOLUTION
from spinkit.keypoints import JOINT_PARENTS, NAMES
from spinkit.lab.canvas import GRID
from spinkit.lab.fit_trace import Trace
from spinkit.lab.sheets import jpeg
from spinkit.smplify import Start
from spinkit.view import as_picture, overlay
from spinkit.view.images import Image, side_colour
from spinkit.view.style import BLUE, GREEN, INK, ORANGE, PALETTE, VERMILION, css, page

SIDE = 360
"""Of a picture on the screen, pixels."""
TERMS = ("keypoints", "pose", "bending", "shape", "start", "depth")
BODIES = {"start": INK, "answer": css(BLUE), "now": css(ORANGE), "truth": css(GREEN)}
"""The skeletons in space and their colours; the truth only where it is known."""
ARROWS, SEEN, MARKED = 0, 1, 2
"""The traces of the keypoints' figure."""
RING = 3.5
"""Radius of the ring in pixels of the crop, under 10 across on the screen: plotly resizes larger ones at their edge."""
LOWEST = 1.0
"""px^2: cheaper terms are below the chart, whose scale is logarithmic."""


def flat(traces: list, **layout: object) -> go.Figure:
    """A figure on transparent ground.

    It becomes a widget when it is complete: what is sent to a widget that no page shows yet may be lost there. For the
    same reason every batch of changes names the same properties of all traces that it touches.
    """
    plain = {
        "template": "none",
        "width": SIDE,
        "height": SIDE,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": INK, "size": 11},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    }
    return go.Figure(traces, plain | layout)


def keypoint_panel(image: Image, shown: Bool[Tensor, "49"]) -> go.Figure:
    """The crop, its keypoints that were ever marked, and an arrow to each from where the body has it."""
    picture = jpeg(PillowImage.fromarray(as_picture(image)))
    source = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    behind = {"source": source, "xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": RESOLUTION, "sizey": RESOLUTION}
    arrow = {"symbol": "arrow", "angleref": "previous", "color": css(VERMILION), "opacity": 1}
    colours = [f"rgb{side_colour(NAMES[index])}" for index in shown.nonzero()[:, 0].tolist()]
    dot = {"size": 11, "color": colours, "line": {"color": "white", "width": 1}}
    ring = {"type": "circle", "x0": 0, "x1": 1, "y0": 0, "y1": 1, "line": {"color": css(VERMILION), "width": 2.5}}
    axis = {"showgrid": False, "zeroline": False, "range": (0, RESOLUTION), "title": {"text": "px", "standoff": 2}}
    return flat(
        [
            go.Scatter(
                mode="lines+markers",
                marker=arrow,
                line={"color": css(VERMILION), "width": 2},
                name="error",
                hoverinfo="skip",
            ),
            go.Scatter(
                mode="markers", marker={"size": 4, "color": css(VERMILION)}, name="the body's", hoverinfo="skip"
            ),
            go.Scatter(mode="markers", marker=dot, name="marked", hovertemplate="%{text}<extra></extra>"),
        ],
        images=[behind | {"sizing": "stretch", "layer": "below"}],
        shapes=[ring | {"visible": False, "fillcolor": "rgba(255, 255, 255, 0.2)"}],
        xaxis=axis,
        yaxis=axis | {"range": (RESOLUTION, 0), "scaleanchor": "x"},
        margin={"l": 40, "r": 5, "t": 25, "b": 40},
        showlegend=False,
        dragmode=False,
        title={"text": "click a keypoint", "font": {"size": 12}, "y": 0.98},
    )


def show_keypoints(
    panel: BaseFigure,
    xy: Float[Tensor, "49 2"],
    seen: Float[Tensor, "49 2"],
    shown: Bool[Tensor, "49"],
    counts: Bool[Tensor, "49"],
) -> None:
    """Move keypoints and arrows.

    Args:
        xy: where keypoints are marked, pixels.
        seen: where the body has them.
        shown: those that were ever marked; the second trace's points are these, in their order.
        counts: those that the fit is told of; the others are crosses without an arrow.
    """
    at = (shown & counts).nonzero()[:, 0]
    ends = np.full((len(at), 3, 2), np.nan, dtype=np.float32)
    ends[:, 0], ends[:, 1] = seen[at].numpy(), xy[at].numpy()
    # An arrow that is shorter than its head would only hide the keypoint.
    heads = np.where((seen[at] - xy[at]).norm(dim=-1).numpy() > 4, 9, 0).astype(np.float32)
    sizes = np.stack([0 * heads, heads, 0 * heads], axis=1).ravel()
    listed = shown.nonzero()[:, 0]
    with panel.batch_update():
        for trace, points in ((ARROWS, ends.reshape(-1, 2)), (SEEN, seen[at].numpy()), (MARKED, xy[listed].numpy())):
            panel.data[trace].x, panel.data[trace].y = points.T.copy()
    panel.data[ARROWS].marker.size = sizes
    symbols = tuple("circle" if counts[i] else "x" for i in listed.tolist())
    if panel.data[MARKED].marker.symbol != symbols:
        texts = [NAMES[i] + ("" if counts[i] else " (dropped)") for i in listed.tolist()]
        panel.data[MARKED].update(text=texts, marker_symbol=symbols)


def show_ring(panel: BaseFigure, place: Float[Tensor, "2"] | None) -> None:
    """Put the ring that can be dragged around a place in pixels, or take it away."""
    ring = panel.layout.shapes[0]
    if place is None:
        ring.visible = False
        return
    x, y = place.tolist()
    with panel.batch_update():
        ring.update(visible=True, x0=x - RING, x1=x + RING, y0=y - RING, y1=y + RING)


def ring_place(panel: BaseFigure) -> Float[Tensor, "2"]:
    """Where the ring's middle is, pixels."""
    ring = panel.layout.shapes[0]
    return torch.tensor([(ring.x0 + ring.x1) / 2, (ring.y0 + ring.y1) / 2])


def projected(body: Body, at: Start) -> Float[Tensor, "49 2"]:
    """Where the camera of a single body sees its keypoints, pixels."""
    points = body.keypoints(roma.rotvec_to_rotmat(at.rotvec), at.betas)
    return cameras.project(at.camera, points)[0]


def space_panel(names: list[str]) -> go.Figure:
    """Skeletons to turn by hand, their hips at the origin; names are keys of `BODIES`."""
    width, dash = {"now": 9, "answer": 5}, {"start": "dash", "truth": "dot"}
    lines = [
        go.Scatter3d(
            mode="lines",
            name=name,
            line={"color": BODIES[name], "width": width.get(name, 4), "dash": dash.get(name, "solid")},
            hoverinfo="name",
        )
        for name in names
    ]
    axis = {"range": (-1.1, 1.1), "dtick": 0.5, "gridcolor": INK, "zeroline": False, "showbackground": False}
    axis |= {"tickfont": {"size": 9}, "gridwidth": 1}
    titles = {"xaxis": "across (m)", "yaxis": "down (m)", "zaxis": "depth (m)"}
    scene = {name: axis | {"title": {"text": text}} for name, text in titles.items()}
    eye = {"up": {"x": 0, "y": -1, "z": 0}, "eye": {"x": 1.5, "y": -0.4, "z": -1.5}}
    layout = {"aspectmode": "cube", "camera": eye, **scene}
    return flat(lines, scene=layout, margin={"l": 0, "r": 0, "t": 25, "b": 0}, showlegend=True)


def bones(body: Body, at: Start) -> Float[np.ndarray, "points 3"]:
    """The skeleton of a single body as one broken line, metres from its hips."""
    joints = body.joints(roma.rotvec_to_rotmat(at.rotvec), at.betas)[0]
    joints = (joints - joints[:1]).numpy()
    gap = np.full(3, np.nan, dtype=joints.dtype)
    pairs = [(joints[parent], joints[child], gap) for child, parent in enumerate(JOINT_PARENTS) if parent >= 0]
    return np.concatenate([np.stack(pair) for pair in pairs])


def show_skeletons(panel: BaseFigure, skeletons: dict[str, Float[np.ndarray, "points 3"]]) -> None:
    """Move the skeletons of these names."""
    with panel.batch_update():
        for line in panel.data:
            if line.name in skeletons:
                line.x, line.y, line.z = skeletons[line.name].T.copy()


def energy_panel() -> go.Figure:
    """Terms of the energy over iterations; a line stands at the iteration that is shown."""
    lines = [
        go.Scatter(mode="lines", name=name, line={"color": css(PALETTE[i]), "width": 2}) for i, name in enumerate(TERMS)
    ]
    dots = go.Scatter(mode="markers", marker={"size": 8, "color": INK}, showlegend=False, hovertemplate="%{y:,.0f} px²")
    stage = {"type": "rect", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "line": {"width": 0}}
    now = {"type": "line", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "line": {"color": INK, "width": 2}}
    axis = {"gridcolor": GRID, "zeroline": False}
    return flat(
        [*lines, dots],
        shapes=[stage | {"fillcolor": GRID, "layer": "below"}, now],
        xaxis=axis | {"title": {"text": "iteration (grey: the camera stage)", "standoff": 4}},
        yaxis=axis | {"title": {"text": "energy (px², as weighed)", "standoff": 4}, "type": "log", "dtick": 1},
        margin={"l": 60, "r": 5, "t": 45, "b": 40},
    )


def show_energy(panel: BaseFigure, trace: Trace) -> None:
    """Draw the terms of another fit."""
    iterations = np.arange(len(trace))
    top = max(float(trace.total.nan_to_num(posinf=0.0).max()), 10 * LOWEST)
    with panel.batch_update():
        for line in panel.data[: len(TERMS)]:
            values = trace.energy.get(line.name)
            told = values is not None and bool((values > LOWEST).any())
            line.update(x=iterations if told else [], y=values.numpy() if told else [], showlegend=told)
        panel.layout.shapes[0].x1 = trace.turned
        panel.layout.yaxis.range = (math.log10(LOWEST), math.log10(top) + 0.1)


def show_iteration(panel: BaseFigure, trace: Trace, iteration: int) -> None:
    """Put the line and a dot on each curve at an iteration."""
    heights = [float(values[iteration]) for values in trace.energy.values()]
    with panel.batch_update():
        panel.data[-1].update(x=[iteration] * len(heights), y=[h if h > LOWEST else None for h in heights])
        panel.layout.shapes[1].update(x0=iteration, x1=iteration)


def still(image: Image, body: Body, trace: Trace, iteration: int) -> Figure:
    """Three bodies of a fit over the crop, the energy's terms, and the same bodies from the side."""
    frames = {"start": 0, "camera stage done": trace.turned, f"iteration {iteration}": iteration}
    with page(8.0, 5.4, 2, 3, heights=(1.0, 1.0)) as (figure, axes):
        for place, (title, frame) in zip(axes[0], frames.items(), strict=True):
            place.imshow(overlay(image, body, trace[frame], side=320))
            place.set_title(title)
            place.set_axis_off()
        for place in axes[1, :2]:
            place.remove()
        _draw_energy(figure.add_subplot(axes[0, 0].get_gridspec()[1, :2]), trace, iteration)
        _draw_side(axes[1, 2], {title: bones(body, trace[frame]) for title, frame in frames.items()})
    return figure


def _draw_energy(place: object, trace: Trace, iteration: int) -> None:
    for number, name in enumerate(TERMS):
        values = trace.energy.get(name)
        if values is not None and bool((values > LOWEST).any()):
            place.plot(values.numpy(), color=PALETTE[number], label=name)
    place.axvspan(0, trace.turned, color="#e4e4e4", zorder=0)
    place.axvline(iteration, color=INK)
    place.set(yscale="log", xlabel="iteration (grey: the camera stage)", ylabel="energy (px², as weighed)")
    place.set_ylim(bottom=LOWEST)
    place.legend()


def _draw_side(place: object, skeletons: dict[str, np.ndarray]) -> None:
    colours, styles = (INK, BLUE, ORANGE), ("--", "-.", "-")
    for (name, points), colour, style in zip(skeletons.items(), colours, styles, strict=True):
        place.plot(points[:, 2], points[:, 1], style, color=colour, label=name)
    place.set(xlabel="depth (m)", ylabel="down (m)", title="from the side")
    place.invert_yaxis()
    place.set_aspect("equal")
