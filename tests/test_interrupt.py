"""Ctrl-C during a training: between two steps, with a snapshot, and at once only when it is meant twice."""

import signal
import threading
from dataclasses import replace

import pytest
import torch
from trial import COUNT, QUICK, Trial, make_people, same_weights

from spinkit import priors
from spinkit.spin import Schedule
from spinkit.spin.interrupting import noted_interrupts
from spinkit.spin.packing import pack, unpack
from spinkit.spin.step import Outcome

STEPS = 6


@pytest.fixture(scope="module")
def trial(human):
    """People of whom one has a keypoint that is nowhere, so that samples are left out too."""
    people = make_people(human)
    people.keypoints.xy[3, 30] = torch.nan
    people.keypoints.confidence[3, 30] = 1
    settings = replace(QUICK, steps=STEPS, max_bad_share=1.0)
    return Trial(human, priors.load(), people, settings)


@pytest.fixture(scope="module")
def unbroken(trial, tmp_path_factory):
    return trial.train(schedule=Schedule(0, STEPS, tmp_path_factory.mktemp("unbroken"), False))


def press():
    signal.raise_signal(signal.SIGINT)


def pressing(monkeypatch, at, times=1):
    """Let somebody press Ctrl-C amid a step, when the dictionary is ahead of the weights."""
    clip, calls = torch.nn.utils.clip_grad_norm_, []

    def pressed(*args):
        calls.append(1)
        for _ in range(times if len(calls) == at else 0):
            press()
        return clip(*args)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", pressed)


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_training_interrupted_amid_any_step_ends_bit_for_bit_as_an_unbroken_one(
    trial, unbroken, tmp_path, monkeypatch, capsys, step
):
    pressing(monkeypatch, at=step)
    schedule = Schedule(0, STEPS, tmp_path, False)
    with pytest.raises(KeyboardInterrupt, match=rf"after step {step} of {STEPS}.*step_0000000{step}.*run this again"):
        trial.train(schedule=schedule)
    assert "once more ends at once" in capsys.readouterr().err
    resumed = trial.begin()
    assert resumed.resume(tmp_path) and resumed.steps_done == step
    trial.train(resumed, schedule)
    assert same_weights(unbroken, resumed)
    for name, array in unbroken.fits.arrays().items():
        assert (array == resumed.fits.arrays()[name]).all(), name
    # The record of a step tells of those before the interruption too.
    assert without_seconds(resumed.history) == without_seconds(unbroken.history)
    assert unbroken.history[-1]["bad_samples"] > 0


def test_a_second_interrupt_ends_at_once_and_saves_nothing(trial, tmp_path, monkeypatch):
    pressing(monkeypatch, at=2, times=2)
    with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
        trial.train(schedule=Schedule(0, STEPS, tmp_path / "none", False))
    assert not (tmp_path / "none").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_folder_an_interrupt_leaves_the_run_between_two_steps(trial, monkeypatch):
    pressing(monkeypatch, at=2)
    run = trial.begin()
    with pytest.raises(KeyboardInterrupt, match=r"after step 2 of 6\. To go on"):
        trial.train(run)
    assert run.steps_done == 2


def test_interrupts_are_raised_as_ever_once_the_training_is_over(trial):
    with noted_interrupts() as request:
        press()
    assert request.made
    with pytest.raises(KeyboardInterrupt):
        press()


def test_where_interrupts_are_ignored_they_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_interrupts() as request:
            press()
        assert not request.made
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_training_in_another_thread_leaves_the_handler_alone(trial):
    runs = []
    settings = replace(trial.settings, steps=1)
    one = replace(trial, settings=settings)
    thread = threading.Thread(target=lambda: runs.append(one.train()))
    thread.start()
    thread.join()
    assert runs[0].steps_done == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_tally_notes_is_packed_and_unpacked_alike():
    some = torch.arange(COUNT).float()
    outcome = Outcome({"total": torch.tensor(2.5)}, some > 3, some > 4, some, some + 1, True, {7: "not finite"})
    noted = {"outcomes": [outcome], "shares": [(1, 3)], "bad": 2, "none": None, "refused": {7: "why"}}
    tensors = {}
    packed = pack(noted, tensors)
    back = unpack(packed, tensors, torch.device("cpu"))
    again = back["outcomes"].pop()
    assert {**noted, "outcomes": []} == back
    assert again.losses.keys() == {"total"} and torch.equal(again.losses["total"], outcome.losses["total"])
    assert torch.equal(again.updated, outcome.updated) and torch.equal(again.new_error, outcome.new_error)
    assert (again.applied, again.refused) == (True, {7: "not finite"})
    with pytest.raises(TypeError, match="cannot pack a set"):
        pack({1}, {})
