"""Run a chapter from first to last cell by papermill, with its parameters checked before anything starts.

python -m spinkit.launch notebooks/03_train_spin.ipynb --name first -p preset cpu
"""

import argparse
import ast
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import papermill

RUN_PARAMETER = "run"
"""A chapter that declares this parameter is told the folder for what it makes."""
LOOKED_AT = ("JPY_SESSION_NAME", "SPINKIT_WIDGETS")
"""What tells a kernel that a person looks at its page; `lab.has_front_end` asks for them."""


def project_folder(start: Path | None = None) -> Path:
    """The project that a chapter runs in: the nearest folder, from where it runs upwards, that holds `notebooks/`.

    JupyterLab and `./run` start a chapter in notebooks/, papermill where it is called.

    Raises:
        FileNotFoundError: where there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(f"{here} lies in no copy of the project; start the chapter from its folder.")


def known_parameters(notebook: Path) -> dict[str, str]:
    """The parameters of a notebook and their defaults, as written in its cell tagged `parameters`.

    Raises:
        FileNotFoundError: where there is no such notebook.
    """
    if not notebook.is_file():
        raise FileNotFoundError(f"No notebook at {notebook}; the chapters lie in the folder notebooks/.")
    return {name: str(found["default"]) for name, found in papermill.inspect_notebook(notebook).items()}


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """Refuse names that the notebook does not know; papermill only warns, and then runs with the defaults.

    Raises:
        ValueError: names the unknown parameters and lists the known ones.
    """
    known = known_parameters(notebook)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        listed = "\n".join(f"  {name} = {default}" for name, default in known.items()) or "  (none)"
        raise ValueError(f"{notebook.name} has no parameter {', '.join(unknown)}. It knows these:\n{listed}")


def launch(
    notebook: Path,
    folder: Path,
    parameters: dict[str, object] | None = None,
    cwd: Path | None = None,
    progress: bool = False,
) -> Path:
    """Execute a notebook into a folder.

    Args:
        notebook: the chapter; it is only read.
        folder: for the executed notebook and what it makes; made where missing.
        parameters: values for the cell tagged `parameters`. `run` is set to the folder by itself.
        cwd: where the chapter's relative paths start; the chapter's own folder by default, as in JupyterLab.
        progress: show papermill's bar and pass on what the cells print.

    Returns:
        The executed notebook. It holds no widget state, which takes 5 MB for every interactive figure.

    Raises:
        ValueError: for a parameter that the notebook does not know.
        papermill.PapermillExecutionError: where a cell fails; the notebook up to there is saved all the same.
    """
    parameters = dict(parameters or {})
    check_parameters(notebook, parameters)
    folder.mkdir(parents=True, exist_ok=True)
    if RUN_PARAMETER in known_parameters(notebook):
        parameters.setdefault(RUN_PARAMETER, str(folder.resolve()))
    executed = folder / notebook.name
    with _unseen():
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(cwd or notebook.parent),
            progress_bar=progress,
            stdout_file=sys.stdout if progress else None,
            stderr_file=sys.stderr if progress else None,
            store_widget_state=False,
        )
    return executed


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Let kernels that start in the block know that nobody looks on, even where this process runs for a page."""
    held = {name: os.environ.pop(name) for name in LOOKED_AT if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def run_name(text: str) -> str:
    """A name that a folder inside of runs/ can have, and nothing that leads out of there.

    Raises:
        argparse.ArgumentTypeError: the text is a path, or no name at all.
    """
    if text in ("", ".", "..") or any(c in "/\\\0" for c in text) or Path(text).is_absolute() or len(text) > 200:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a folder in runs/; leave out slashes")
    return text


def value_of(text: str) -> object:
    """A command-line word as the Python value that it spells, or else as the word itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 where the parameters are refused."""
    parser = argparse.ArgumentParser(prog="spinkit.launch", description="Run a chapter from first to last cell.")
    parser.add_argument("notebook", type=Path)
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    parser.add_argument("--name", type=run_name, default=now, help="of the run's folder")
    parser.add_argument(
        "-p",
        "--parameters",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter of the notebook; may be given many times",
    )
    given = parser.parse_args(arguments)
    folder = given.notebook.resolve().parent.parent / "runs" / given.name
    parameters = {name: value_of(text) for name, text in given.parameters}
    try:
        check_parameters(given.notebook, parameters)
    except (ValueError, FileNotFoundError) as error:
        print(f"spinkit.launch: {error}", file=sys.stderr)
        return 2
    print(f"spinkit.launch: {given.notebook.name} runs into {folder}", flush=True)
    try:
        executed = launch(given.notebook, folder, parameters, progress=True)
    except papermill.PapermillExecutionError as error:
        print(
            f"{error}\nspinkit.launch: stopped; the notebook up to there is {folder / given.notebook.name}",
            file=sys.stderr,
        )
        return 1
    print(f"spinkit.launch: done, see {executed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
