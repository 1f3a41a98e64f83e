"""Formulas as inline drawings, so that a page needs neither MathJax nor a font."""

import html

from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

EM = 10.0
"""Points a letter's height has while it is drawn; the page scales it to the text around."""
LETTERS = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C", Outline.CLOSEPOLY: "Z"}
"""What an SVG path calls the strokes of an outline."""


def drawn(tex: str) -> str:
    """A formula as an SVG element in the colour of the text, standing on its baseline.

    Args:
        tex: in TeX, without dollar signs, as far as matplotlib knows it.

    Raises:
        ValueError: for TeX that matplotlib cannot draw; tells the formula and the place in it.
    """
    tex = " ".join(tex.split())
    try:
        outline = TextPath((0, 0), f"${tex}$", size=EM, prop={"math_fontfamily": "cm"})
    except ValueError as error:
        raise ValueError(f"The formula ${tex}$ cannot be drawn; write it in simpler TeX. {error}") from error
    (left, bottom), (right, top) = outline.get_extents().get_points()
    width, height = (right - left) / EM, (top - bottom) / EM
    box = f"{left:.2f} {-top:.2f} {right - left:.2f} {top - bottom:.2f}"
    style = f"width:{width:.3f}em;height:{height:.3f}em;vertical-align:{bottom / EM:.3f}em"
    named = f'role="img" aria-label="{html.escape(tex, quote=True)}"'
    return f'<svg class="formula" {named} viewBox="{box}" style="{style}"><path d="{_strokes(outline)}"/></svg>'


def _strokes(outline: Outline) -> str:
    """An outline in SVG's words; a page counts downwards, matplotlib upwards."""
    words = []
    for points, code in outline.iter_segments(simplify=False):
        # matplotlib gives the closing stroke a point, which SVG does not know.
        numbers = [] if code == Outline.CLOSEPOLY else points.reshape(-1, 2) * (1, -1)
        words.append(LETTERS[code] + " ".join(f"{x:.2f} {y:.2f}" for x, y in numbers))
    return "".join(words)
