"""The script `run` in a copy of the project whose Python only writes down what it is told to install and to run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = "python stand-in"
"""The name of that Python; it answers questions as the real one does."""
ANSWERS = """#!/bin/sh
case "$1 ${{2:-}}" in
    "-m venv") [ -z "${{NO_VENV:-}}" ] || {{ echo "ensurepip is not available"; exit 1; }}
               mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo venv >>calls ;;
    "-m pip")  echo pip >>calls
               [ -z "${{OFFLINE:-}}" ] || {{ echo "ERROR: no route to the index"; exit 1; }} ;;
    "-m "*)    echo "$*" >>calls; printf '%s\\n' "$@" >>words ;;
    *)         exec "{python}" "$@" ;;
esac
"""


def copied(folder: Path) -> Path:
    """Make a folder with `run`, pyproject.toml and the stand-in."""
    folder.mkdir()
    for name in ("run", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    stand_in = folder / STAND_IN
    stand_in.write_text(ANSWERS.format(python=sys.executable))
    stand_in.chmod(0o755)
    return folder


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Call `run` in such a folder."""
    told = {"PYTHON": str(folder / STAND_IN), "SPINKIT_NO_APT": "1", **environment}
    return subprocess.run(
        [str(folder / "run"), *arguments],
        cwd=folder.parent,  # never the folder itself: run must find its own way
        env={**os.environ, **told},
        capture_output=True,
        text=True,
    )


def calls(folder: Path) -> list[str]:
    """A line for everything that the stand-in was told."""
    return _lines(folder / "calls")


def words(folder: Path) -> list[str]:
    """The words of all programs that it was told to run, each as it arrived."""
    return _lines(folder / "words")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
