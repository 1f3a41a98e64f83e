"""The script `run`, tried in a copy of the project where pip and venv only write down their calls."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from calling import STAND_IN, call, calls, copied

from spinkit import launch


@pytest.fixture
def copy(tmp_path) -> Path:
    """A folder whose name has a space."""
    return copied(tmp_path / "a copy")


def test_without_a_command_it_explains_itself_and_does_nothing(copy):
    for arguments in ((), ("help",), ("--help",)):
        done = call(copy, *arguments)
        assert done.returncode == 0
        assert all(word in done.stdout for word in ("setup", "train", "test", "test-lab", "lab", "book", "bench"))
    assert not calls(copy)


def test_an_unknown_command_is_refused_with_status_2(copy):
    done = call(copy, "trian")
    assert done.returncode == 2
    assert "unknown command: trian" in done.stderr


def test_the_second_set_up_installs_nothing(copy):
    assert call(copy, "setup").returncode == 0
    assert calls(copy) == ["venv", "pip"]
    assert call(copy, "setup").returncode == 0
    assert calls(copy) == ["venv", "pip"]


def test_a_changed_list_of_packages_is_installed_again(copy):
    call(copy, "setup")
    with (copy / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert call(copy, "setup").returncode == 0
    assert calls(copy) == ["venv", "pip", "pip"]


def test_options_reach_the_program_behind_a_command(copy):
    assert call(copy, "test", "-k", "two words").returncode == 0
    assert calls(copy)[-1] == "-m pytest -k two words"
    assert call(copy, "train", "-p", "preset", "cpu").returncode == 0
    assert calls(copy)[-1] == "-m spinkit.launch notebooks/03_train_spin.ipynb -p preset cpu"
    assert call(copy, "evaluate", "--dataset", "3dpw").returncode == 0
    assert calls(copy)[-1] == "-m spinkit.evaluate --dataset 3dpw"
    assert call(copy, "book", "--chapters", "00").returncode == 0
    assert calls(copy)[-1] == "-m spinkit.book --chapters 00"
    assert call(copy, "doctor").returncode == 0
    assert calls(copy)[-1] == "-m spinkit.doctor"
    assert call(copy, "lab").returncode == 0
    assert "-m jupyterlab --ip=127.0.0.1" in calls(copy)[-1]


def test_the_widgets_are_tested_in_a_browser_that_the_system_has(copy):
    (copy / "a browser").symlink_to(shutil.which("true"))
    done = call(copy, "test-lab", "--if-possible", "-k", "two words", CHROMIUM=str(copy / "a browser"))
    assert done.returncode == 0, done.stderr
    assert calls(copy)[-1] == "-m pytest tests/browser -k two words"


def test_without_a_browser_the_widgets_are_left_out_only_where_that_is_allowed(copy):
    for options, status in (((), 1), (("--if-possible",), 0)):
        done = call(copy, "test-lab", *options, CHROMIUM=str(copy / "none"))
        assert done.returncode == status
        assert "apt install chromium" in done.stdout + done.stderr
    assert not any("pytest" in line for line in calls(copy))


def test_playwright_is_installed_by_its_own_name_where_it_is_missing(copy):
    stand_in = copy / STAND_IN
    lacking = 'case "$*" in "-c import playwright") exit 1 ;; *"pip install"*) echo "$@" >>calls ;; esac\n'
    stand_in.write_text(stand_in.read_text().replace("case", lacking + "case", 1))
    assert call(copy, "test-lab", CHROMIUM="true").returncode == 0
    (asked,) = [line for line in calls(copy) if "playwright" in line]
    assert asked.startswith("-m pip install") and "torch" not in asked and "-e" not in asked.split()
    assert calls(copy)[-1] == "-m pytest tests/browser"


def test_a_failing_pip_leaves_nothing_half_done_and_a_log(copy):
    done = call(copy, "test", OFFLINE="1")
    assert done.returncode == 1
    assert "no route to the index" in done.stderr and "Is the network there?" in done.stderr
    assert "no route to the index" in (copy / "setup.log").read_text()
    assert not (copy / ".venv").exists()
    assert call(copy, "setup").returncode == 0, "the next try starts afresh"


def test_a_python_without_venv_is_explained(copy):
    done = call(copy, "setup", NO_VENV="1")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    assert not (copy / ".venv").exists()


def test_a_python_that_is_too_old_is_refused(copy):
    old = copy / "old python"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = call(copy, "setup", PYTHON=str(old))
    assert done.returncode == 1
    assert "3.11 or newer is needed" in done.stderr and "3.8.2" in done.stderr


def test_a_machine_without_python_is_told_so(copy):
    tools = copy / "tools"
    tools.mkdir()
    for name in ("dirname", "sh", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    done = call(copy, "setup", PYTHON="", PATH=str(tools))
    assert done.returncode == 1
    assert "no python3 found" in done.stderr


def test_an_unknown_benchmark_is_refused_before_any_set_up(copy):
    assert call(copy, "bench", "nothing").returncode == 2
    assert not calls(copy)


@pytest.fixture
def chapter(tmp_path) -> Path:
    """A notebook with two parameters, in a folder notebooks/."""
    page = nbformat.v4.new_notebook()
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    parameters = nbformat.v4.new_code_cell('steps = 3\nrun = "runs/none"', metadata={"tags": ["parameters"]})
    work = nbformat.v4.new_code_cell(
        "from pathlib import Path\nfigure = Path(run) / 'steps.txt'\nprint(figure.write_text('x' * steps))"
    )
    page.cells = [parameters, work]
    path = tmp_path / "notebooks" / "03_chapter.ipynb"
    path.parent.mkdir()
    nbformat.write(page, path)
    return path


def test_an_unknown_parameter_is_refused_with_the_known_ones(chapter, capsys):
    assert launch.main([str(chapter), "-p", "setps", "5"]) == 2
    complaint = capsys.readouterr().err
    assert "no parameter setps" in complaint and "steps = 3" in complaint
    assert not (chapter.parent.parent / "runs").exists()


def test_a_chapter_runs_into_the_folder_that_it_is_told(chapter, capfd):
    assert launch.main([str(chapter), "--name", "first", "-p", "steps", "5"]) == 0
    folder = chapter.parent.parent / "runs" / "first"
    assert (folder / "steps.txt").read_text() == "xxxxx"
    executed = nbformat.read(folder / chapter.name, as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == "5"
    assert "widgets" not in executed.metadata


def test_a_kernel_that_is_launched_from_a_page_does_not_take_that_page_for_its_own(chapter, monkeypatch):
    page = nbformat.read(chapter, as_version=4)
    asked = "import os\nprint([name for name in ('JPY_SESSION_NAME', 'SPINKIT_WIDGETS') if name in os.environ])"
    page.cells.append(nbformat.v4.new_code_cell(asked))
    nbformat.write(page, chapter)
    monkeypatch.setenv("JPY_SESSION_NAME", "00_body.ipynb")
    monkeypatch.setenv("SPINKIT_WIDGETS", "1")
    executed = nbformat.read(launch.launch(chapter, chapter.parent / "run"), as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == "[]"
    assert os.environ["JPY_SESSION_NAME"] == "00_body.ipynb" and os.environ["SPINKIT_WIDGETS"] == "1"


def test_a_missing_chapter_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="99_none"):
        launch.known_parameters(tmp_path / "99_none.ipynb")


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("1e-3", 1e-3), ("True", True), ("cpu", "cpu"), ("'7'", "7")])
def test_words_become_the_values_that_they_spell(text, value):
    assert launch.value_of(text) == value


def test_a_benchmark_is_found_by_its_name_whichever_python_made_the_environment(copy):
    (copy / "benchmarks").mkdir()
    (copy / "benchmarks" / "short.py").write_text("import sys; print('measured', *sys.argv[1:])")
    found = copy / "bin"
    found.mkdir()
    (found / "python3").symlink_to(copy / STAND_IN)
    done = call(copy, "bench", "short", "--seeds", "0", PYTHON="", PATH=f"{found}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert "measured --seeds 0" in done.stdout
