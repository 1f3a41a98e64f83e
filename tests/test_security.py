"""Nothing that is read is run: no pickle but through restricted readers, no shell, no path out of its folder."""

import ast
import re
import zipfile
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
from calling import call, copied, words

from spinkit import files, launch

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for folder in ("spinkit", "data", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@cache
def code_of(path):
    """The parsed source of a module, or of all code cells of a notebook."""
    if path.suffix == ".py":
        return ast.parse(path.read_text())
    cells = nbformat.read(path, as_version=4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


def calls(path):
    """Every call of a source as its dotted name and its node."""
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def argument(call, name):
    """An argument given by name, as written; None where it is not given."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def places(wanted, paths):
    """Where calls are found whose name and node satisfy `wanted`."""
    return sorted({str(p.relative_to(ROOT)) for p in paths for name, node in calls(p) if wanted(name, node)})


def test_the_sources_are_found():
    assert len(SOURCES) > 80 and len(NOTEBOOKS) >= 8


def test_code_is_never_made_of_text():
    forbidden = {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "runpy.run_path"}
    assert places(lambda name, node: name in forbidden, SOURCES + NOTEBOOKS) == []


def test_pickles_are_read_by_the_restricted_readers_alone():
    loaders = re.compile(r"(c?pickle|dill|joblib|marshal|shelve|cloudpickle)\.(load|loads|open|Unpickler)$")
    assert places(lambda name, node: bool(loaders.search(name)), SOURCES + NOTEBOOKS) == []
    imports = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if ROOT / "benchmarks" not in path.parents  # These write some, to see them refused.
        for node in ast.walk(code_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0] in {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "_pickle"}
    }
    assert imports <= {"spinkit/files.py", "spinkit/hmr/legacy.py"}, imports


def unpicklers(path):
    """Classes that read pickles, with what they define."""
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.ClassDef) and any("Unpickler" in ast.unparse(base) for base in node.bases):
            yield node.name, {f.name for f in node.body if isinstance(f, ast.FunctionDef)}


def test_every_unpickler_decides_by_itself_what_may_be_built():
    found = {name: methods for path in SOURCES for name, methods in unpicklers(path)}
    restricted = {name for name, methods in found.items() if "find_class" in methods}
    assert len(restricted) >= 2
    # One that leaves the choice to those built on it is never used itself.
    for name in set(found) - restricted:
        assert places(lambda called, node, name=name: called.split(".")[-1] == name, SOURCES) == []


def test_numpy_is_never_allowed_to_unpickle():
    def allowed(name, node):
        reads = name.split(".")[-1] in {"load", "read_array", "NpzFile", "memmap"}
        return reads and argument(node, "allow_pickle") not in (None, "False")

    assert places(allowed, SOURCES + NOTEBOOKS) == []


def test_torch_reads_tensors_only():
    def unsafe(name, node):
        return name == "torch.load" and argument(node, "weights_only") != "True"

    # The old format needs a reader of its own, which is handed in.
    assert places(unsafe, SOURCES + NOTEBOOKS) == ["spinkit/hmr/legacy.py"]
    for name, node in calls(ROOT / "spinkit/hmr/legacy.py"):
        assert name != "torch.load" or argument(node, "pickle_module") == "_reader()"


def test_yaml_is_never_read_with_constructors():
    assert places(lambda name, node: name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}, SOURCES) == []


def test_nothing_is_handed_to_a_shell():
    def shell(name, node):
        return argument(node, "shell") not in (None, "False") or name in {
            "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn",
        }  # fmt: skip

    assert places(shell, SOURCES + NOTEBOOKS) == []


def test_notebooks_start_no_program_and_use_no_magic():
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            lines = cell.source.splitlines() if cell.cell_type == "code" else []
            assert not [line for line in lines if line.lstrip().startswith(("!", "%"))], path.name
    programs = re.compile(r"subprocess\.|os\.(exec|spawn|system|popen)|get_ipython")
    assert places(lambda name, node: bool(programs.match(name)), NOTEBOOKS) == []


def test_no_archive_is_unpacked():
    unpacking = re.compile(r"(\.|^)(extract|extractall|unpack_archive)$")
    assert places(lambda name, node: bool(unpacking.search(name)), SOURCES + NOTEBOOKS) == []


def test_an_archive_whose_members_lead_out_of_its_folder_writes_nothing(tmp_path):
    np.save(tmp_path / "plain.npy", np.arange(3))
    folder = tmp_path / "inner"
    folder.mkdir()
    archive = folder / "hostile.npz"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("../escaped.npy", str(tmp_path / "absolute.npy"), "good.npy"):
            file.write(tmp_path / "plain.npy", name)
    before = sorted(tmp_path.rglob("*"))
    try:
        found = files.read_npz(archive)
    except ValueError as refusal:
        assert "hostile.npz" in str(refusal)
    else:
        assert (found["good"] == np.arange(3)).all()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../../x", "..", ".", "", "/elsewhere/x", "a/b", "a\\b", "a\0b", "x/../../y", "n" * 300], ids=repr
)
def test_a_runs_name_cannot_lead_out_of_the_folder_of_runs(tmp_path, capsys, name):
    chapter = tmp_path / "notebooks" / "03.ipynb"
    with pytest.raises(SystemExit) as status:
        launch.main([str(chapter), "--name", name])
    assert status.value.code == 2 and "no name of a folder in runs/" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


HOSTILE = ["; touch pwned", "$(touch pwned)", "`touch pwned`", "a b", "x' || touch pwned #", "&& touch pwned", "-rf *"]


@pytest.mark.parametrize("name", [name for name in HOSTILE if not name.startswith("-")])
def test_a_runs_name_is_a_name_and_no_command(name):
    assert launch.run_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').mkdir('pwned')",
        "(lambda: 1)()",
        "open('pwned', 'w')",
        "9**9**9",
        "{[1]: 2}",
        "-" * 9999 + "1",
        "(" * 999,
    ],
)
def test_a_parameter_is_a_value_and_is_not_computed(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert launch.value_of(text) == text
    assert not list(tmp_path.iterdir())


@pytest.fixture
def project(tmp_path):
    """A folder with a hostile name, `run`, and a Python that only writes down the words that it is called with."""
    return copied(tmp_path / "a copy; touch pwned $(touch pwned)")


@pytest.mark.parametrize("command", ["train", "test", "evaluate"])
def test_words_for_run_reach_the_program_as_they_are(project, command):
    done = call(project, command, *HOSTILE)
    assert done.returncode == 0, done.stderr
    assert words(project)[-len(HOSTILE) :] == HOSTILE
    assert not list(project.parent.rglob("pwned"))


@pytest.mark.parametrize("name", [*HOSTILE, "../passwd", "/etc/passwd"])
def test_a_benchmarks_name_is_no_command_and_no_path(project, name):
    (project / "passwd.py").touch()
    assert call(project, "bench", name).returncode == 2
    assert not list(project.parent.rglob("pwned")) and not words(project)


def test_jupyterlab_listens_on_this_machine_only_and_makes_a_token(project):
    assert call(project, "lab", "--no-browser").returncode == 0
    told = words(project)
    assert told[:2] == ["-m", "jupyterlab"] and "--ip=127.0.0.1" in told and told[-1] == "--no-browser"
    # Nothing in the script takes away the token that Jupyter makes by itself.
    commands = [line for line in (ROOT / "run").read_text().splitlines() if "-m jupyterlab" in line]
    assert commands and not any("token" in line or "password" in line for line in commands)


@pytest.mark.parametrize(
    "option",
    ["--ip=0.0.0.0", "--ip=*", "--ip", "--ServerApp.ip=0.0.0.0", "--ServerApp.token=", "--ServerApp.token=''",
     '--IdentityProvider.token=""', "--IdentityProvider.token"],
)  # fmt: skip
def test_jupyterlab_is_not_opened_to_others_nor_without_a_token(project, option):
    done = call(project, "lab", option)
    assert done.returncode == 2 and "refused" in done.stderr
    assert not words(project)


@pytest.mark.parametrize("option", ["--ip=127.0.0.1", "--ip=localhost", "--IdentityProvider.token=a-long-secret"])
def test_jupyterlab_takes_what_keeps_it_closed(project, option):
    assert call(project, "lab", option).returncode == 0
    assert words(project)[-1] == option
