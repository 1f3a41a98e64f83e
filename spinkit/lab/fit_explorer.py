"""A fit to be touched: every iteration on a slider, every weight, every keypoint and the start in the reader's hand."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ipywidgets
import torch
from matplotlib.figure import Figure

from spinkit import evaluate
from spinkit.body import Body
from spinkit.data import Truth
from spinkit.keypoints import Keypoints
from spinkit.lab import fit_panels
from spinkit.lab.canvas import canvas
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.fit_choice import Choice
from spinkit.lab.fit_handles import FitHandles
from spinkit.lab.fit_trace import Trace, trace_fit
from spinkit.lab.sheets import jpeg
from spinkit.priors import Mixture
from spinkit.smplify import Start
from spinkit.view import overlay
from spinkit.view.images import Image


@dataclass(frozen=True)
class Sitter:
    """One person, and all that a fit of them needs."""

    body: Body
    prior: Mixture
    image: Image
    keypoints: Keypoints
    """As marked, (1 49 2)."""
    starts: Mapping[str, Start]
    truth: Truth | None

    def answer(self, choice: Choice) -> Trace:
        """Fit as chosen."""
        told = choice.keypoints(self.keypoints)
        return trace_fit(self.body, self.prior, told, self.starts[choice.start], choice.settings())

    @property
    def knows_truth(self) -> bool:
        """Whether the true body is known."""
        return self.truth is not None and bool(self.truth.has_smpl.all())

    def errors(self, trace: Trace) -> torch.Tensor | None:
        """PA-MPJPE of every frame in millimetres, where the true body is known."""
        if not self.knows_truth:
            return None
        truth = self.truth[torch.zeros(len(trace), dtype=torch.int64)]
        return 1000 * evaluate.score_fits(self.body, trace.rotvec, trace.betas, truth).pa_mpjpe


def fit_explorer(
    body: Body,
    prior: Mixture,
    image: Image,
    keypoints: Keypoints,
    starts: Mapping[str, Start],
    truth: Truth | None = None,
) -> Explorer:
    """One person's fit: an iteration on a slider, and everything that decides where it ends.

    A click on a keypoint drops it, or restores it; it can be dragged too. Weights are on sliders, terms on switches.
    The button fits again.

    Args:
        body: that is fitted.
        prior: the pose prior.
        image: the square crop.
        keypoints: of one person, (1 49 2), in pixels of the crop.
        starts: of one person each, by the names that the reader chooses from; the first is shown first.
        truth: of the person; where it is known, the true skeleton is shown and distances from it are told.

    Raises:
        ValueError: without a start, or for another number of people than one.
    """
    if not starts:
        raise ValueError("a fit needs a start; hand in {'mean pose': smplify.heading_starts(...)[0]}")
    desk = Desk(Sitter(body, prior, image, keypoints, starts, truth))
    alt = "the fit's first, middle and last body over the crop and from the side, and its energy by term"
    return Explorer(desk.widget, desk.still, alt)


SMALLEST_DRAG = 0.1
"""Pixels."""


class Desk:
    """The widget, and the fit that it shows at the moment. The only place where something is written to."""

    def __init__(self, sitter: Sitter):
        self.sitter, self.shown = sitter, sitter.keypoints.visible[0]
        self.crop = fit_panels.keypoint_panel(sitter.image, self.shown)
        self.space = fit_panels.space_panel(["start", "answer", "now", *(["truth"] if sitter.knows_truth else [])])
        self.energy = fit_panels.energy_panel()
        self.picture = ipywidgets.Image(format="jpeg", width=fit_panels.SIDE, height=fit_panels.SIDE)
        self.told, self.trouble = ipywidgets.HTML(), ipywidgets.HTML()
        self.handles = FitHandles(list(sitter.starts), self.shown)
        self.choice = self.handles.read(Choice(self.handles.start.value))
        if sitter.knows_truth:
            true = Start(sitter.truth.rotvec, sitter.truth.betas, self.sitter.starts[self.choice.start].camera)
            fit_panels.show_skeletons(self.space, {"truth": fit_panels.bones(sitter.body, true)})
        self.fit()
        self.crop, self.space, self.energy = map(canvas, (self.crop, self.space, self.energy))
        # Plotly lets shapes be dragged where its configuration says so, which a figure widget keeps to itself.
        self.crop._config = {**self.crop._config, "edits": {"shapePosition": True}}
        self._listen()
        self.widget = self._laid_out()

    def still(self) -> Figure:
        """What a page without a kernel shows of this."""
        return fit_panels.still(self.sitter.image, self.sitter.body, self.trace, self.handles.iteration.value)

    def fit(self) -> None:
        """Answer what was asked last, and show where the fit ended."""
        begun = time.process_time()
        self.trace = self.sitter.answer(self.choice)
        self.milliseconds = 1000 * (time.process_time() - begun)
        self.errors = self.sitter.errors(self.trace)
        self.pictures: dict[int, bytes] = {}
        ends = {
            name: fit_panels.bones(self.sitter.body, self.trace[at]) for name, at in {"start": 0, "answer": -1}.items()
        }
        fit_panels.show_skeletons(self.space, ends)
        fit_panels.show_energy(self.energy, self.trace)
        self.handles.answered(len(self.trace) - 1)
        self.show()

    def show(self) -> None:
        """Move all four pictures to the iteration of the slider."""
        iteration = self.handles.iteration.value
        self.picture.value = self._overlay(iteration)
        fit_panels.show_skeletons(self.space, {"now": fit_panels.bones(self.sitter.body, self.trace[iteration])})
        fit_panels.show_iteration(self.energy, self.trace, iteration)
        self.show_keypoints()
        self.told.value = self._reading(iteration)

    def show_keypoints(self) -> None:
        """Keypoints as chosen, with arrows from the body that is shown."""
        told = self.choice.keypoints(self.sitter.keypoints)[0]
        seen = fit_panels.projected(self.sitter.body, self.trace[self.handles.iteration.value])
        fit_panels.show_keypoints(self.crop, told.xy, seen, self.shown, told.visible)
        fit_panels.show_ring(self.crop, told.xy[self.handles.keypoint.value] if self.handles.drags else None)

    def ask(self) -> None:
        """Take a new question from the handles. It is answered when the button is pressed, or at once if so wanted."""
        self.choice = self.handles.read(self.choice)
        if self.handles.at_once.value:
            self.fit()
        else:
            self.handles.stale()
            self.show_keypoints()

    def click(self, index: int) -> None:
        """Drop a keypoint or restore it, or take it into the hand."""
        self.take(index)
        if not self.handles.drags:
            self.handles.counts.value = not self.handles.counts.value

    def take(self, index: int) -> None:
        """Let the sliders and the ring speak of this keypoint."""
        self.handles.follow(self.choice, index)
        self.show_keypoints()

    def dragged(self) -> None:
        """The ring was moved by hand: its keypoint goes along."""
        place, index = fit_panels.ring_place(self.crop), self.handles.keypoint.value
        told = self.choice.keypoints(self.sitter.keypoints).xy[0, index]
        # The ring is heard of too where it only followed its keypoint.
        if self.handles.drags and (place - told).norm() > SMALLEST_DRAG:
            self.handles.put(*(place - self.sitter.keypoints.xy[0, index]).tolist())
            self.ask()

    def restore(self) -> None:
        """All keypoints as they were marked."""
        self.choice = replace(self.choice, dropped=frozenset(), moved={})
        self.handles.follow(self.choice, self.handles.keypoint.value)
        self.ask()

    def _overlay(self, iteration: int) -> bytes:
        if iteration not in self.pictures:
            picture = overlay(self.sitter.image, self.sitter.body, self.trace[iteration], side=fit_panels.SIDE)
            self.pictures[iteration] = jpeg(picture)
        return self.pictures[iteration]

    def _reading(self, iteration: int) -> str:
        trace, stage = self.trace, "camera" if iteration < self.trace.turned else "body"
        if not trace.fit.usable.all():
            return "Too few keypoints count, or the numbers ran away: the start comes back as it was."
        error = "" if self.errors is None else f", {self.errors[iteration]:.0f} mm from the truth (PA-MPJPE)"
        energy = f"energy {trace.total[iteration]:,.0f} px²"
        took = f"The whole fit took {self.milliseconds:.0f} ms of processor time."
        return f"Iteration {iteration} of {len(trace) - 1}, {stage} stage: {energy}{error}. {took}"

    def _listen(self) -> None:
        handles, marked = self.handles, self.crop.data[fit_panels.MARKED]
        listed = self.shown.nonzero()[:, 0].tolist()

        def clicked(trace: object, points: object, state: object) -> None:
            if points.point_inds:
                self.click(listed[points.point_inds[0]])

        handles.when_asked(self._safely(self.ask))
        handles.when_changed(handles.iteration, self._safely(self.show))
        handles.when_changed(handles.mode, self._safely(self.show_keypoints))
        handles.when_changed(handles.keypoint, self._safely(lambda: self.take(handles.keypoint.value)))
        handles.press.on_click(self._safely(lambda button: self.fit()))
        handles.restore.on_click(self._safely(lambda button: self.restore()))
        marked.on_click(self._safely(clicked))
        self.crop.layout.on_change(self._safely(lambda layout, shapes: self.dragged()), "shapes")

    def _safely(self, act: Callable) -> Callable:
        return answering(self.trouble, act)

    def _laid_out(self) -> ipywidgets.DOMWidget:
        # In pairs, so that a narrow page shows two above two.
        pairs = [ipywidgets.HBox(pair) for pair in ((self.crop, self.picture), (self.space, self.energy))]
        pictures = ipywidgets.HBox(pairs, layout={"flex_flow": "row wrap"})
        handles = self.handles
        parts = [handles.widget, handles.iteration, self.told, self.trouble, pictures]
        return ipywidgets.VBox(parts).add_class("spinkit-fit")
