"""The house rules that a machine can read: floors, sizes, names, paths."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "spinkit"
FLOORS = (
    {"files", "progress", "storage"},
    {"shelf", "keypoints", "camera", "solvers", "hmr", "metrics", "raster"},
    {"priors", "crop", "body"},
    {"smplify", "data", "fits", "fit_files"},
    {"people", "spin", "evaluate", "clips"},
    {"view", "export", "siblings", "launch", "job"},
    {"doctor", "lab", "book"},
)
BANNED_ROOMS = {"utils", "common", "types", "constants", "config", "helpers", "misc", "core", "base"}
FOLDERS = ("spinkit", "tests", "data", "notebooks", "benchmarks", ".ci")
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".ipynb", ".sh", ".cfg", ""}


def rooms() -> dict[str, list[Path]]:
    """Every room on disk: a file of the package, or a folder with all files in it."""
    entries = [p for p in HOUSE.iterdir() if p.name not in ("__init__.py", "__pycache__")]
    return {
        p.stem: sorted(p.rglob("*.py")) if p.is_dir() else [p]
        for p in sorted(entries)
        if p.is_dir() or p.suffix == ".py"
    }


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            names = [f"{package}.{alias.name}" for alias in node.names]
        else:
            continue
        assert not any(name.startswith(".") for name in names), f"{path.name}: say from spinkit, not from ."
        found |= {name.split(".")[1] for name in names if name.startswith("spinkit.")}
    return found


def python_files() -> list[Path]:
    return sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))


def text_files() -> list[Path]:
    beside = [p for p in ROOT.iterdir() if p.is_file() and p.name != "setup.log"]
    inside = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.is_file()]
    skipped = {"__pycache__", ".ipynb_checkpoints"}
    return sorted(p for p in beside + inside if p.suffix in TEXT and not skipped & set(p.parts))


def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_room_stands_on_a_floor():
    assert set(rooms()) <= set().union(*FLOORS)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_from_below(room):
    below = set()
    for floor in FLOORS:
        if room in floor:
            break
        below |= floor
    for path in rooms()[room]:
        above = imported_rooms(path) - below - {room}
        assert not above, f"{path.relative_to(ROOT)} reaches up or sideways to {above}"


def test_the_package_itself_holds_its_version_only():
    statements = ast.parse((HOUSE / "__init__.py").read_text()).body
    assigned = [s.targets[0].id for s in statements if isinstance(s, ast.Assign)]
    assert assigned == ["__version__"]
    assert len(statements) == 2, "a docstring and __version__ are all that belongs here"


def test_rooms_are_named_by_what_they_hold():
    files = {path.stem for paths in rooms().values() for path in paths}
    assert not BANNED_ROOMS & (set(rooms()) | files)


@pytest.mark.parametrize("path", [p for p in python_files() if "tests" not in p.parts], ids=lambda p: p.name)
def test_a_file_stays_under_four_hundred_lines(path):
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.name)
def test_functions_are_short_and_take_few_arguments(path):
    for function in functions(path):
        place = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        lines = function.end_lineno - function.lineno + 1
        assert lines <= 60, f"{place} has {lines} lines"
        taken = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        assert len(taken) <= 8, f"{place} takes {len(taken)} arguments"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.name)
def test_annotations_are_real_objects_so_that_their_shapes_are_checked(path):
    imported = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    assert not any(node.module == "__future__" for node in imported)


def test_no_file_holds_a_path_of_one_machine():
    folders = "|".join(["home", "root", "work", "Users", "tmp"])
    machine_path = re.compile(rf"(?<![\w.:/<>*-])/({folders})/\w")
    held = {
        str(path.relative_to(ROOT)): match.group()
        for path in text_files()
        if (match := machine_path.search(path.read_text(errors="ignore")))
    }
    assert not held
