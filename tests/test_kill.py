"""A training that is killed or interrupted, whenever and wherever, ends as if nothing had happened, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import psutil
import pytest

from spinkit import job
from spinkit.spin import checkpoint

MOMENTS = 20


class Trainings:
    """The server of `killing`, and what it is asked."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        script = Path(__file__).parent / "killing.py"
        self.server = subprocess.Popen(
            [sys.executable, script, folder / "cache"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert json.loads(self.server.stdout.readline())["ready"]

    def ask(self, **order):
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, folder, die_at=0):
        self.count += 1
        self.log = self.folder / f"{self.count}.log"
        return self.ask(folder=str(folder), log=str(self.log), die_at=die_at)["pid"]

    def status(self, pid):
        return self.ask(wait=pid)["status"]

    def finish(self, folder):
        """Train to the end; what was said, and the lasting calls that were made."""
        assert self.status(self.start(folder)) == 0, self.log.read_text()
        return self.log.read_text(), json.loads(self.log.with_suffix(".json").read_text())

    def close(self):
        self.server.stdin.close()
        self.server.stdout.close()
        assert self.server.wait(60) == 0


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    opened = Trainings(tmp_path_factory.mktemp("trainings"))
    yield opened
    opened.close()


def seconds_of_work(pid):
    """Processor seconds of a child, so that the load of the machine does not matter; None when it has ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return None


@pytest.fixture(scope="module")
def undisturbed(trainings):
    """A training that nobody disturbs: its folder, its lasting calls, and its processor seconds."""
    folder, worked = trainings.folder / "undisturbed", 0
    pid = trainings.start(folder)
    while (now := seconds_of_work(pid)) is not None:
        worked = now
        time.sleep(0.005)
    assert trainings.status(pid) == 0, trainings.log.read_text()
    return folder, json.loads(trainings.log.with_suffix(".json").read_text()), worked


def without_seconds(path):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in json.loads(path.read_text())]


def assert_same_end(folder, other):
    """Weights, optimiser, dictionary and history."""
    end, expected = (checkpoint.newest(f / "checkpoints") for f in (folder, other))
    assert end.name == expected.name
    for name in ("model.safetensors", "optimizer.safetensors", "tally.safetensors"):
        assert (end / name).read_bytes() == (expected / name).read_bytes(), f"{folder}: {name} differs"
    with np.load(folder / "fits.npz") as fits, np.load(other / "fits.npz") as wanted:
        assert wanted["updates"].sum() > 0
        for name in wanted.files:
            np.testing.assert_array_equal(fits[name], wanted[name], err_msg=f"{folder}: {name}")
    assert without_seconds(folder / "history.json") == without_seconds(other / "history.json")
    left = sorted(p.name for p in folder.rglob("*") if p.name.startswith((".draft", ".old", "damaged")))
    assert not left, f"{folder}: {left} left over"


def killed_after(trainings, folder, seconds):
    """Start a training and kill it after so much work; says whether it was alive until then."""
    pid = trainings.start(folder)
    while (worked := seconds_of_work(pid)) is not None and worked < seconds:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return trainings.status(pid) == -signal.SIGKILL


def test_a_training_killed_at_any_moment_ends_as_an_undisturbed_one(trainings, undisturbed):
    expected, _, seconds = undisturbed
    dice, killed, resumed, found = random.Random(6), 0, 0, []
    for moment in range(MOMENTS):
        folder = trainings.folder / f"moment_{moment}"
        killed += killed_after(trainings, folder, seconds * (moment + dice.random()) / MOMENTS)
        found.append(len(list(folder.glob("checkpoints/step_*"))))
        said, _ = trainings.finish(folder)
        resumed += "going on from step" in said
        assert_same_end(folder, expected)
    assert killed >= MOMENTS - 4, f"only {killed} were killed before their end"
    assert min(found) == 0 and max(found) >= 2, f"snapshots at the kill: {found}"
    assert resumed == sum(count > 0 for count in found)


def stages(calls):
    """Which of the lasting calls to die at: all of a save that removes an older one, and others of each kind."""
    named = [k for k, call in enumerate(calls, 1) if call.startswith("replace")]
    drafts = [k for k in named if "draft_" in calls[k - 1]]
    whole_save = range(drafts[1] + 2, drafts[2] + 6)
    last_fits, results = drafts[-1], [k for k in named if k > drafts[-1]]
    # Around every renaming: with the draft complete, and with the new name not yet synced.
    return [named[0], drafts[0], drafts[0] + 1, *whole_save, last_fits, last_fits + 1, *results, results[-1] + 1]


def test_a_training_killed_at_any_stage_of_a_save_ends_as_an_undisturbed_one(trainings, undisturbed):
    expected, calls, _ = undisturbed
    chosen = stages(calls)
    kinds = {calls[k - 1].split()[0] for k in chosen}
    assert kinds == {"fsync", "replace", "rename", "rmtree", "unlink"}, calls
    for stage in chosen:
        folder = trainings.folder / f"stage_{stage}"
        assert trainings.status(trainings.start(folder, die_at=stage)) == -signal.SIGKILL, f"alive after {stage}"
        snapshots = list(folder.glob("checkpoints/step_*"))
        for snapshot in snapshots:
            checkpoint.shelf.check(snapshot)
        said, _ = trainings.finish(folder)
        assert ("going on from step" in said) == bool(snapshots)
        assert_same_end(folder, expected)


CELLS = (
    """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import killing, torch
from spinkit import job
torch.set_num_threads(1)
ready = job.prepare(killing.small_preset(), job.Sources(), Path({cache!r}), progress=False)
here, go = Path({here!r}), Path({go!r})
def watch(run):
    here.touch() if run.steps_done == 8 else None
    while run.steps_done == 8 and not go.exists():
        time.sleep(0.01)
""",
    "state = job.train(ready, Path({folder!r}), progress=False, watch=watch)",
    "print('steps done:', state.steps_done)",
)


def interrupt_when(here, go, client):
    """A thread that stops the kernel, as the button does, when the training has come so far."""

    def stop():
        while not here.exists():
            time.sleep(0.01)
        os.kill(client.km.provisioner.pid, signal.SIGINT)
        go.touch()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    return thread


def test_an_interrupted_notebook_says_how_to_go_on_and_its_cell_goes_on(trainings, undisturbed, tmp_path):
    expected, _, _ = undisturbed
    places = {name: str(tmp_path / name) for name in ("here", "go", "folder")}
    places |= {"tests": str(Path(__file__).parent), "cache": str(trainings.folder / "cache")}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.format(**places)) for cell in CELLS])
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True)
    with client.setup_kernel():
        thread = interrupt_when(tmp_path / "here", tmp_path / "go", client)
        first = [client.execute_cell(cell, k).outputs for k, cell in enumerate(notebook.cells[:2])]
        thread.join(60)
        assert first[0] == []
        stopped = first[1][-1]
        assert stopped.output_type == "error" and stopped.ename == "KeyboardInterrupt"
        assert "interrupted after step 8 of 18" in stopped.evalue and "this cell" in stopped.evalue
        assert not (tmp_path / "folder" / "summary.json").exists()
        again = [client.execute_cell(cell, k).outputs for k, cell in enumerate(notebook.cells)]
    assert "going on from step 8 of 18" in again[1][0].text
    assert again[2][0].text == "steps done: 18\n"
    assert_same_end(tmp_path / "folder", expected)
    assert job.load_run(tmp_path / "folder")[0]["metrics"]["final"]["step"] == 18
