"""The command behind `./run book`: chapters run where they must, and are written as pages."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import papermill

from spinkit import launch
from spinkit.book import chapters, pages


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 1 where a chapter fails, 2 where what was named cannot be used."""
    given = _parser().parse_args(arguments)
    parameters = {"preset": given.preset} if given.preset else {}
    try:
        notebooks, held = launch.project_folder() / "notebooks", given.out / "chapters"
        for chapter in chapters.find(notebooks, given.chapters):
            print(f"spinkit.book: {chapter.stem}", flush=True)
            chapters.execute(chapter, held, parameters)
        # All that are there: the contents and the neighbours of a page do not depend on what was asked for today.
        contents = pages.write(chapters.finished(chapters.find(notebooks), held), given.out)
    except papermill.PapermillExecutionError as error:
        print(f"{error}\nspinkit.book: stopped; {chapter.stem} fails", file=sys.stderr)
        return 1
    except (FileNotFoundError, ValueError) as error:
        print(f"spinkit.book: {error}", file=sys.stderr)
        return 2
    print(f"spinkit.book: done, open {contents}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spinkit.book",
        description="Executed chapters as pages for any browser. A chapter runs again where it or the package changed.",
    )
    parser.add_argument("--preset", help="tiny, cpu or gpu, for the chapters that train; the default is each one's own")
    parser.add_argument("--chapters", nargs="+", default=(), metavar="NUMBER", help="such as 00 06; the default is all")
    parser.add_argument("--out", type=Path, default=Path("runs", "book"), help="folder of the pages")
    return parser
