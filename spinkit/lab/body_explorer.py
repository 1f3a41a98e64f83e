"""The body to be touched: shape and joints on sliders, a joint chosen by a click, colours that explain the skin."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import ipywidgets
import roma
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from spinkit.body import Body, Posed
from spinkit.keypoints import JOINT_NAMES
from spinkit.lab import body_figure
from spinkit.lab.canvas import canvas
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.paint import COLOURS, CORRECTIVES, WEIGHTS, paint
from spinkit.view import SKIN, line_up
from spinkit.view.lineup import heat
from spinkit.view.style import css

IN_SIGHT = 4
"""Betas whose sliders are always shown; the others are folded away."""
MOST_BETA, MOST_DEGREES = 3.0, 150.0
"""Where the sliders end unless a body begins beyond: standard deviations, and degrees about each axis."""


@dataclass(frozen=True)
class Shown:
    """A body's numbers, and what of it is looked at."""

    betas: Float[Tensor, "10"]
    rotvec: Float[Tensor, "24 3"]
    joint: int = JOINT_NAMES.index("Left Knee")
    colour: str = COLOURS[0]
    parts: str = body_figure.PARTS[0]

    def posed(self, human: Body) -> Posed:
        """The body with its joints in place."""
        return human.shaped(self.betas).posed(roma.rotvec_to_rotmat(self.rotvec))


def body_explorer(
    human: Body, rotvec: Float[Tensor, "24 3"] | None = None, betas: Float[Tensor, "10"] | None = None
) -> Explorer:
    """Sliders for shape and joints; a click on the body takes the joint that the skin there follows most.

    Args:
        human: the body.
        rotvec: the pose to begin with, radians; at rest by default.
        betas: the shape to begin with; average by default.
    """
    start = Shown(torch.zeros(10) if betas is None else betas, torch.zeros(24, 3) if rotvec is None else rotvec)
    handles = Handles(human, start)
    alt = "a body in its shape, in its pose, in the colours of a joint's weights and of the pose correctives"
    return Explorer(handles.widget, lambda: four_bodies(human, handles.shown), alt)


def reading(posed: Posed, joint: int) -> str:
    """The numbers below the body."""
    turn = torch.rad2deg(roma.rotmat_to_rotvec(posed.rotmat[joint]).norm())
    share = 100 * (posed.shaped.body.weights[:, joint] > 0.01).float().mean()
    moved = 1000 * posed.correctives().norm(dim=-1).max()
    return (
        f"{JOINT_NAMES[joint]}: turned by {turn:.0f}°; {share:.0f} % of the vertices follow it. "
        f"Correctives move the skin at rest by {moved:.0f} mm at most."
    )


def four_bodies(human: Body, shown: Shown) -> Figure:
    """At rest, posed, painted with the weights of one joint, and with the pose correctives."""
    posed = shown.posed(human)
    follow, moved = (paint(posed, shown.joint, colour) for colour in (WEIGHTS, CORRECTIVES))
    rest, skin = posed.shaped.rest_vertices, posed.vertices()
    who, most = JOINT_NAMES[shown.joint], float(moved.values.max())
    titles = ["shaped", "posed", f"who follows\nthe {who}", f"correctives at rest,\nup to {most:.0f} mm"]
    colours = [SKIN, SKIN, *(heat(p.values, p.top) for p in (follow, moved))]
    return line_up([rest, skin, skin, skin], human.faces, titles, colours, turn=25)


def reach(values: Tensor, most: float) -> float:
    """Where sliders end that can hold all values: at the least at `most`, and at a whole number beyond it."""
    return float(max(most, values.abs().max().ceil()))


class Handles:
    """The explorer's widgets, and what is shown at the moment.

    Whatever is touched leads to `show`, which sends the page what has changed and nothing else. The page itself holds
    back a slider's values until the kernel is done with the last one, so that none but the newest is drawn.
    """

    def __init__(self, human: Body, start: Shown):
        self.human, self.shown = human, start
        self.following = False
        self.figure = body_figure.new_figure(human)
        self.line, self.trouble = ipywidgets.HTML(), ipywidgets.HTML()
        most, widest = reach(start.betas, MOST_BETA), reach(torch.rad2deg(start.rotvec), MOST_DEGREES)
        self.betas = [self._slider(f"beta{k}", f"beta {k}", most, 0.1, self._shape(k)) for k in range(10)]
        self.turns = [self._slider(axis, f"{axis} (°)", widest, 1.0, self._turn(axis)) for axis in "xyz"]
        joints = [(name, index) for index, name in enumerate(JOINT_NAMES)]
        self.joint = self._choice("joint", joints, start.joint, self._take)
        self.colour = self._choice("colour", COLOURS, start.colour, lambda colour: self.show(colour=colour))
        self.parts = self._choice("parts", body_figure.PARTS, start.parts, lambda parts: self.show(parts=parts))
        self.buttons = [
            self._button("reset", start.betas, start.rotvec),
            self._button("rest", torch.zeros_like(start.betas), torch.zeros_like(start.rotvec)),
        ]
        self._send(None)
        self.figure = canvas(self.figure)
        joint_of = {body_figure.SKIN_TRACE: human.part24.tolist(), body_figure.JOINTS: range(len(JOINT_NAMES))}
        for trace, joints in joint_of.items():
            self.figure.data[trace].on_click(answering(self.trouble, self._clicked(joints)))
        self.widget = self._laid_out()
        self._follow()

    def show(self, **changes: object) -> None:
        """Show something else: any fields of `Shown`."""
        before, self.shown = self.shown, replace(self.shown, **changes)
        self._send(before)

    def _send(self, before: Shown | None) -> None:
        """Bring the picture up to date, all that moves in one message; before it all is new."""
        now, posed = self.shown, self.shown.posed(self.human)
        new = {f.name for f in fields(now) if before is None or getattr(now, f.name) is not getattr(before, f.name)}
        moved = bool(new & {"betas", "rotvec"})
        with self.figure.batch_update():
            if moved or "parts" in new:  # skin that nobody sees stays behind
                body_figure.move(self.figure, posed, posed.vertices() if now.parts != "joints" else None)
            if moved or "joint" in new:
                body_figure.move_axes(self.figure, posed, now.joint)
        if "parts" in new:
            body_figure.show_parts(self.figure, now.parts)
        if "joint" in new:
            body_figure.mark(self.figure, now.joint)
        if "colour" in new or (moved and now.colour == CORRECTIVES) or ("joint" in new and now.colour == WEIGHTS):
            with self.figure.batch_update():
                body_figure.repaint(self.figure, paint(posed, now.joint, now.colour))
        self.line.value = reading(posed, now.joint)

    def _follow(self) -> None:
        """Put the sliders where the body is; they move nothing meanwhile."""
        self.following = True
        try:
            degrees = torch.rad2deg(self.shown.rotvec[self.shown.joint])
            values = [*self.shown.betas.tolist(), *degrees.tolist()]
            for slider, value in zip([*self.betas, *self.turns], values, strict=True):
                slider.value = round(value, 1)
            self.joint.value = self.shown.joint
        finally:
            self.following = False

    def _shape(self, index: int) -> Callable[[float], None]:
        def shape(value: float) -> None:
            betas = self.shown.betas.clone()
            betas[index] = value
            self.show(betas=betas)

        return shape

    def _turn(self, axis: str) -> Callable[[float], None]:
        def turn(degrees: float) -> None:
            rotvec = self.shown.rotvec.clone()
            rotvec[self.shown.joint, "xyz".index(axis)] = math.radians(degrees)
            self.show(rotvec=rotvec)

        return turn

    def _take(self, joint: int) -> None:
        self.show(joint=joint)
        self._follow()

    def _clicked(self, joint_of: Sequence[int]) -> Callable[..., None]:
        def clicked(trace: object, points: object, state: object) -> None:
            if points.point_inds:
                self.joint.value = joint_of[points.point_inds[0]]

        return clicked

    def _obey(self, handle: ipywidgets.Widget, act: Callable[..., None]) -> None:
        def changed(change: dict) -> None:
            if not self.following:
                act(change["new"])

        handle.observe(answering(self.trouble, changed), "value")

    def _slider(self, name: str, label: str, most: float, step: float, act: Callable) -> ipywidgets.FloatSlider:
        slider = ipywidgets.FloatSlider(
            0.0, min=-most, max=most, step=step, description=label, readout_format=".1f" if step < 1 else ".0f"
        )
        slider.style.description_width = "3.5em"
        slider.layout.width = "18em"
        self._obey(slider, act)
        return slider.add_class(f"spinkit-slider-{name}")

    def _choice(self, name: str, options: Sequence, value: object, act: Callable) -> ipywidgets.Dropdown:
        dropdown = ipywidgets.Dropdown(options=options, value=value, description=name)
        dropdown.style.description_width = "3.5em"
        dropdown.layout.width = "18em"
        self._obey(dropdown, act)
        return dropdown.add_class(f"spinkit-choose-{name}")

    def _button(self, name: str, betas: Tensor, rotvec: Tensor) -> ipywidgets.Button:
        def press(button: object) -> None:
            self.show(betas=betas, rotvec=rotvec)
            self._follow()

        button = ipywidgets.Button(description=name, layout={"width": "8.8em"})
        button.on_click(answering(self.trouble, press))
        return button.add_class(f"spinkit-press-{name}")

    def _laid_out(self) -> ipywidgets.DOMWidget:
        more = ipywidgets.Accordion([ipywidgets.VBox(self.betas[IN_SIGHT:])], titles=["six more directions"])
        more.layout.width = "19em"
        axes = ", ".join(
            f"<b style='color: {css(colour)}'>{axis}</b>" for axis, colour in body_figure.AXIS_COLOURS.items()
        )
        handles = ipywidgets.VBox(
            [
                *self.betas[:IN_SIGHT],
                more,
                self.joint,
                ipywidgets.HTML(f"its rotation vector, along {axes}:"),
                *self.turns,
                self.colour,
                self.parts,
                ipywidgets.HBox(self.buttons),
            ]
        )
        page = ipywidgets.HBox([handles, self.figure], layout={"flex_flow": "row wrap", "align_items": "center"})
        return ipywidgets.VBox([page, self.line, self.trouble]).add_class("spinkit-body")
