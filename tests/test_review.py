"""Rulings in training, and the review in which a person makes them."""

import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import trial

from spinkit import fits as dictionaries
from spinkit import job, lab, priors, spin, storage
from spinkit.fits import ACCEPTED, NO_RULING, REJECTED, FitDictionary, Note
from spinkit.lab.review_desk import BEST, HEADINGS, STORED, Desk, Question
from spinkit.spin import SpinSettings, World, checkpoint

NOTE = Note(step=0, reason="for a test")
LOOP = SpinSettings(batch_size=12, image_size=64)


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return trial.make_people(human)


def supervised(human, prior, people, fits, settings=LOOP, number=0):
    """One batch of everyone, and what supervises it."""
    said = trial.said_by(people)
    target, _, _, updated = spin.supervise(said, trial.batch_of(people), fits, World(human, prior, settings), number)
    return target, updated


def poor(people):
    """Fits that any other betters, and that the threshold refuses."""
    bent = people.judge.rotvec.clone()
    bent[:, 16:20] += 1.5
    return FitDictionary(bent, torch.zeros(len(people), 10), torch.full((len(people),), torch.inf))


def test_without_rulings_a_dictionary_that_can_hold_them_supervises_bit_by_bit_as_one_that_has_none(
    human, prior, people, monkeypatch
):
    one, other = poor(people), poor(people)
    target, updated = supervised(human, prior, people, one)
    monkeypatch.setattr(FitDictionary, "rulings", lambda self, key: torch.zeros_like(key))
    again, same = supervised(human, prior, people, other)
    for field in ("rotmat", "betas", "valid"):
        assert torch.equal(getattr(target, field), getattr(again, field))
    assert torch.equal(updated, same) and updated.any()
    assert all(np.array_equal(value, other.arrays()[name]) for name, value in one.arrays().items())


def test_an_accepted_fit_supervises_whatever_its_error_and_stays(human, prior, people):
    plain, ruled = poor(people), poor(people)
    _, updated = supervised(human, prior, people, plain)
    key = int(updated.nonzero()[0])
    ruled.rule(key, ACCEPTED, NOTE)
    strict = replace(LOOP, reprojection_threshold=1e-6)
    target, updated = supervised(human, prior, people, ruled, strict)
    assert not updated[key] and torch.equal(ruled.rotvec[key], poor(people).rotvec[key])
    assert target.valid.nonzero()[:, 0].tolist() == [key]


@pytest.mark.parametrize("mode", ["reprojection", "oracle"])
def test_where_fits_do_not_supervise_an_accepted_one_does_not_either(mode, human, prior, people):
    fits = poor(people)
    fits.rule(0, ACCEPTED, NOTE)
    target, _ = supervised(human, prior, people, fits, replace(LOOP, mode=mode))
    assert not target.valid.any()


def test_a_rejected_fit_does_not_supervise_and_the_first_usable_one_replaces_it(human, prior, people):
    fits, late = trial.true_dictionary(people), replace(LOOP, first_fit_step=5)
    plain, _ = supervised(human, prior, people, fits, late)
    _, bettered = supervised(human, prior, people, trial.true_dictionary(people), late, number=5)
    key = int((plain.valid & ~bettered).nonzero()[0])
    fits.rule(key, REJECTED, NOTE)
    target, _ = supervised(human, prior, people, fits, late)
    assert (plain.valid & ~target.valid).nonzero()[:, 0].tolist() == [key]
    _, updated = supervised(human, prior, people, fits, late, number=5)
    assert updated[key] and not bettered[key], "nothing betters the truth, yet it was rejected"
    assert fits.ruling[key] == NO_RULING and key in fits.events().key
    assert not torch.equal(fits.rotvec[key], people.judge.rotvec[key])


def test_a_label_supervises_although_the_fit_was_rejected(human, prior, people):
    fits, labelled = trial.true_dictionary(people), trial.labelled(people, [3])
    fits.rule(3, REJECTED, NOTE)
    target, _ = supervised(human, prior, labelled, fits, replace(LOOP, mode="static"))
    assert target.valid[3]


@pytest.fixture(scope="module")
def trained(human, prior, people, tmp_path_factory):
    """A finished run of four steps, with its snapshots."""
    done = trial.Trial(human, prior, people).train()
    folder = tmp_path_factory.mktemp("trained") / "run"
    done.save(folder / "checkpoints")
    preset = replace(job.choose("tiny"), train_people=len(people), spin=trial.QUICK)
    settings = json.dumps({"preset": asdict(preset), "sources": asdict(job.Sources())})
    for name, content in (("settings", settings), ("summary", settings), ("history", json.dumps(done.history))):
        (folder / f"{name}.json").write_text(content)
    np.savez_compressed(folder / "fits.npz", **done.fits.arrays())
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the run, to be spoilt."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def desk(folder, people, human):
    return Desk(folder, people, human)


def test_nothing_is_written_before_save_and_everything_after(desk, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    desk.run.fits.rule(2, ACCEPTED, desk.note("looks right"))
    desk.keep(5, desk.try_again(5, Question(BEST)), "turned round")
    assert desk.unsaved == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert desk.save() == 2 and desk.unsaved == 0
    snapshot = checkpoint.newest(folder / "checkpoints")
    for path in (folder / "fits.npz", snapshot / "fits.npz"):
        held = dictionaries.load(path)
        assert held.ruling[2] == ACCEPTED and torch.equal(held.rotvec[5], desk.run.fits.rotvec[5])
        assert held.decisions.reason == ("looks right", "turned round")


def test_training_goes_on_from_what_was_decided(desk, folder, human, people):
    desk.run.fits.rule(0, ACCEPTED, desk.note(""))
    desk.save()
    again = trial.Trial(human, priors.load(), people)
    run = again.begin()
    assert run.resume(folder / "checkpoints") and run.fits.ruling[0] == ACCEPTED
    longer = replace(again, settings=replace(trial.QUICK, steps=8, reprojection_threshold=1e-9))
    kept = run.fits.rotvec[0].clone()
    longer.train(run)
    assert torch.equal(run.fits.rotvec[0], kept) and run.fits.updates[1:].sum() > 0


def test_a_run_that_trains_is_not_written_to(desk, folder):
    desk.run.fits.rule(2, REJECTED, desk.note(""))
    written = (folder / "fits.npz").read_bytes()
    with job.hold(folder), pytest.raises(job.HeldError, match="another run trains here"):
        desk.save()
    assert (folder / "fits.npz").read_bytes() == written and desk.unsaved == 1
    assert desk.save() == 1


def test_a_dictionary_that_changed_meanwhile_is_not_overwritten(desk, folder, people, human):
    other = Desk(folder, people, human)
    for one in (desk, other):
        one.run.fits.rule(2, REJECTED, one.note(""))
    other.save()
    with pytest.raises(ValueError, match=r"has changed since it was read.*nothing was written"):
        desk.save()


def contents(folder):
    """Of all files of a run but its lock."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_run_that_finishes_while_it_is_reviewed_gets_the_decisions_in_both_places(folder, people, human):
    summary = folder / "summary.json"
    summary.rename(folder / "later")
    desk = Desk(folder, people, human)
    (folder / "later").rename(summary)
    desk.run.fits.rule(2, ACCEPTED, desk.note(""))
    assert desk.save() == 1
    snapshot = checkpoint.newest(folder / "checkpoints")
    for path in (folder / "fits.npz", snapshot / "fits.npz"):
        assert dictionaries.load(path).ruling[2] == ACCEPTED


@pytest.mark.parametrize("full", ["file", "snapshot", "name"])
def test_a_full_disk_leaves_both_places_as_they_were_and_the_decisions_on_the_desk(full, desk, folder, monkeypatch):
    def refuse(original, wanted):
        def act(*paths):
            if wanted(*paths):
                raise OSError(28, "No space left on device")
            return original(*paths)

        return act

    desk.run.fits.rule(2, ACCEPTED, desk.note(""))
    before, (file, snapshot) = contents(folder), (lambda p, *_: p.parent == folder, lambda p, *_: p.parent != folder)
    with monkeypatch.context() as patch:
        if full == "name":
            patch.setattr(os, "replace", refuse(os.replace, lambda source, to: to == folder / "fits.npz"))
        else:
            patch.setattr(storage, "write", refuse(storage.write, {"file": file, "snapshot": snapshot}[full]))
        for _ in range(3):
            with pytest.raises(OSError, match=r"not written.*still on the desk: make room"):
                desk.save()
            assert desk.unsaved == 1 and contents(folder) == before
    assert desk.save() == 1 and dictionaries.load(folder / "fits.npz").ruling[2] == ACCEPTED


def test_where_file_and_snapshot_hold_different_decisions_none_is_overwritten(desk, folder, people, human):
    other = dictionaries.load(folder / "fits.npz")
    other.rule(3, REJECTED, NOTE)
    checkpoint.replace_fits(folder / "checkpoints", other)
    before = contents(folder)
    desk.run.fits.rule(2, ACCEPTED, desk.note(""))
    with pytest.raises(ValueError, match=r"fits\.npz and step_\d+_001/fits\.npz hold different decisions"):
        desk.save()
    with pytest.raises(ValueError, match="hold different decisions"):
        Desk(folder, people, human)
    assert contents(folder) == before


@pytest.mark.parametrize("start", [STORED, HEADINGS[0], HEADINGS[2]])
def test_a_refit_starts_where_it_is_told_and_is_judged_by_all_keypoints(start, desk):
    fit = desk.try_again(4, Question(start))
    again = desk.try_again(4, Question(start, drop_worst=True))
    assert fit.usable[0] and fit.error[0].isfinite() and again.error[0].isfinite()
    assert not torch.equal(fit.rotvec, again.rotvec)
    assert not torch.equal(fit.rotvec[0], desk.run.fits.rotvec[4]) and desk.unsaved == 0
    if start == HEADINGS[0]:
        assert torch.equal(desk.try_again(4, Question(start)).rotvec, fit.rotvec)


def test_the_best_of_four_headings_is_no_worse_than_the_wrong_one(desk):
    errors = [float(desk.try_again(4, Question(start)).error[0]) for start in (BEST, *HEADINGS)]
    assert errors[0] <= max(errors[1:])


def test_the_worst_keypoint_is_the_one_that_was_put_wrong(folder, human, people):
    keypoints = people.keypoints
    seen = (keypoints.confidence[6] > 0).nonzero()[:, 0]
    wrong = int(seen[seen > 40][0]) if (seen > 40).any() else int(seen[-1])
    xy = keypoints.xy.clone()
    xy[6, wrong] += 400.0
    assert Desk(folder, replace(people, keypoints=replace(keypoints, xy=xy)), human).worst(6) == wrong


def test_too_few_keypoints_and_unknown_starts_are_refused(folder, human, people):
    confidence = people.keypoints.confidence.clone()
    confidence[1] = 0
    desk = Desk(folder, replace(people, keypoints=replace(people.keypoints, confidence=confidence)), human)
    with pytest.raises(ValueError, match="person 1: no usable fit from there"):
        desk.try_again(1, Question())
    with pytest.raises(ValueError, match="a start is one of"):
        Question("somewhere")


def press(explorer, name):
    find = [b for box in explorer.widget.children for b in getattr(box, "children", ())]
    (button,) = [b for b in find if f"spinkit-review-{name}" in getattr(b, "_dom_classes", ())]
    button.click()
    return button


def words(explorer):
    return " ".join(child.value for child in explorer.widget.children if isinstance(getattr(child, "value", 0), str))


def test_the_buttons_do_what_they_say_and_the_log_tells_it(folder, people, human):
    review = lab.review(folder, people, human, key=4)
    person, reason = review.widget.children[0].children
    assert "all saved" in words(review) and "no ruling" in words(review)
    reason.value = "<b>Ada</b>: arm is right"
    press(review, "accept")
    assert "1 unsaved" in words(review) and "<b>accepted</b>" in words(review) and reason.value == ""
    assert "&lt;b&gt;Ada" in words(review), "a reason is text and no page"
    press(review, "refit")
    assert dictionaries.load(folder / "fits.npz").ruling[4] == NO_RULING
    picture = review.widget.children[2].value
    press(review, "drop")
    assert review.widget.children[2].value != picture and "1 unsaved" in words(review)
    press(review, "refit")
    press(review, "keep")
    assert "refit of person 4" in words(review) and "from human" in words(review)
    press(review, "undo")
    assert "<b>accepted</b>" in words(review) and "3 unsaved" in words(review)
    press(review, "save")
    assert "all saved" in words(review) and dictionaries.load(folder / "fits.npz").ruling[4] == ACCEPTED
    person.value = 5
    assert "person 5" in words(review) and review.still().width > review.still().height


def test_a_refusal_is_shown_in_the_widget(folder, people, human):
    review = lab.review(folder, people, human)
    press(review, "undo")
    assert "did not work" in words(review) and "no decision on sample 0" in words(review)
    press(review, "reject")
    assert "did not work" not in words(review)
    with job.hold(folder):
        press(review, "save")
    assert "another run trains here" in words(review) and "1 unsaved" in words(review)


def test_other_people_and_nobody_are_refused(folder, people, human, tmp_path):
    with pytest.raises(ValueError, match="a run of 12 people, but 3 were given"):
        lab.review(folder, people.subset(torch.arange(3)), human)
    with pytest.raises(ValueError, match="numbered from 0 to 11, got 12"):
        lab.review(folder, people, human, key=12)
    shutil.rmtree(folder / "checkpoints")
    desk = Desk(folder, people, human)
    desk.run.fits.rule(1, REJECTED, desk.note(""))
    assert desk.save() == 1, "a finished run without snapshots has its file all the same"
