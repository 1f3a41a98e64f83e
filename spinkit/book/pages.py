"""Executed notebooks as pages: pictures, formulas and style inside, solutions folded away."""

import base64
import html
import io
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from jinja2.runtime import Context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from PIL import Image as PillowImage
from pygments.formatters import HtmlFormatter

from spinkit import launch
from spinkit.book import formulas

TEMPLATES = Path(__file__).parent
LIGHT_CODE, DARK_CODE = "friendly", "monokai"
"""Pygments' colours for code."""
PICTURES = ("image/png", "image/jpeg")
SHOWN = ("text/html", "text/markdown", "image/svg+xml", *PICTURES, "text/plain")
"""What a page draws, the best first: never what needs a script, so a figure to turn by hand shows its still."""
EVERYWHERE = ("What you take with you", "Exercises")
THUMBNAIL = 360
"""Pixels across."""
COVER = "cover"
"""The tag of the cell whose picture stands for the chapter in the table of contents; else it is the first picture."""


@dataclass(frozen=True)
class Page:
    """One executed chapter."""

    notebook: NotebookNode
    name: str
    """Of the file, without an ending."""

    @property
    def title(self) -> str:
        return self.notebook.cells[0].source.split("\n")[0].removeprefix("# ")

    @property
    def about(self) -> str:
        """The first sentence of the chapter."""
        text = self.notebook.cells[0].source.split("\n\n")[1]
        return re.match(r".+?[.?!](?=\s|$)", " ".join(text.split())).group()

    @property
    def sections(self) -> list[str]:
        """The headings of the second order, without those that every chapter has."""
        prose = "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        return [name for name in re.findall(r"^## (.+)$", prose, flags=re.MULTILINE) if name not in EVERYWHERE]

    @property
    def seconds(self) -> float | None:
        """How long the chapter ran."""
        return self.notebook.metadata.get("papermill", {}).get("duration")

    def thumbnail(self) -> str:
        """A small picture from the chapter as a data URL; empty where it shows none."""
        drawn = [(cell, o.data[kind]) for cell, o in _outputs(self.notebook) for kind in PICTURES if kind in o.data]
        covers = [picture for cell, picture in drawn if COVER in cell.metadata.get("tags", [])]
        for picture in covers or [picture for _, picture in drawn]:
            return _thumbnail(base64.b64decode(picture))
        return ""


def write(executed: Sequence[Path], folder: Path) -> Path:
    """Write a page for each executed chapter and a table of contents.

    Args:
        executed: notebooks in reading order; they are only read.
        folder: made where missing.

    Returns:
        The table of contents.

    Raises:
        ValueError: for a chapter with a formula that cannot be drawn; names both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = [Page(nbformat.read(path, as_version=4), path.stem) for path in executed]
    around = zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True)
    for before, page, after in around:
        text = html_of(page, before, after)
        (folder / f"{page.name}.html").write_text(text, encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    contents = folder / "index.html"
    contents.write_text(environment.get_template("contents.html.j2").render(pages=pages, style=style()), "utf-8")
    return contents


def html_of(page: Page, before: Page | None = None, after: Page | None = None) -> str:
    """The page of a chapter, with links to its neighbours.

    Raises:
        ValueError: for a formula that cannot be drawn.
    """
    exporter = _Exporter(
        extra_template_basedirs=[str(TEMPLATES)],
        extra_loaders=[FileSystemLoader(TEMPLATES)],
        template_name="basic",
        template_file="chapter.html.j2",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.config.NbConvertBase.display_data_priority = list(SHOWN)
    resources = {"page": page, "before": before, "after": after, "style": style()}
    try:
        return exporter.from_notebook_node(_described(page.notebook), resources)[0]
    except ValueError as error:
        raise ValueError(f"{page.name}.ipynb: {error}") from error


def style() -> str:
    """The style sheet, with the colours of code for light and for dark."""
    light = HtmlFormatter(style=LIGHT_CODE).get_style_defs(".highlight")
    dark = HtmlFormatter(style=DARK_CODE).get_style_defs(".highlight")
    sheet = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    # On paper the light colours stay, whatever the screen has.
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n{sheet}"


class _Exporter(HTMLExporter):
    """nbconvert's, which leaves formulas to a script from elsewhere, with formulas drawn."""

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        renderer = _Renderer(escape=False, anchor_link_text="#")
        return MarkdownWithMath(renderer=renderer).render(source)


class _Renderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return formulas.drawn(body)

    def block_math(self, body: str) -> str:
        return f'<div class="display">{formulas.drawn(body)}</div>'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link to another chapter leads to its page."""
        return super().link(text, re.sub(r"^([\w./-]+)\.ipynb", r"\1.html", url), title)


def _outputs(notebook: NotebookNode) -> list[tuple[NotebookNode, NotebookNode]]:
    """Every cell's outputs that have data, with their cells."""
    return [(cell, o) for cell in notebook.cells for o in cell.get("outputs", []) if "data" in o]


def _described(notebook: NotebookNode) -> NotebookNode:
    """The notebook with words for every picture: its own, or the heading above it."""
    notebook, heading = deepcopy(notebook), ""
    notebook.cells = [cell for cell in notebook.cells if not _says_only_where(cell)]
    for cell in notebook.cells:
        for line in re.findall(r"^#+ (.+)$", cell.source, flags=re.MULTILINE) if cell.cell_type == "markdown" else ():
            heading = line
        for output in cell.get("outputs", []):
            words = output.get("data", {}).get("text/plain", "")
            words = f"figure: {heading}" if not words or words.startswith("<") else words
            for kind in set(PICTURES) & set(output.get("data", {})):
                output.metadata.setdefault(kind, NotebookNode()).setdefault("alt", words)
            if moving := output.get("data", {}).get("image/gif"):  # nbconvert knows no pictures that move
                output.data["text/html"] = f'<img src="data:image/gif;base64,{moving}" alt="{html.escape(words)}">'
    return notebook


def _says_only_where(cell: NotebookNode) -> bool:
    """Whether a cell is the one that papermill puts in and tells only the folder of this run, which no reader needs."""
    lines = [line for line in cell.source.splitlines() if not line.startswith(("#", f"{launch.RUN_PARAMETER} ="))]
    return "injected-parameters" in cell.metadata.get("tags", []) and not lines


def _thumbnail(picture: bytes) -> str:
    small = PillowImage.open(io.BytesIO(picture)).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    held = io.BytesIO()
    small.save(held, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
