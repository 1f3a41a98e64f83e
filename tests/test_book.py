"""The book: chapters run when they must, and pages that hold all they need."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image as PillowImage

from spinkit import book
from spinkit.book import chapters, command, formulas

ROOT = Path(__file__).resolve().parents[1]
FETCHED = re.compile(r"""<(?:script|link|iframe)\b|\b(?:src|srcset)=["'](?!data:)|url\((?!["']?data:)|@import""")
"""Whatever makes a browser ask for something, besides following a link."""


def picture(kind: str, colour: str) -> str:
    held = io.BytesIO()
    PillowImage.new("RGB", (40, 20), colour).save(held, format=kind)
    return base64.b64encode(held.getvalue()).decode()


def shown(source: str, tags: tuple[str, ...] = (), **data: str) -> NotebookNode:
    """A code cell with one output; `image_png` stands for image/png."""
    output = new_output("display_data", {name.replace("_", "/"): value for name, value in data.items()})
    return new_code_cell(source, outputs=[output], metadata={"tags": list(tags)})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The pages of two chapters, as they look after a run."""
    folder = tmp_path_factory.mktemp("book")
    return book.write(executed(folder), folder / "site").parent


def executed(folder: Path) -> list[Path]:
    red, blue, gif = picture("PNG", "red"), picture("PNG", "blue"), picture("GIF", "green")
    figure = shown("turn()", image_png=red, text_plain="a body to turn")
    figure.outputs[0].data["application/vnd.plotly.v1+json"] = {"data": []}
    figure.outputs[0].data["application/vnd.jupyter.widget-view+json"] = {"model_id": "1"}
    first = [
        new_markdown_cell("# The <first>\n\nHere is *one* thing. And another.\n\nSee [the next](01_second.ipynb#end)."),
        new_code_cell("steps: int = 5  # of it", metadata={"tags": ["parameters"]}),
        new_code_cell("# Parameters\nrun = '../runs/x'", metadata={"tags": ["injected-parameters"]}),
        new_markdown_cell("## Bent squares\n\nWith $\\rho(e) < \\sigma^2$ it is less.\n\n$$z = \\frac{2f}{224 s}$$"),
        figure,
        shown("moving()", image_gif=gif, text_plain="<Image>"),
        shown("answer = 42", ("solution",), text_plain="forty-two"),
    ]
    second = [
        new_markdown_cell("# Second\n\nMore."),
        shown("a()", image_png=red),
        shown("b()", ("cover",), image_png=blue),
    ]
    return [save(first, folder / "00_first.ipynb"), save(second, folder / "01_second.ipynb")]


def save(cells: list[NotebookNode], path: Path) -> Path:
    page = new_notebook(cells=cells)
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(page, path)
    return path


def test_a_page_asks_no_other_machine_for_anything(site):
    written = sorted(site.glob("*.html"))
    assert [path.name for path in written] == ["00_first.html", "01_second.html", "index.html"]
    for path in written:
        assert not FETCHED.search(path.read_text()), path.name


def test_what_would_need_a_script_shows_its_still(site):
    page = (site / "00_first.html").read_text()
    assert picture("PNG", "red") in page and 'alt="a body to turn"' in page
    assert "plotly" not in page and "model_id" not in page


def test_a_picture_that_moves_is_shown_and_one_without_words_takes_those_of_its_section(site):
    page = (site / "00_first.html").read_text()
    assert f'src="data:image/gif;base64,{picture("GIF", "green")}"' in page
    assert 'alt="figure: Bent squares"' in page


def test_solutions_are_folded_and_nothing_else_is(site):
    page = (site / "00_first.html").read_text()
    folded = re.findall(r"<details.*?</details>", page, flags=re.DOTALL)
    assert len(folded) == 1
    assert "forty-two" in folded[0] and "Solution" in folded[0]
    assert "answer" not in page.replace(folded[0], "")


def test_parameters_stay_and_the_folder_of_the_run_goes(site):
    page = (site / "00_first.html").read_text()
    assert "of it" in page
    assert "runs/x" not in page


def test_chapters_lead_to_each_other_and_to_the_contents(site):
    first, second = (site / "00_first.html").read_text(), (site / "01_second.html").read_text()
    assert 'rel="next"' in first and 'rel="prev"' not in first
    assert '<a href="01_second.html" rel="next">' in first
    assert 'rel="prev"' in second and 'rel="next"' not in second
    assert 'href="01_second.html#end"' in first, "a link to a chapter leads to its page"
    assert 'href="index.html"' in first


def test_the_contents_name_every_chapter_with_its_first_sentence_and_a_picture(site):
    contents = (site / "index.html").read_text()
    assert "00 · The &lt;first&gt;" in contents and "Here is *one* thing." in contents
    assert "And another" not in contents
    colours = [PillowImage.open(io.BytesIO(base64.b64decode(c))).getpixel((5, 5)) for c in thumbnails(contents)]
    assert [c.index(max(c)) for c in colours] == [0, 2], "the first picture is red; the cell tagged cover, blue"


def thumbnails(contents: str) -> list[str]:
    return re.findall(r"data:image/jpeg;base64,([\w+/=]+)", contents)


def test_a_page_has_colours_for_light_for_dark_and_for_paper(site):
    for path in site.glob("*.html"):
        text = path.read_text()
        assert "prefers-color-scheme: dark" in text and "@media print" in text


@pytest.mark.parametrize("tex", ["x", r"\rho(e) = \sigma^2 e^2 / (\sigma^2 + e^2)", r"\frac{a}{b}", "t_x,\nt_y"])
def test_a_formula_becomes_one_outline_in_the_colour_of_the_text(tex):
    drawing = ElementTree.fromstring(formulas.drawn(tex))
    assert drawing.get("aria-label") == " ".join(tex.split())
    left, top, width, height = map(float, drawing.get("viewBox").split())
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", drawing[0].get("d"))]
    across, down = numbers[::2], numbers[1::2]
    assert min(across) >= left - 0.02 and max(across) <= left + width + 0.02
    assert min(down) >= top - 0.02 and max(down) <= top + height + 0.02
    assert "fill" not in drawing[0].attrib and "fill" not in drawing.attrib


def test_a_formula_stands_on_its_baseline():
    styles = [ElementTree.fromstring(formulas.drawn(tex)).get("style") for tex in ("x", "y")]
    below = [float(re.search(r"vertical-align:(-?[\d.]+)em", style).group(1)) for style in styles]
    assert abs(below[0]) < 0.03 and below[1] < -0.1, "y hangs below the line, x does not"


def test_a_formula_that_cannot_be_drawn_is_named_with_its_chapter(tmp_path):
    chapter = save([new_markdown_cell("# One\n\nIt.\n\nHere $\\nosuchword{x}$.")], tmp_path / "00_one.ipynb")
    with pytest.raises(ValueError, match=r"00_one\.ipynb.*nosuchword"):
        book.write([chapter], tmp_path / "site")


def test_every_formula_of_the_chapters_can_be_drawn():
    prose = [
        c.source
        for path in book.find(ROOT / "notebooks")
        for c in nbformat.read(path, 4).cells
        if c.cell_type == "markdown"
    ]
    found = [tex for text in prose for tex in re.findall(r"\$+([^$]+)\$+", text)]
    assert found and all(formulas.drawn(tex) for tex in found)


def test_chapters_are_found_by_their_numbers(tmp_path):
    for name in ("01_b", "00_a", "notes"):
        save([new_markdown_cell("# A")], tmp_path / f"{name}.ipynb")
    assert [path.stem for path in book.find(tmp_path)] == ["00_a", "01_b"]
    assert [path.stem for path in book.find(tmp_path, ["01"])] == ["01_b"]
    with pytest.raises(ValueError, match=r"No chapter 07\. There are: 00_a, 01_b"):
        book.find(tmp_path, ["01", "07"])
    with pytest.raises(FileNotFoundError, match="No chapters"):
        book.find(tmp_path / "empty")


@pytest.fixture
def chapter(tmp_path) -> Path:
    """A project with one chapter, which counts its runs."""
    parameters = new_code_cell('preset = "cpu"\nrun = "../runs/none"', metadata={"tags": ["parameters"]})
    work = new_code_cell("with open('runs.txt', 'a') as file:\n    file.write(f'{preset} {run}\\n')")
    return save([new_markdown_cell("# One\n\nIt counts."), parameters, work], tmp_path / "notebooks" / "00_one.ipynb")


def test_a_chapter_runs_again_only_when_something_changed(chapter, tmp_path, monkeypatch):
    ran = chapter.parent / "runs.txt"
    folder = tmp_path / "runs" / "book"
    executed = book.execute(chapter, folder, {"preset": "tiny", "unknown": 1})
    assert ran.read_text() == "tiny ../runs/book/00_one\n", "it is told its folder by a way that names no machine"
    assert book.execute(chapter, folder, {"preset": "tiny"}) == executed
    assert len(ran.read_text().splitlines()) == 1
    (executed.parent / "left.txt").touch()
    book.execute(chapter, folder)
    assert ran.read_text().splitlines()[1].startswith("cpu")
    assert not (executed.parent / "left.txt").exists(), "what other parameters made is gone"
    before = chapters.fingerprint(chapter, {})
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "new.py").write_text("x = 1")
    monkeypatch.setattr(chapters, "PACKAGE", tmp_path / "package")
    assert chapters.fingerprint(chapter, {}) != before, "other sources"


def test_a_chapter_that_failed_is_not_taken_for_finished(chapter, tmp_path):
    page = nbformat.read(chapter, 4)
    page.cells.append(new_code_cell("import os\nassert os.path.exists('mended.txt'), 'not yet'"))
    nbformat.write(page, chapter)
    with pytest.raises(Exception, match="not yet"):
        book.execute(chapter, tmp_path / "book")
    (chapter.parent / "mended.txt").touch()
    (tmp_path / "book" / "00_one" / "snapshot.txt").touch()
    executed = book.execute(chapter, tmp_path / "book")
    assert nbformat.read(executed, 4).cells[-1].execution_count
    assert (executed.parent / "snapshot.txt").exists(), "it went on where it had stopped"


def test_a_chapter_that_is_made_alone_joins_those_that_are_there(chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("01_two", "02_never"):
        save([new_markdown_cell(f"# {name}\n\nMore.")], chapter.parent / f"{name}.ipynb")
    assert command.main(["--chapters", "00", "--out", "site"]) == 0
    assert 'rel="next"' not in (tmp_path / "site" / "00_one.html").read_text()
    assert command.main(["--chapters", "01", "--out", "site"]) == 0
    contents = (tmp_path / "site" / "index.html").read_text()
    assert re.findall(r'href="(\w+)\.html"', contents) == ["00_one", "01_two"]
    assert '<a href="01_two.html" rel="next">' in (tmp_path / "site" / "00_one.html").read_text()
    assert '<a href="00_one.html" rel="prev">' in (tmp_path / "site" / "01_two.html").read_text()


def test_the_command_writes_the_book_and_refuses_unknown_chapters(chapter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--preset", "tiny", "--out", "site"]) == 0
    assert (tmp_path / "site" / "index.html").is_file() and (tmp_path / "site" / "00_one.html").is_file()
    assert command.main(["--chapters", "05"]) == 2
    assert "No chapter 05. There are: 00_one" in capsys.readouterr().err
