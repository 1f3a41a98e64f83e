"""What every interactive figure is: a widget for the hand and a still for the page."""

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from spinkit.view import png

FOLDED = "<details><summary>as a still</summary><img alt='{alt}' style='max-width:100%' src='{source}'></details>"
"""Below a live widget the still takes one line, until somebody asks for it."""


@dataclass(frozen=True)
class Explorer:
    """A widget with a picture that stands for it wherever no kernel runs: on GitHub, in an export, on paper.

    As the value of a cell it shows the widget and, folded away, the still; where nobody can touch a widget, the still
    alone.
    """

    widget: ipywidgets.DOMWidget
    draw: Callable[[], Figure | PillowImage.Image]
    """Draws the still, from what the widget shows at that moment."""
    alt: str = "the figure at its first values"
    """Says in words what the still shows."""

    def still(self) -> Figure | PillowImage.Image:
        """The picture that makes the widget's point without it."""
        return self.draw()

    def _ipython_display_(self) -> None:
        picture = png(self.still())
        if not has_front_end():
            display({"image/png": picture, "text/plain": self.alt}, raw=True)
            return
        display(self.widget)
        source = "data:image/png;base64," + base64.b64encode(picture).decode()
        page = FOLDED.format(alt=self.alt, source=source)
        display({"text/html": page, "image/png": picture, "text/plain": self.alt}, raw=True)


def has_front_end() -> bool:
    """Whether the kernel was started for a page that a person looks at: Jupyter's server then names the session.

    papermill, nbval and nbconvert name none. What they save would hold an empty place for every widget.
    """
    return "JPY_SESSION_NAME" in os.environ
