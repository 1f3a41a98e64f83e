"""Bodies and skeletons to turn by hand, each with a still picture for pages that run no JavaScript."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from PIL import Image as PillowImage
from PIL import ImageDraw
from torch import Tensor

from spinkit.camera import RESOLUTION, project
from spinkit.keypoints import JOINT_NAMES, JOINT_PARENTS
from spinkit.view.bodies import about_the_vertical, portrait_camera, still, upright
from spinkit.view.images import FINE, side_colour
from spinkit.view.style import BLACK, INK, SKIN, Colour, css, page

VIEWS = {
    "body": {"up": {"x": 0, "y": 1, "z": 0}, "eye": {"x": 0.35, "y": 0.2, "z": 1.35}},
    "camera": {"up": {"x": 0, "y": -1, "z": 0}, "eye": {"x": 0.35, "y": -0.2, "z": -1.35}},
}
"""Which way is up, and where a reader stands first, in sides of the cube around the scene."""
LIGHTS = {"body": {"x": -1e5, "y": 1e5, "z": 8e4}, "camera": {"x": -1e5, "y": -1e5, "z": -8e4}}
"""Behind the reader, above and to the left, as far away as plotly allows."""
TURNS = (-25.0, 65.0)
"""Degrees about the vertical of the two views in a body's still."""
THROUGH_SKIN = 0.45
"""Opacity of a body whose joints are to be seen."""


@dataclass(frozen=True)
class Scene:
    """An interactive figure and its still. JupyterLab shows the figure, a page without plotly the still."""

    figure: go.Figure
    """For `plotly.graph_objects.FigureWidget` too, where a chapter moves it."""
    still: PillowImage.Image
    """What a saved notebook shows anywhere."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        png = io.BytesIO()
        self.still.save(png, format="PNG")
        return {
            "application/vnd.plotly.v1+json": json.loads(self.figure.to_json(validate=False)),
            "image/png": base64.b64encode(png.getvalue()).decode(),
            "text/plain": "Scene: a figure to turn by hand",
        }


def body_figure(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    colour: Colour | Float[Tensor, "vertices 3"] = SKIN,
    joints: Float[Tensor, "joints 3"] | None = None,
    frame: str = "body",
    height: int = 420,
) -> Scene:
    """A body to turn by hand.

    Args:
        vertices: metres.
        faces: corners.
        colour: one for all, or one a vertex.
        joints: the 24 joints, shown through the skin, with their names.
        frame: "body" where y points up, "camera" where it points down.
        height: of the figure in pixels.
    """
    _check_frame(frame)
    mesh = _mesh(vertices, faces, colour).update(lightposition=LIGHTS[frame])
    picture, lines = still(vertices, faces, TURNS, frame, colour), []
    if joints is not None:
        mesh.opacity = THROUGH_SKIN
        lines = _bones(joints, JOINT_PARENTS, JOINT_NAMES)
        picture = _with_bones(picture, vertices, joints, frame)
    return Scene(_figure([mesh, *lines], frame, height), picture)


def skeleton_figure(
    joints: Float[Tensor, "joints 3"],
    parents: Sequence[int] = JOINT_PARENTS,
    names: Sequence[str] = JOINT_NAMES,
    frame: str = "body",
    height: int = 420,
) -> Scene:
    """Joints and bones to turn by hand; the body's left is blue, its right orange, the midline green.

    Args:
        joints: metres.
        parents: of each joint, -1 for none.
        names: shown when the pointer rests on a joint.
        frame: "body" where y points up, "camera" where it points down.
        height: of the figure in pixels.

    Raises:
        ValueError: where joints, parents and names differ in number.
    """
    _check_frame(frame)
    if not len(joints) == len(parents) == len(names):
        raise ValueError(f"{len(joints)} joints need as many parents and names, got {len(parents)} and {len(names)}")
    return Scene(_figure(_bones(joints, parents, names), frame, height), _skeleton_still(joints, parents, names, frame))


def _numbers(values: Tensor, dtype: type) -> np.ndarray:
    """Small numbers keep a saved figure small: plotly writes an array's bytes."""
    return values.detach().cpu().numpy().astype(dtype)


def _mesh(vertices: Tensor, faces: Tensor, colour: Colour | Tensor) -> go.Mesh3d:
    x, y, z = _numbers(vertices, np.float32).T.copy()
    i, j, k = _numbers(faces, np.uint16 if len(vertices) < 2**16 else np.uint32).T.copy()
    painted = isinstance(colour, Tensor)
    paint = {"vertexcolor": [css(c) for c in colour.tolist()]} if painted else {"color": css(colour)}
    light = {"ambient": 0.35, "diffuse": 0.75, "specular": 0.05, "roughness": 0.9, "fresnel": 0.05}
    return go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, lighting=light, hoverinfo="skip", **paint)


def _bones(joints: Tensor, parents: Sequence[int], names: Sequence[str]) -> list[go.Scatter3d]:
    points = _numbers(joints, np.float32)
    lines = [
        go.Scatter3d(
            **dict(zip("xyz", points[[parent, child]].T.copy(), strict=True)),
            mode="lines",
            line={"width": 6, "color": f"rgb{side_colour(names[child])}"},
            hoverinfo="skip",
        )
        for child, parent in enumerate(parents)
        if parent >= 0
    ]
    x, y, z = points.T.copy()
    dots = go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="markers",
        marker={"size": 4, "color": [f"rgb{side_colour(name)}" for name in names]},
        text=list(names),
        hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}, %{z:.2f} m<extra></extra>",
    )
    return [*lines, dots]


def _check_frame(frame: str) -> None:
    if frame not in VIEWS:
        raise ValueError(f'frame must be "body" (y up) or "camera" (y down), got {frame!r}')


def _figure(traces: Sequence[go.Mesh3d | go.Scatter3d], frame: str, height: int) -> go.Figure:
    scene = {"aspectmode": "cube", "camera": VIEWS[frame], **_cube(traces)}
    layout = {
        "template": "none",  # The default template writes 7 KB into every figure.
        "scene": scene,
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": INK},
    }
    return go.Figure(list(traces), layout)


def _cube(traces: Sequence[go.Mesh3d | go.Scatter3d]) -> dict[str, dict]:
    """Hidden axes of one length around all points: a body neither stretches nor leaves the picture."""
    points = np.concatenate([np.stack([trace.x, trace.y, trace.z], axis=-1) for trace in traces])
    half = 0.52 * max(float(np.ptp(points, axis=0).max()), 1e-6)
    return {
        f"{axis}axis": {"visible": False, "range": _span(along, half)}
        for axis, along in zip("xyz", points.T, strict=True)
    }


def _span(values: np.ndarray, half: float) -> tuple[float, float]:
    """Limits at the same distance from the middle of some values."""
    middle = float(values.min() + values.max()) / 2
    return middle - half, middle + half


def _with_bones(still: PillowImage.Image, vertices: Tensor, joints: Tensor, frame: str) -> PillowImage.Image:
    """A body's still, paler, with its bones and joints drawn over both views."""
    side, seen = still.height, upright(torch.cat([vertices, joints]), frame)
    skin, bones = seen.split([len(vertices), len(joints)])
    pale = PillowImage.blend(PillowImage.new("RGB", still.size, "white"), still, THROUGH_SKIN)
    canvas = pale.resize((FINE * still.width, FINE * side), PillowImage.Resampling.BICUBIC)
    pen, names = ImageDraw.Draw(canvas), JOINT_NAMES
    for place, turn in enumerate(TURNS):
        xy = project(portrait_camera(skin), about_the_vertical(bones, turn)) * (FINE * side / RESOLUTION)
        xy = (xy + xy.new_tensor([FINE * side * place, 0])).tolist()
        for child, parent in enumerate(JOINT_PARENTS):
            if parent >= 0:
                pen.line([*xy[parent], *xy[child]], fill=side_colour(names[child]), width=2 * FINE)
        for (x, y), name in zip(xy, names, strict=True):
            pen.circle((x, y), 3 * FINE, fill=side_colour(name))
    return canvas.resize(still.size, PillowImage.Resampling.LANCZOS)


def _skeleton_still(joints: Tensor, parents: Sequence[int], names: Sequence[str], frame: str) -> PillowImage.Image:
    """From the front and from the left side, without perspective; what is nearer is drawn later."""
    points = _numbers(joints, np.float64) * ([1, 1, 1] if frame == "body" else [1, -1, -1])
    half = 0.55 * max(float(np.ptp(points, axis=0).max()), 1e-6)
    with page(5.4, 2.9, 1, 2, share="y") as (figure, axes):
        views = ((points[:, 0], points[:, 2], "front"), (-points[:, 2], points[:, 0], "left side"))
        for place, (across, near, title) in zip(axes[0], views, strict=True):
            for child in sorted(range(len(parents)), key=near.__getitem__):
                if parents[child] >= 0:
                    bone = [parents[child], child]
                    colour = [part / 255 for part in side_colour(names[child])]
                    place.plot(across[bone], points[bone, 1], color=colour, linewidth=2.5)
            place.scatter(across, points[:, 1], s=9, color=BLACK, zorder=3)
            place.set_aspect("equal")
            place.set(title=title, xticks=[], xlim=_span(across, half))
        axes[0, 0].set(ylabel="height (m)", ylim=_span(points[:, 1], half))
        figure.canvas.draw()
        return PillowImage.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
