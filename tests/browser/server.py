"""A real JupyterLab on this machine only, in a scratch copy of the project."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat

from spinkit import job

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {"04_explore_fits": {"source": '"../runs/tiny"'}}
"""What a chapter is told in the scratch copy, as it would be typed into the cell."""


@dataclass(frozen=True)
class Lab:
    """A running server."""

    project: Path
    port: int
    token: str

    @property
    def pages(self) -> Path:
        """The folder of the chapters."""
        return self.project / "notebooks"

    def address(self, chapter: str) -> str:
        """Where the browser finds a chapter; nothing of an earlier visit comes back."""
        return f"{self.home}lab/tree/notebooks/{chapter}.ipynb?token={self.token}&reset"

    @property
    def home(self) -> str:
        """All that the page may ask for begins like this."""
        return f"http://127.0.0.1:{self.port}/"


def scratch_project(folder: Path) -> Path:
    """The chapters, with data/ as a link, so that whatever they write stays out of the project."""
    project = folder / "project"
    shutil.copytree(ROOT / "notebooks", project / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (project / "data").symlink_to(ROOT / "data")
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    for chapter, values in PARAMETERS.items():
        tell(project / "notebooks" / f"{chapter}.ipynb", values)
    return project


def finished_run(project: Path) -> None:
    """Train a run of the smallest size into runs/tiny."""
    made = job.prepare(job.choose("tiny", "loop"), job.Sources(), project / "runs" / "cache", progress=False)
    job.train(made, project / "runs" / "tiny", progress=False)


def tell(path: Path, values: dict[str, str]) -> None:
    """Set parameters of a chapter in its own cell, as a person at the page would."""
    page = nbformat.read(path, as_version=4)
    (cell,) = [c for c in page.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{name} = {value}" for name, value in values.items())
    nbformat.write(page, path)


@contextmanager
def serving(project: Path, belongings: Path, log: Path) -> Iterator[Lab]:
    """JupyterLab with settings of its own, so that neither the user's nor earlier ones have a say.

    Args:
        project: its root folder.
        belongings: a folder for its settings.
        log: the file for what it writes.
    """
    lab = Lab(project, free_port(), secrets.token_hex(16))
    news = belongings / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={lab.port}"]
    command += [
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        f"--ServerApp.root_dir={project}",
    ]
    command += ["--LabApp.expose_app_in_browser=True", *(["--allow-root"] if os.geteuid() == 0 else [])]
    places = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    places |= {f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | {name: str(belongings / place) for name, place in places.items()}
    environment.pop("JPY_SESSION_NAME", None)
    with log.open("w") as written:
        server = subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            wait_for(server, lab, log)
            yield lab
        finally:
            stop(server)


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def wait_for(server: subprocess.Popen, lab: Lab, log: Path, seconds: float = 180.0) -> None:
    """Until the server answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, f"JupyterLab stopped: {log.read_text()[-2000:]}"
        try:
            opener.open(f"{lab.home}api?token={lab.token}", timeout=5).read()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"JupyterLab did not answer within {seconds} s, see {log}")


def stop(server: subprocess.Popen) -> None:
    """The server and its kernels, politely at first."""
    for told, seconds in ((signal.SIGINT, 5), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(server.pid, told)
            server.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        else:
            return
