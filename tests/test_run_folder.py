"""The folder of a run: one run at a time, and clear words where it cannot be written, has vanished or is another's."""

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime

import killing
import pytest
import roma
import torch

from spinkit import job
from spinkit.spin import checkpoint


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    tiny = killing.small_preset()
    tiny = replace(tiny, judge_every=0, spin=replace(tiny.spin, steps=8))
    return job.prepare(tiny, job.Sources(), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return job.train(prepared, folder, progress=False), folder


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run's folder, to be harmed."""
    return shutil.copytree(finished[1], tmp_path / "copied")


def with_steps(prepared, steps):
    preset = prepared.preset
    return replace(prepared, preset=replace(preset, spin=replace(preset.spin, steps=steps)))


def assert_ends_alike(run, expected):
    for name, value in expected.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name
    for name, array in expected.fits.arrays().items():
        assert (run.fits.arrays()[name] == array).all(), name


def holding_elsewhere(folder):
    """Another process that holds a folder until it is ended."""
    code = "import sys, time; from spinkit import job\nwith job.hold(sys.argv[1]): print(1, flush=True); time.sleep(99)"
    other = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "1\n"
    return other


def test_a_second_run_in_a_folder_is_told_who_holds_it_and_a_kill_frees_it(prepared, tmp_path):
    other = holding_elsewhere(tmp_path)
    with other.stdout, pytest.raises(job.HeldError) as refused:
        job.train(prepared, tmp_path, progress=False)
    message = str(refused.value)
    assert f"process {other.pid} on {socket.gethostname()}" in message
    assert f"kill -INT {other.pid}" in message and "another folder" in message
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]
    other.send_signal(signal.SIGKILL)
    other.wait()
    # The note of the dead is still there, and says nothing.
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == other.pid
    with job.hold(tmp_path):
        pass


def test_a_folder_is_free_again_after_a_run_and_after_an_error(tmp_path):
    new = tmp_path / "new"
    with job.hold(new), pytest.raises(job.HeldError, match=f"process {os.getpid()}"), job.hold(new):
        pass
    with pytest.raises(ZeroDivisionError), job.hold(tmp_path / "new"):
        raise ZeroDivisionError
    with job.hold(tmp_path / "new"):
        pass
    assert (tmp_path / "new" / ".lock").read_text() == ""


@pytest.fixture
def lockless(monkeypatch):
    """A file system that knows no locks, as some network ones."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def note(folder, **who):
    folder.mkdir(exist_ok=True)
    (folder / ".lock").write_text(json.dumps({"since": "today"} | who))


def test_without_locks_the_note_of_a_living_run_keeps_others_out(lockless, tmp_path):
    with pytest.warns(UserWarning, match=r"knows no locks \(No locks available\)"), job.hold(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(job.HeldError, match=r"If no such process is left, remove .*\.lock"), job.hold(tmp_path):
            pass
    note(tmp_path, pid=7, host="elsewhere")
    with pytest.raises(job.HeldError, match="process 7 on elsewhere"), job.hold(tmp_path):
        pass


@pytest.mark.parametrize("content", ["dead", "{", "[1]", ""])
def test_without_locks_the_note_of_a_dead_run_or_a_damaged_one_keeps_nobody_out(lockless, tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    if content == "dead":
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        note(tmp_path, pid=dead.pid, host=socket.gethostname())
    with pytest.warns(UserWarning, match="knows no locks"), job.hold(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_refused_by_name_before_any_work(prepared, tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=r"run: cannot be written to \(.*give the run another folder"):
        job.train(prepared, tmp_path / "run", progress=False)


def test_a_file_in_the_place_of_the_folder_is_refused_by_name(prepared, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OSError, match=r"run: cannot be written to .*give the run another folder"):
        job.train(prepared, tmp_path / "run", progress=False)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_disk_that_fills_up_while_training_costs_nothing_once_there_is_room(
    finished, prepared, tmp_path, monkeypatch
):
    sync, calls = os.fsync, []

    def full_later(handle):
        calls.append(handle)
        if len(calls) > 15:
            raise OSError(errno.ENOSPC, "No space left on device")
        return sync(handle)

    monkeypatch.setattr(os, "fsync", full_later)
    with pytest.raises(
        OSError, match=r"step_00000008: .*No space left.*step_00000004 is whole; make room and run again"
    ):
        job.train(prepared, tmp_path, progress=False)
    monkeypatch.undo()
    assert_ends_alike(job.train(prepared, tmp_path, progress=False), finished[0])


@pytest.mark.parametrize("name", ["fits.npz", "history.json", "summary.json"])
def test_a_disk_that_is_full_at_the_results_leaves_the_old_ones_whole(prepared, copied, monkeypatch, name):
    before = {n: (copied / n).read_bytes() for n in ("fits.npz", "history.json", "summary.json")}
    put = os.replace

    def refuse(source, target):
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match=r"results not written .*make room and run again"):
        job.train(prepared, copied, progress=False)
    assert (copied / name).read_bytes() == before[name]
    assert not list(copied.glob(".*.draft"))
    assert len(job.load_run(copied)[1]) > 0


def test_a_folder_that_vanishes_amid_a_training_is_made_anew_with_all_that_was_found(finished, prepared, tmp_path):
    folder = tmp_path / "run"

    def vanish(run):
        if run.steps_done == 4 and folder.exists():
            shutil.rmtree(folder)

    run = job.train(prepared, folder, progress=False, watch=vanish)
    assert_ends_alike(run, finished[0])
    assert (folder / "settings.json").is_file() and job.load_run(folder)[0]["metrics"]
    assert_ends_alike(job.train(prepared, folder, progress=False), finished[0])


def test_a_clock_that_jumps_changes_nothing(finished, prepared, tmp_path, monkeypatch):
    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(1970, 1, 1)

    monkeypatch.setattr("spinkit.job.holding.datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: -1e9)

    def age(run):
        for path in tmp_path.rglob("*"):
            os.utime(path, (0, 0) if run.steps_done % 8 else (4e9, 4e9))

    assert_ends_alike(job.train(prepared, tmp_path, progress=False, watch=age), finished[0])
    assert_ends_alike(job.train(prepared, tmp_path, progress=False), finished[0])


def test_a_damaged_newest_snapshot_costs_time_and_no_fit(finished, prepared, copied):
    newest = checkpoint.newest(copied / "checkpoints")
    (newest / "fits.npz").write_bytes(b"")
    with pytest.warns(UserWarning, match=rf"{newest.name}: damaged .*Instead step_00000008, the one before, is used"):
        run = job.train(prepared, copied, progress=False)
    assert_ends_alike(run, finished[0])
    assert (copied / "checkpoints" / f"damaged_{newest.name}").is_dir()
    assert_ends_alike(job.train(prepared, copied, progress=False), finished[0])


def test_a_run_of_a_newer_program_is_refused_and_left_as_it_is(prepared, copied):
    newest = checkpoint.newest(copied / "checkpoints")
    for name in ("state.json", "manifest.json"):
        content = json.loads((newest / name).read_text())
        (newest / name).write_text(json.dumps(content | {"format": 99}))
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"format 99, this program reads 2.*Update spinkit"):
        job.train(prepared, copied, progress=False)
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


def test_the_setting_that_differs_is_named(prepared, copied):
    with pytest.raises(ValueError, match=r"other settings .*preset\.spin\.steps is 8 there, 9 here"):
        job.train(with_steps(prepared, 9), copied, progress=False)
    newer = json.loads((copied / "settings.json").read_text())
    newer["preset"]["spin"]["telepathy"] = True
    (copied / "settings.json").write_text(json.dumps(newer))
    with pytest.raises(ValueError, match=r"preset\.spin\.telepathy is True there, None here"):
        job.train(prepared, copied, progress=False)


def test_a_folder_whose_note_is_lost_is_known_by_its_snapshots(finished, prepared, copied):
    (copied / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"step_00000008_001: of a run of other settings; preset\.spin\.steps is 8"):
        job.train(with_steps(prepared, 9), copied, progress=False)
    assert_ends_alike(job.train(prepared, copied, progress=False), finished[0])
    assert (copied / "settings.json").read_bytes() == (finished[1] / "settings.json").read_bytes()


def test_a_run_of_before_a_setting_existed_goes_on_with_its_default(finished, prepared, copied):
    note = copied / "settings.json"
    settings = json.loads(note.read_text())
    del settings["preset"]["spin"]["keypoint_limit"], settings["preset"]["spin"]["max_bad_share"]
    note.write_text(json.dumps(settings))
    assert_ends_alike(job.train(prepared, copied, progress=False), finished[0])
    settings["preset"]["spin"]["keypoint_limit"] = 7.0
    note.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"preset\.spin\.keypoint_limit is 7\.0 there"):
        job.train(prepared, copied, progress=False)


def test_a_damaged_note_is_refused_with_the_remedy(prepared, copied):
    (copied / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is not JSON .*remove this file"):
        job.train(prepared, copied, progress=False)


def test_an_interrupt_in_the_last_fits_says_how_to_go_on_and_keeps_none_of_them(
    finished, prepared, tmp_path, monkeypatch
):
    between, calls = roma.special_procrustes, []

    def pressed(*args):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return between(*args)

    monkeypatch.setattr(roma, "special_procrustes", pressed)
    with pytest.raises(
        KeyboardInterrupt, match=r"interrupted\. .*checkpoints holds is whole.*run this again.*this cell"
    ):
        job.train(prepared, tmp_path, progress=False)
    assert not (tmp_path / "summary.json").exists()
    monkeypatch.undo()
    assert_ends_alike(job.train(prepared, tmp_path, progress=False), finished[0])
