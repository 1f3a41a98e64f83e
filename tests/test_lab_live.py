"""A training that is watched: the watcher sees all of it, changes nothing, and may fail or be interrupted."""

import importlib
import sys

import pytest
import torch

from spinkit import job, lab, progress, spin
from spinkit.job import Sources
from spinkit.lab.live import REST, SHARE, rested
from spinkit.lab.live_pictures import Growing, series

LIVE = importlib.import_module("spinkit.lab.live")
"""The file: in its room the function of the same name stands before it."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return job.prepare(job.choose("tiny"), Sources(), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def plain(ready, tmp_path_factory):
    """A run at which nobody looked."""
    return job.train(ready, tmp_path_factory.mktemp("plain"), progress=False)


@pytest.fixture(scope="module")
def watched(ready, tmp_path_factory):
    """The same run under the eyes of a page, and what was shown of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", "03_train_spin.ipynb")
        patch.setattr(LIVE, "rested", lambda before, after: 0.0)
        shown = []
        patch.setattr(LIVE, "display", lambda *what, **how: shown.extend(what))
        with lab.live(ready) as page:
            run = job.train(ready, tmp_path_factory.mktemp("watched"), progress=False, watch=page.watch)
    return run, page, shown


def told(history):
    """A history without its clock."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def test_a_watched_run_ends_bit_for_bit_as_an_unwatched_one(plain, watched):
    run, *_ = watched
    for name, value in plain.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name
    assert torch.equal(run.fits.rotvec, plain.fits.rotvec)
    assert told(run.history) == told(plain.history)


def test_the_curves_hold_the_whole_history_at_the_end(watched):
    run, page, _ = watched
    curves = {(trace.name, trace.xaxis): trace for trace in page.widget.children[1].data}
    judged = [record for record in run.history if "test_pa_mpjpe" in record]
    found = curves["PA-MPJPE", "x2"]
    assert list(found.x) == [record["step"] for record in judged]
    assert list(found.y) == [record["test_pa_mpjpe"] for record in judged]
    assert list(curves["total", "x"].y) == [r["loss_total"] for r in run.history if "loss_total" in r]
    assert list(curves["MPJPE", "x3"].y) == [record["dictionary_mpjpe"] for record in judged]


def test_the_page_was_drawn_while_the_run_went_on(watched):
    _, page, shown = watched
    assert page.drawings > 3
    assert shown[0] is page.widget and "spinkit-live" in page.widget._dom_classes
    assert "done" in page.widget.children[0].value
    assert "as a still" in shown[-1]["text/html"] and shown[-1]["image/png"]


def test_without_a_page_only_the_still_is_left(ready, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = []
    monkeypatch.setattr(LIVE, "display", lambda *what, **how: shown.extend(what))
    with lab.live(ready) as page:
        page.watch(_judged_run(ready))
    assert page.drawings == 0
    assert [sorted(what) for what in shown] == [["image/png", "text/plain"]]


def test_an_interruption_passes_through_and_leaves_the_figure(ready, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "03_train_spin.ipynb")
    shown = []
    monkeypatch.setattr(LIVE, "display", lambda *what, **how: shown.extend(what))
    page = lab.live(ready)
    with pytest.raises(KeyboardInterrupt), page:
        page.watch(_judged_run(ready))
        raise KeyboardInterrupt
    assert "run the cell again" in page.widget.children[0].value
    assert shown[-1]["image/png"]


def test_a_still_that_fails_does_not_hide_why_the_training_ended(ready, monkeypatch, capsys):
    monkeypatch.setattr(LIVE, "charts_still", lambda *_: 1 / 0)
    page = lab.live(ready)
    with pytest.raises(FloatingPointError), page:
        page.watch(_judged_run(ready))
        raise FloatingPointError
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_watcher_that_fails_is_reported_once_and_the_training_goes_on(ready, plain, tmp_path, capsys):
    calls = []

    def broken(run):
        calls.append(run.steps_done)
        raise RuntimeError("no screen")

    run = job.train(ready, tmp_path, progress=False, watch=broken)
    assert calls == [0]
    assert run.steps_done == ready.world.settings.steps
    assert torch.equal(run.fits.rotvec, plain.fits.rotvec)
    assert capsys.readouterr().err.count("no screen") == 2, "in the traceback: the line that raised, and the message"


def test_a_watcher_is_called_whenever_the_history_has_grown(ready):
    run, seen = job.begin(ready), []

    def watch(state):
        seen.append(len(state.history))

    schedule = spin.Schedule(judge_every=6, progress=False)
    spin.train(run, ready.train, ready.world, schedule, lambda _: {"judged": 1.0}, watch)
    assert seen == [1, 3], "a judging at step 6, then the last record and judging"


def test_drawing_takes_a_small_share_of_the_time():
    assert rested(10.0, 10.01) == pytest.approx(10.01 + REST)
    after_a_slow_one = rested(10.0, 12.0)
    assert (12.0 - 10.0) / (after_a_slow_one - 10.0) <= SHARE


def test_without_truth_the_dictionary_is_judged_by_its_keypoints():
    history = [{"step": 25, "loss_total": 2.0, "stored_error": 8.0}, {"step": 30, "test_mpjpe": 90.0}]
    charts = series(history, truth=False)
    assert charts["dictionary (px²)"]["median"] == ([25], [8.0])
    assert charts["held-out people (mm)"]["MPJPE"] == ([30], [90.0])
    assert len(Growing(charts, 100).figure.data) == 6


def test_a_bar_that_is_kept_takes_few_lines(capsys):
    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 1.0
            return self.now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tqdm.std.tqdm._time", staticmethod(Clock()), raising=False)
        list(progress.progress_bar(range(1000), 1000, "training"))
    kept = capsys.readouterr().err
    assert "\r" not in kept
    assert "1000 of 1000" in kept.splitlines()[-1]
    assert 2 <= len(kept.splitlines()) <= progress.LINES + 2


def test_a_bar_in_a_terminal_is_one_line_that_moves(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(progress.progress_bar(range(3), 3, "training"))
    assert "\r" in capsys.readouterr().err


def _judged_run(ready):
    """A run that has been judged before its first step."""
    run = job.begin(ready)
    run.history.append({"step": 0, "test_mpjpe": 300.0, "test_pa_mpjpe": 130.0})
    return run
