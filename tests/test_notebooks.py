"""Every chapter runs through at its smallest size, shows what it does, and stays easy to read.

A chapter with a parameter `preset` is run with the value "tiny". It runs in a scratch project whose data/ and
../shared/ are links to the real ones, so whatever it writes stays out of the project.
"""

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from spinkit import launch

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIGHT = [path for path in CHAPTERS if path.name.startswith("00_")]
TINY = {"preset": "tiny", "frames": 4}
MEDIAN_LINES, MOST_LINES = 5, 15
MOST_BYTES = 3_000_000


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(page: NotebookNode) -> list[NotebookNode]:
    """The code that a reader is meant to follow: all but the parameters."""
    parameters = {"parameters", "injected-parameters"}
    return [c for c in page.cells if c.cell_type == "code" and not parameters & set(c.metadata.get("tags", []))]


def scratch_project(folder: Path) -> Path:
    """A folder that looks like the project from within notebooks/; returns its notebooks/."""
    pages = folder / "project" / "notebooks"
    pages.mkdir(parents=True)
    (pages.parent / "data").symlink_to(ROOT / "data")
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return pages


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory) -> NotebookNode:
    """A chapter after its run; a failing cell raises here, with its traceback."""
    chapter = request.param
    pages = scratch_project(tmp_path_factory.mktemp(chapter.stem))
    parameters = {name: TINY[name] for name in launch.known_parameters(chapter) if name in TINY}
    return read(launch.launch(chapter, pages.parent / "runs" / chapter.stem, parameters, cwd=pages))


def test_a_chapter_runs_through(executed):
    outputs = [output for cell in code_cells(executed) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert all(cell.execution_count for cell in code_cells(executed) if cell.source.strip())


def test_two_cells_in_three_show_something(executed):
    cells = code_cells(executed)
    silent = [cell.source.split("\n")[0] for cell in cells if not cell.outputs]
    assert 3 * len(silent) <= len(cells), f"{len(silent)} of {len(cells)} show nothing: {silent}"


def test_a_chapter_complains_of_nothing(executed):
    """Warnings belong in the tests; a reader who meets one cannot tell whether it matters."""
    written = [o.text for c in code_cells(executed) for o in c.outputs if o.get("name") == "stderr"]
    assert not [text for text in written if "Warning" in text]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_short(chapter):
    lines = [len(cell.source.splitlines()) for cell in code_cells(read(chapter))]
    assert statistics.median(lines) <= MEDIAN_LINES
    assert max(lines) <= MOST_LINES


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_opens_with_prose_and_names_its_kernel_plainly(chapter):
    page = read(chapter)
    assert page.cells[0].cell_type == "markdown" and page.cells[0].source.startswith("# ")
    assert page.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_saved_chapter_is_light_and_holds_no_error(chapter):
    page = read(chapter)
    assert chapter.stat().st_size < MOST_BYTES
    assert "widgets" not in page.metadata, "widget state holds 5 MB for every interactive figure"
    assert not [o for c in code_cells(page) for o in c.outputs if o.output_type == "error"]


@pytest.mark.parametrize("chapter", LIGHT, ids=lambda path: path.stem)
def test_every_cell_of_a_light_chapter_passes_under_nbval(chapter, tmp_path):
    """nbval runs the file as it is, cell by cell, and goes on after a failure, so it names every bad cell."""
    pages = scratch_project(tmp_path)
    shutil.copy(chapter, pages)
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "120", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, chapter.name],
        cwd=pages,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
