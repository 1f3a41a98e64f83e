"""The table of faults: every row says what was tried, what happens, and which test shows it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("Runs and storage", "Numbers", "Data and annotations", "Files and security")


def rows():
    """Section, line and cells of every row."""
    section, found = "", []
    for number, line in enumerate((ROOT / "tests" / "FAULTS.md").read_text().splitlines(), 1):
        if line.startswith("## "):
            section = line[3:]
        if line.startswith("|") and not re.match(r"\|[-| ]+\|$|\| Fault", line):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found.append((section, number, [cell.strip() for cell in cells]))
    return found


@cache
def names_in(path):
    """The names of a file's tests."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_has_its_sections():
    headings = re.findall(r"^## (.*)$", (ROOT / "tests" / "FAULTS.md").read_text(), re.MULTILINE)
    assert headings == list(SECTIONS)
    assert len(rows()) >= 50


@pytest.mark.parametrize(
    "section, number, cells", rows(), ids=lambda value: str(value) if isinstance(value, int) else ""
)
def test_a_row_is_whole_and_its_tests_exist(section, number, cells):
    assert section in SECTIONS and len(cells) == 3 and all(cells), f"tests/FAULTS.md, line {number}"
    named = re.findall(r"`([\w/]+\.py)::(\w+)(?:\[[^`]*\])?`", cells[2])
    assert named, f"tests/FAULTS.md, line {number}: no `tests/test_x.py::test_name`"
    for path, test in named:
        assert (ROOT / path).is_file() and test in names_in(path), f"tests/FAULTS.md, line {number}: {path}::{test}"
