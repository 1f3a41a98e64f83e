"""Chapters executed once, and again where they or what they use have changed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import spinkit
from spinkit import launch

MADE_FROM = "made_from.txt"
"""Beside an executed chapter: the fingerprint of what it was made from. Without it the chapter runs again."""
PACKAGE = Path(spinkit.__file__).parent


def find(folder: Path, numbers: Iterable[str] = ()) -> list[Path]:
    """The chapters of a folder in reading order: all, or those whose names begin with one of the numbers.

    Raises:
        FileNotFoundError: where the folder has none.
        ValueError: for a number that no chapter begins with; lists the chapters.
    """
    known = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not known:
        raise FileNotFoundError(f"No chapters at {folder}; they are called 00_body.ipynb and so on.")
    numbers = tuple(numbers)
    unknown = [number for number in numbers if not any(path.name.startswith(number) for path in known)]
    if unknown:
        raise ValueError(f"No chapter {', '.join(unknown)}. There are: {', '.join(path.stem for path in known)}")
    return [path for path in known if not numbers or path.name.startswith(numbers)]


def execute(chapter: Path, folder: Path, parameters: Mapping[str, object] | None = None) -> Path:
    """A chapter's executed notebook, in a folder of its own; run only where its fingerprint is another.

    Args:
        chapter: it is only read.
        folder: for the folders of all chapters; each is the book's own, and emptied where the fingerprint is another.
        parameters: those that the chapter does not know are left out.

    Raises:
        papermill.PapermillExecutionError: where a cell fails.
    """
    known = launch.known_parameters(chapter)
    told = {name: value for name, value in (parameters or {}).items() if name in known}
    place, now = folder / chapter.stem, fingerprint(chapter, told)
    executed, note, said = place / chapter.name, place / MADE_FROM, _said(place)
    if said == [now, "finished"]:
        return executed
    if said != [now, "begun"]:  # a training that was only interrupted goes on, one by other sources is made anew
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{now}\nbegun\n")
    # Chapters print where they write; a way from the chapter's own folder reads the same on every machine.
    where = {launch.RUN_PARAMETER: os.path.relpath(place, chapter.parent)} if launch.RUN_PARAMETER in known else {}
    launch.launch(chapter, place, told | where)
    note.write_text(f"{now}\nfinished\n")
    return executed


def finished(known: Iterable[Path], folder: Path) -> list[Path]:
    """The executed notebooks of all chapters that ran to their end, whether now or for an earlier book.

    Args:
        known: chapters, in reading order.
        folder: where `execute` put them.
    """
    places = [(folder / chapter.stem, chapter.name) for chapter in known]
    return [place / name for place, name in places if _said(place)[1:] == ["finished"] and (place / name).is_file()]


def _said(place: Path) -> list[str]:
    """What is noted of a chapter's run: by which sources it was begun, and whether it is finished."""
    note = place / MADE_FROM
    return note.read_text().split() if note.is_file() else []


def fingerprint(chapter: Path, parameters: Mapping[str, object]) -> str:
    """Changes with the chapter, its parameters, the package and the project's own data.

    It does not see finished runs under runs/, which some chapters open, nor data from elsewhere.
    """
    book = Path(__file__).parent  # how pages look changes nothing in what a chapter computes
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if book not in path.parents]
    tables = sorted((chapter.parent.parent / "data").glob("*.npz"))
    digest = hashlib.sha256(json.dumps(dict(parameters), sort_keys=True, default=str).encode())
    for path in (chapter, *sources, *tables):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
