"""The body explorer's one 3D canvas: skin, bones, joints and the axes of the joint in hand, moved in place."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.basedatatypes import BaseFigure
from torch import Tensor

from spinkit.body import Body, Posed
from spinkit.keypoints import JOINT_NAMES, JOINT_PARENTS
from spinkit.lab.paint import Paint
from spinkit.view.images import side_colour
from spinkit.view.lineup import HEAT
from spinkit.view.scenes import LIGHTS, VIEWS
from spinkit.view.style import BLUE, GREEN, INK, SKIN, VERMILION, css

SKIN_TRACE, BONES, JOINTS, AXES = range(4)
PARTS = ("skin", "both", "joints")
"""What is drawn of a body."""
AXIS_COLOURS = {"x": VERMILION, "y": GREEN, "z": BLUE}
AXIS_LENGTH = 0.28
"""Metres: long enough to come out of the skin anywhere."""
REACH = 1.25
"""Metres from the pelvis to the sides of the cube that is drawn: arms overhead stay inside."""
NEAR = 0.72
"""How much nearer a reader stands than in the still figures, whose cube fits their body closely."""

_CHILDREN = [joint for joint, parent in enumerate(JOINT_PARENTS) if parent >= 0]


def new_figure(human: Body) -> go.Figure:
    """An empty stage, to become a `canvas` when it is filled: the functions below put a body on it.

    They ask for batches in which all traces get the same properties, as `canvas` says.
    """
    i, j, k = human.faces.cpu().numpy().astype(np.uint16 if len(human.v_template) < 2**16 else np.uint32).T.copy()
    light = {"ambient": 0.4, "diffuse": 0.7, "specular": 0.05, "roughness": 0.9, "fresnel": 0.05}
    scale = [[share, css(HEAT(share)[:3])] for share in np.linspace(0, 1, 9).tolist()]
    bar = {"thickness": 12, "len": 0.7, "x": 0.97, "title": {"side": "right"}, "outlinewidth": 0}
    skin = go.Mesh3d(
        i=i,
        j=j,
        k=k,
        color=css(SKIN),
        colorscale=scale,
        cmin=0,
        colorbar=bar,
        lighting=light,
        lightposition=LIGHTS["body"],
        hoverinfo="none",
        showscale=False,
    )
    bones = _lines(np.repeat([_side(JOINT_NAMES[child]) for child in _CHILDREN], 3), 6)
    dots = go.Scatter3d(
        mode="markers",
        marker={"size": 5, "color": [_side(name) for name in JOINT_NAMES]},
        text=list(JOINT_NAMES),
        hovertemplate="%{text}<extra></extra>",
    )
    axes = _lines(np.repeat([css(colour) for colour in AXIS_COLOURS.values()], 3), 5)
    return go.Figure([skin, bones, dots, axes], _layout())


def move(figure: BaseFigure, posed: Posed, vertices: Float[Tensor, "vertices 3"] | None) -> None:
    """Put skin and joints where a pose wants them; without vertices the skin stays, as when nobody sees it."""
    joints = posed.joints.cpu().numpy()
    if vertices is not None:
        _place(figure.data[SKIN_TRACE], vertices.cpu().numpy())
    ends = [(joints[JOINT_PARENTS[child]], joints[child]) for child in _CHILDREN]
    _place(figure.data[BONES], _with_gaps(ends))
    _place(figure.data[JOINTS], joints)


def show_parts(figure: BaseFigure, parts: str) -> None:
    """Skin, skeleton or both; through the skin, bones are seen as through milk glass."""
    skin, bones, joints = figure.data[:AXES]
    with figure.batch_update():
        skin.visible = parts != "joints"
        bones.visible = joints.visible = parts != "skin"
    skin.opacity = 0.45 if parts == "both" else 1.0


def repaint(figure: BaseFigure, paint: Paint) -> None:
    """Colour the skin; of several ways that it is told, plotly follows numbers first."""
    skin = figure.data[SKIN_TRACE]
    skin.intensity = None if paint.values is None else paint.values.cpu().numpy()
    skin.vertexcolor = None if paint.colours is None else [css(tuple(colour)) for colour in paint.colours.tolist()]
    skin.showscale = paint.values is not None
    skin.cmax = paint.top
    skin.colorbar.title.text = paint.unit


def mark(figure: BaseFigure, joint: int) -> None:
    """Make the dot of the joint in hand larger than the others."""
    figure.data[JOINTS].marker.size = [11 if index == joint else 5 for index in range(len(JOINT_NAMES))]


def move_axes(figure: BaseFigure, posed: Posed, joint: int) -> None:
    """Draw the axes that the rotation vector of the joint in hand counts along: those of its parent."""
    parent, at = JOINT_PARENTS[joint], posed.joints[joint].cpu().numpy()
    axes = np.eye(3) if parent < 0 else posed.world[parent].cpu().numpy().T
    _place(figure.data[AXES], _with_gaps([(at, at + AXIS_LENGTH * axis) for axis in axes]))


def _place(trace: go.Mesh3d | go.Scatter3d, points: np.ndarray) -> None:
    trace.x, trace.y, trace.z = points.astype(np.float32).T.copy()


def _with_gaps(ends: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Separate lines in one trace: a point that is none after the two ends of each."""
    return np.stack([point for start, end in ends for point in (start, end, np.full(3, np.nan))])


def _lines(colours: np.ndarray, width: int) -> go.Scatter3d:
    return go.Scatter3d(mode="lines", line={"width": width, "color": colours.tolist()}, hoverinfo="skip")


def _side(name: str) -> str:
    return f"rgb{side_colour(name)}"


def _layout() -> dict:
    view = VIEWS["body"]
    eye = {axis: NEAR * at for axis, at in view["eye"].items()}
    hidden = {"visible": False, "range": [-REACH, REACH]}
    return {
        "template": "none",
        "width": 560,
        "height": 500,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "scene": {
            "aspectmode": "cube",
            "domain": {"x": [0, 0.88]},
            "camera": {**view, "eye": eye},
            **{f"{axis}axis": hidden for axis in "xyz"},
        },
        "showlegend": False,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": INK},
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": INK},
        "uirevision": "the reader's own view stays",
    }
