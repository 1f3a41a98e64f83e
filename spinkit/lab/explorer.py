"""What every interactive figure is: a widget for the hand and a still for the page."""

import base64
import html
import io
import os
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from spinkit.view import png
from spinkit.view.style import VERMILION, css

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
        source = "data:image/webp;base64," + base64.b64encode(_written(picture, "WEBP")).decode()
        page = FOLDED.format(alt=html.escape(self.alt), source=source)
        display({"text/html": page, "image/png": _written(picture, "PNG"), "text/plain": self.alt}, raw=True)


def _written(picture: bytes, form: str) -> bytes:
    """A picture in few bytes, since a page that is saved holds every still twice and has to stay light.

    Args:
        picture: a PNG.
        form: "WEBP" for a browser, with losses that nobody sees; "PNG" for paper and for GitHub, in 256 colours of its
            own choice, which takes a third of the bytes.
    """
    held, drawn = io.BytesIO(), PillowImage.open(io.BytesIO(picture)).convert("RGB")
    if form == "PNG":
        drawn = drawn.quantize(256)
    drawn.save(held, format=form, optimize=True, quality=80)
    return held.getvalue()


def answering(line: ipywidgets.HTML, act: Callable[..., None]) -> Callable[..., None]:
    """The same callback, which says in a line of the widget what went wrong; a page would show nothing at all.

    Args:
        line: stays empty as long as all goes well.
        act: what a handle does, whatever it is called with.
    """

    def answer(*said: object) -> None:
        try:
            act(*said)
        except Exception as error:
            told = html.escape(f"{type(error).__name__}: {error}")
            line.value = f"<span style='color: {css(VERMILION)}'>This did not work. {told}</span>"
            raise
        line.value = ""

    return answer


def has_front_end() -> bool:
    """Whether the kernel was started for a page that a person looks at: Jupyter's server then names the session.

    papermill, nbval and nbconvert name none. What they save would hold an empty place for every widget. Front ends
    without Jupyter's server, such as VS Code, name none either: SPINKIT_WIDGETS=1 says that somebody looks on, and
    SPINKIT_WIDGETS=0 that nobody does, whatever the session.

    Raises:
        ValueError: SPINKIT_WIDGETS is neither 1 nor 0.
    """
    told = os.environ.get("SPINKIT_WIDGETS", "")
    if told not in ("", "0", "1"):
        raise ValueError(f"SPINKIT_WIDGETS is 1 for widgets or 0 for stills, got {told!r}; or unset it")
    return told == "1" or (not told and "JPY_SESSION_NAME" in os.environ)
