"""A page that plays a motion in any browser, with everything that it needs inside."""

import base64
import html
from os import PathLike
from pathlib import Path

from spinkit.body import Body
from spinkit.export.animation import animated
from spinkit.export.motion import Motion

PLAYER = Path(__file__).with_name("player.html")
"""The page before the motion is put in: it reads the glb itself and draws it with WebGL."""
TOLERANCES = (1e-3, 2e-3, 4e-3)
"""Metres that the skin may be off: the first is half a pixel of a person who fills a screen of 1000 lines; the others
are for clips that would be too large with it."""
MOST_BYTES = 5_000_000


def save_page(path: str | PathLike, motion: Motion, body: Body, title: str = "A motion") -> Path:
    """Write a page of less than 5 MB that plays a motion, to be turned by hand; it needs no network.

    Inside is an animated glb, which the page offers for download. Its vertices are right to a millimetre, or to
    two or four where the page would be too large; pointing at the link shows it. 100 frames of one action take
    about 2 MB.

    Args:
        path: ends in .html.
        motion: in any frame; a single frame stands still.
        body: of the motion's gender.
        title: of the page.

    Raises:
        ValueError: for another ending, or a motion too long for the page.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"{path.name} ends in {path.suffix or 'nothing'!r}; a page is written as .html")
    for tolerance in TOLERANCES:
        glb = base64.b64encode(animated(motion, body, tolerance=tolerance).glb).decode()
        page = PLAYER.read_text(encoding="utf-8").replace("{{glb}}", glb).replace("{{title}}", html.escape(title))
        if len(page) <= MOST_BYTES:
            break
    else:
        raise ValueError(
            f"{path.name} would have {len(page) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}. "
            "Take every second frame, motion[::2], or cut the clip, motion[:100]."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path
