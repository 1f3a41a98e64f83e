"""What the browser tests share: their options, Chromium, one JupyterLab, and a list of times."""

import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import server
from page import Chapter
from playwright.sync_api import BrowserContext, sync_playwright

Times = dict[str, list[dict[str, float]]]
TIMES = pytest.StashKey[Times]()
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The first eight keep it quiet and at home; the last asks for WebGL in software outright.
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync", "enable-unsafe-swiftshader")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", default=str(server.ROOT / "runs" / "lab"), help="folder for screenshots and times")


@pytest.fixture(scope="session")
def pictures(request) -> Path:
    """The folder for screenshots and times."""
    folder = Path(request.config.getoption("--pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[BrowserContext]:
    """The system's Chromium, with nothing remembered; CHROMIUM names another one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert found, "no Chromium here (Debian: apt install chromium), and CHROMIUM names none"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=found,
            headless=True,
            args=[f"--{flag}" for flag in FLAGS],
            viewport={"width": 1400, "height": 1700},
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory, pictures) -> Iterator[server.Lab]:
    """JupyterLab in a scratch copy of the project."""
    folder = tmp_path_factory.mktemp("lab")
    with server.serving(server.scratch_project(folder), folder / "jupyter", pictures / "jupyterlab.log") as running:
        yield running


@pytest.fixture
def open_chapter(browser, lab, pictures) -> Iterator[Callable[[str], Chapter]]:
    """Opens chapters; leaves a screenshot behind and closes them at the end of the test."""
    opened = []

    def open_one(name: str) -> Chapter:
        opened.append(Chapter(browser, lab, name, pictures))
        return opened[-1]

    yield open_one
    for chapter in opened:
        chapter.picture(None, "page")
        chapter.close()


@pytest.fixture(scope="session")
def times(request) -> Times:
    """Seconds by handle, to be filled."""
    return request.config.stash.setdefault(TIMES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print and write the times, with the machine that they are of. They are no claim that a test could fail by."""
    measured = config.stash.get(TIMES, {})
    if not measured:
        return
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    summary = {
        handle: {kind: spread([row[kind] for row in rows]) for kind in rows[0]} for handle, rows in measured.items()
    }
    path = Path(config.getoption("--pictures")) / "latency.json"
    path.write_text(json.dumps({"machine": machine, "seconds": summary}, indent=1) + "\n")
    terminalreporter.section(f"seconds from a touch to new data, and to the new picture ({machine})")
    for handle, kinds in summary.items():
        told = ", ".join(f"{kind} {at['median']:.2f} (worst {at['worst']:.2f})" for kind, at in kinds.items())
        terminalreporter.write_line(f"{handle}: {told}")


def spread(seconds: list[float]) -> dict[str, float]:
    """What is usual and what is worst."""
    return {"median": round(statistics.median(seconds), 3), "worst": round(max(seconds), 3)}
