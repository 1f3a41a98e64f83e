"""A training that can be watched: its curves and its answers grow while the cell runs."""

import base64
import html
import time
import traceback
from functools import cached_property
from types import TracebackType

import ipywidgets
from IPython.display import display
from PIL import Image as PillowImage

from spinkit.job import Prepared
from spinkit.lab.explorer import FOLDED, has_front_end
from spinkit.lab.live_pictures import Answers, Growing, Series, charts_still, series
from spinkit.lab.sheets import AS_LARGE_AS_IT_IS, jpeg, light, stacked
from spinkit.spin import Run
from spinkit.view import png

REST = 5.0
"""Seconds of training between two drawings, at least."""
SHARE = 0.02
"""Of the time, that drawing may take: after a slow drawing the next one waits longer."""
ALT = "losses, errors in millimetres and the network's answers over the training"
"""What the still shows, in words."""


class Live:
    """What `live` returns: hand its `watch` to `job.train`."""

    def __init__(self, ready: Prepared):
        self.steps = ready.world.settings.steps
        self.history: list[dict] = []
        """What was seen last of the run's own."""
        self.drawings = 0
        """How often the page was drawn anew."""
        self._truth = ready.train.judge is not None and bool(ready.train.judge.has_smpl.any())
        self._answers, self._done, self._next = Answers(ready), 0, 0.0
        self._began: tuple[float, int] | None = None

    def watch(self, run: Run) -> None:
        """Note what is new, and draw it where a page looks on and the last drawing is long enough ago."""
        self._began = self._began or (time.monotonic(), run.steps_done)
        # A copy, for what is drawn when the run has failed is what was seen last.
        self.history, self._done = list(run.history), run.steps_done
        judged = bool(run.history) and any(name.startswith("test_") for name in run.history[-1])
        if (judged or not self._answers.said) and run.steps_done not in self._answers.said:
            self._answers.hear(run)
        now = time.monotonic()
        if has_front_end() and now >= self._next:
            self._draw(self._progress())
            self._next = rested(now, time.monotonic())

    @cached_property
    def widget(self) -> ipywidgets.VBox:
        """A line of words, the charts and the answers."""
        root = ipywidgets.VBox([self._told, self._charts.figure, self._shown])
        root.add_class("spinkit-live")
        return root

    def still(self) -> PillowImage.Image:
        """Charts and answers as they are now."""
        charts = charts_still(self._series(), self.steps)
        return light(stacked([charts, self._answers.sheet()] if self._answers.said else [charts]))

    def __enter__(self) -> "Live":
        if has_front_end():
            display(self.widget)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Draw the end, whatever it was, and leave a still for pages without a kernel."""
        try:
            if self.history:
                self._leave(kind)
        except Exception:
            # What ended the training is more worth knowing than what is wrong with its picture.
            traceback.print_exc()

    def _leave(self, kind: type[BaseException] | None) -> None:
        picture = png(self.still())
        shown = {"image/png": picture, "text/plain": ALT}
        if has_front_end():
            self._draw(self._ending(kind))
            source = "data:image/png;base64," + base64.b64encode(picture).decode()
            shown["text/html"] = FOLDED.format(alt=ALT, source=source)
        display(shown, raw=True)

    def _draw(self, told: str) -> None:
        self.drawings += 1
        self._told.value = html.escape(told)
        self._charts.show(self._series())
        self._shown.value = jpeg(self._answers.sheet())

    def _series(self) -> dict[str, Series]:
        return series(self.history, self._truth)

    def _progress(self) -> str:
        began, first = self._began
        taken = self._done - first
        told = f"step {self._done:,} of {self.steps:,}"
        if self._done >= self.steps:
            return f"{told}; the last fits are made"
        if not taken:
            return told
        return f"{told}, about {_span((time.monotonic() - began) / taken * (self.steps - self._done))} left"

    def _ending(self, kind: type[BaseException] | None) -> str:
        if kind is None:
            return f"step {self._done:,} of {self.steps:,}: done after {_span(time.monotonic() - self._began[0])}"
        if issubclass(kind, KeyboardInterrupt):
            return f"interrupted soon after step {self._done:,}; run the cell again to go on from there"
        return f"stopped soon after step {self._done:,} by an error, which stands below"

    @cached_property
    def _told(self) -> ipywidgets.HTML:
        return ipywidgets.HTML("waiting for the first step")

    @cached_property
    def _charts(self) -> Growing:
        return Growing(self._series(), self.steps)

    @cached_property
    def _shown(self) -> ipywidgets.Image:
        return ipywidgets.Image(format="jpeg", layout=AS_LARGE_AS_IT_IS)


def live(ready: Prepared) -> Live:
    """A figure of a training that grows while it runs. Use it around the training, which may fail or be interrupted:

        with lab.live(ready) as page:
            run = job.train(ready, folder, watch=page.watch)

    Args:
        ready: what the run is prepared from.
    """
    return Live(ready)


def rested(before: float, after: float) -> float:
    """When to draw again, seconds, after a drawing that took from one moment to another."""
    return after + max(REST, (after - before) / SHARE)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
