"""Numbers that are not finite: caught where they arise, at no cost to the samples, steps and fits beside them."""

import shutil
import sys
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from trial import COUNT, QUICK, Trial, batch_of, labelled, make_people, mean_dictionary, said_by, same_weights

from spinkit import data, hmr, priors, smplify, spin
from spinkit.crop import Change
from spinkit.data import StoredImages
from spinkit.keypoints import Keypoints
from spinkit.solvers import LevenbergMarquardt
from spinkit.spin import Schedule, World

BAD = 5
"""The sample that is spoilt."""
OTHERS = torch.tensor([key for key in range(COUNT) if key != BAD])


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return labelled(make_people(human), [1, BAD])


@pytest.fixture
def trial(human, prior, people):
    return Trial(human, prior, people)


@dataclass(frozen=True)
class BrokenImages:
    """A store that gives colours that are no numbers for some samples."""

    images: StoredImages
    keys: tuple[int, ...]

    @property
    def size(self):
        return self.images.size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        colours = self.images[indices].float() / 255
        colours[torch.isin(indices, torch.tensor(self.keys)), 0, 40, 40] = torch.nan
        return colours


def with_keypoint(samples, key, xy=None, confidence=None):
    """One keypoint of one sample changed."""
    points = Keypoints(samples.keypoints.xy.clone(), samples.keypoints.confidence.clone())
    points.confidence[key, 30] = 1 if confidence is None else confidence
    if xy is not None:
        points.xy[key, 30] = xy
    return replace(samples, keypoints=points)


def with_label(samples, key, field, value):
    """One number of one sample's label changed."""
    changed = getattr(samples.labels, field).clone()
    changed[key].view(-1)[7] = value
    return replace(samples, labels=replace(samples.labels, **{field: changed}))


SPOILT = {
    "a picture": (lambda s: replace(s, images=BrokenImages(s.images, (BAD,))), "its picture is not finite"),
    "a keypoint": (lambda s: with_keypoint(s, BAD, xy=torch.nan), "its keypoints are not finite"),
    "a missing keypoint": (lambda s: with_keypoint(s, BAD, torch.nan, 0.0), "its keypoints are not finite"),
    "an infinite keypoint": (lambda s: with_keypoint(s, BAD, xy=-torch.inf), "its keypoints are not finite"),
    "a confidence": (lambda s: with_keypoint(s, BAD, confidence=torch.nan), "its keypoints are not finite"),
    "an infinite confidence": (lambda s: with_keypoint(s, BAD, confidence=torch.inf), "its keypoints are not finite"),
    "a negative confidence": (lambda s: with_keypoint(s, BAD, confidence=-1.0), "a confidence is negative"),
    "an absurd confidence": (lambda s: with_keypoint(s, BAD, confidence=1e20), "a confidence is above 1000"),
    "a keypoint a million pixels away": (lambda s: with_keypoint(s, BAD, xy=1e6), "more than 2240 pixels"),
    "a keypoint whose square overflows": (lambda s: with_keypoint(s, BAD, xy=1e30), "more than 2240 pixels"),
    "a pose": (lambda s: with_label(s, BAD, "rotvec", torch.nan), "its labels are not finite"),
    "a shape": (lambda s: with_label(s, BAD, "betas", torch.inf), "its labels are not finite"),
    "a joint": (lambda s: with_label(s, BAD, "joints", torch.nan), "its labels are not finite"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_bad_sample_is_left_out_and_the_others_learn_as_if_it_had_never_been_drawn(trial, people, prior, what):
    spoil, reason = SPOILT[what]
    run, dictionary, clean = trial.begin(), mean_dictionary(prior), mean_dictionary(prior)
    run.model.train()
    model = deepcopy(run.model)
    # Dropout draws from the global generator.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = spin.step(run.model, batch_of(spoil(people)), dictionary, trial.world, 0)
        torch.manual_seed(0)
        expected = spin.step(model, batch_of(people)[OTHERS], clean, trial.world, 0)
    assert list(found.refused) == [BAD] and reason in found.refused[BAD]
    assert found.applied and len(found.valid) == COUNT - 1
    for name, loss in expected.losses.items():
        assert torch.equal(found.losses[name], loss), name
    # The running averages of normalisation did not see it either.
    assert all(torch.equal(a, b) for a, b in zip(run.model.buffers(), model.buffers(), strict=True))
    assert dictionary.updates[BAD] == 0 and dictionary.updates.sum() == clean.updates.sum() > 0
    assert torch.equal(dictionary.rotvec, clean.rotvec)


def test_a_sample_for_which_the_network_has_no_number_is_left_out(trial, people, prior, monkeypatch):
    forward = hmr.HMR.forward

    def answer(model, image):
        said = forward(model, image)
        spoilt = said.betas.clone()
        spoilt[BAD, 3] = torch.nan
        return replace(said, betas=spoilt)

    monkeypatch.setattr(hmr.HMR, "forward", answer)
    run, dictionary = trial.begin(), mean_dictionary(prior)
    outcome = spin.step(run.model.train(), batch_of(people), dictionary, trial.world, 0)
    assert outcome.refused == {BAD: "the network's answer is not finite"}
    assert dictionary.updates[BAD] == 0 and dictionary.updates.sum() > 0
    assert outcome.losses["total"].isfinite()
    outcome.losses["total"].backward()
    assert all(p.grad.isfinite().all() for p in run.model.parameters() if p.grad is not None)


def test_a_network_that_has_no_number_for_anyone_teaches_nothing(trial, people, prior):
    run = trial.begin()
    with torch.no_grad():
        run.model.decshape.bias.fill_(torch.inf)
    dictionary = mean_dictionary(prior)
    outcome = spin.step(run.model.train(), batch_of(people), dictionary, trial.world, 0)
    assert not outcome.applied and len(outcome.refused) == COUNT
    assert dictionary.updates.sum() == 0


class Unasked(nn.Module):
    """A network that nobody may ask."""

    def forward(self, image):
        raise AssertionError("asked")


@pytest.mark.parametrize("layer", ["decpose", "decshape", "deccam"])
def test_the_last_fits_of_a_network_without_numbers_are_not_kept(trial, layer):
    run = trial.begin()
    with torch.no_grad():
        getattr(run.model, layer).bias[0] = torch.nan
    assert spin.sweep(run, trial.samples, trial.world, progress=False) == 0
    assert run.fits.updates.sum() == 0 and run.fits.rotvec.isfinite().all()


def test_a_batch_of_bad_samples_alone_never_reaches_the_network(trial, people, prior):
    batch = batch_of(replace(people, keypoints=Keypoints(people.keypoints.xy * torch.nan, people.keypoints.confidence)))
    outcome = spin.step(Unasked(), batch, mean_dictionary(prior), trial.world, 0)
    assert not outcome.applied and outcome.losses["total"].isnan() and len(outcome.refused) == COUNT


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def unguarded_step(model, batch, fits, world, number):
    """The step without a guard, written out."""
    said = model(hmr.normalise(batch.image))
    target, old_error, new_error, updated = spin.supervise(said.detach(), batch, fits, world, number)
    return spin.Outcome(spin.losses(said, target, batch, world), updated, target.valid, old_error, new_error)


def test_where_nothing_is_bad_the_guards_change_no_bit(trial, monkeypatch):
    guarded = trial.train()
    monkeypatch.setattr(sys.modules["spinkit.spin.train"], "step", unguarded_step)
    plain = trial.train()
    assert same_weights(guarded, plain) and guarded.fits.updates.sum() > 0
    for name, array in plain.fits.arrays().items():
        assert (array == guarded.fits.arrays()[name]).all(), name
    assert without_seconds(plain.history) == without_seconds(guarded.history)


def test_a_loss_that_is_not_finite_leaves_weights_averages_and_optimiser_and_keeps_the_fits(trial, monkeypatch):
    run = trial.begin()
    assert spin.one_step(run, trial.samples, trial.world, 0).applied
    weights, optimiser = deepcopy(run.model.state_dict()), deepcopy(run.optimizer.state_dict())
    updates = run.fits.updates.clone()
    forward = hmr.HMR.forward

    def answer(model, image):
        said = forward(model, image)
        # Finite, and yet exp(-10 s)^2 is not.
        return replace(said, weak=said.weak - said.weak.new_tensor([9.0, 0.0, 0.0]))

    monkeypatch.setattr(hmr.HMR, "forward", answer)
    outcome = spin.one_step(run, trial.samples, trial.world, 1)
    assert not outcome.applied and not outcome.losses["total"].isfinite() and not outcome.refused
    assert all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())
    for index, state in optimiser["state"].items():
        for name, value in state.items():
            assert torch.equal(value, run.optimizer.state_dict()["state"][index][name]), name
    # A fit was judged by its own keypoints: it stays, and the history of updates with it.
    assert run.fits.updates.sum() == updates.sum() + outcome.updated.sum() == len(run.fits.events().key)
    assert (
        outcome.updated.any() and run.fits.rotvec.isfinite().all() and run.fits.error[run.fits.updates > 0].max() < 1e9
    )


def test_bad_samples_are_counted_in_the_history_and_cost_no_step(trial, people):
    trial.samples = with_keypoint(people, BAD, xy=torch.nan)
    run = trial.train()
    drawn = torch.cat([spin.batch_keys(COUNT, QUICK, number) for number in range(QUICK.steps)])
    assert run.history[-1]["bad_samples"] == (drawn == BAD).sum() > 0
    assert run.history[-1]["skipped"] == 0
    assert run.history[-1]["left_out"] == {str(BAD): "its keypoints are not finite"}
    assert run.fits.updates[BAD] == 0 and run.fits.updates.sum() > 0
    assert all(value.isfinite().all() for value in run.model.state_dict().values())


def test_too_many_bad_samples_stop_the_training_and_are_named(trial, people, tmp_path):
    bad = [0, 3, 9]
    for key in bad:
        trial.samples = with_keypoint(trial.samples, key, xy=torch.nan)
    trial.settings = replace(QUICK, steps=50, max_bad_steps=3)
    run = trial.begin()
    with pytest.raises(FloatingPointError, match="3 of 12 samples of the last 3 steps were left out") as stopped:
        trial.train(run, Schedule(folder=tmp_path, save_every=2, progress=False))
    assert all(f"sample {key}: its keypoints are not finite" in str(stopped.value) for key in bad)
    assert run.steps_done == 3 and f"All up to step 3 is in {tmp_path / 'step_00000003'}" in str(stopped.value)
    again = trial.begin()
    assert again.resume(tmp_path) and again.steps_done == 3
    assert all(value.isfinite().all() for value in again.model.state_dict().values())
    # With the samples repaired it goes on from there.
    trial.samples, trial.settings = people, replace(trial.settings, steps=5)
    assert trial.train(again).steps_done == 5


def test_a_run_with_bad_samples_that_goes_on_from_a_snapshot_ends_as_an_unbroken_one(trial, people, tmp_path):
    trial.samples = with_keypoint(people, BAD, xy=torch.nan)
    schedule = Schedule(folder=tmp_path, save_every=2, progress=False)
    unbroken = trial.train(schedule=schedule)
    shutil.rmtree(tmp_path / f"step_{QUICK.steps:08d}")
    resumed = trial.begin()
    assert resumed.resume(tmp_path) and resumed.steps_done == 2
    trial.train(resumed)
    assert same_weights(unbroken, resumed)
    assert without_seconds(resumed.history) == without_seconds(unbroken.history)


def test_a_report_names_ten_bad_samples_and_counts_the_others(trial, people, prior):
    count = 12
    keypoints = Keypoints(people.keypoints.xy * torch.nan, people.keypoints.confidence)
    trial.samples = replace(people, keypoints=keypoints)
    trial.settings = replace(QUICK, batch_size=count, steps=9, max_bad_steps=2)
    run, fresh = trial.begin(), trial.begin()
    with pytest.raises(FloatingPointError, match=r"not finite for 2 steps in a row.*and 2 more\.") as stopped:
        trial.train(run)
    assert str(stopped.value).count("its keypoints are not finite") == 10
    assert same_weights(run, fresh) and run.fits.updates.sum() == 0


@dataclass(frozen=True)
class FailingSolver:
    """Levenberg-Marquardt, whose answer for one sample is spoilt."""

    spoil: str

    def __call__(self, problem, start):
        found = LevenbergMarquardt(steps=3)(problem, start)
        unknowns, energy = found.unknowns.clone(), found.energy.clone()
        if len(unknowns) == COUNT:
            if self.spoil == "unknowns":
                unknowns[BAD, 40] = torch.nan
            elif self.spoil == "behind the camera":
                unknowns[BAD, -1] = -5
            else:
                energy[BAD] = torch.inf
        return replace(found, unknowns=unknowns, energy=energy)


@pytest.mark.parametrize("judge", ["reprojection", "objective"])
@pytest.mark.parametrize("spoil", ["unknowns", "energy", "behind the camera"])
def test_a_fit_whose_solver_failed_is_flagged_and_never_kept(trial, people, prior, spoil, judge):
    fit = replace(QUICK.fit, body_solver=FailingSolver(spoil))
    dictionary, said, batch = mean_dictionary(prior), said_by(people), batch_of(people)
    found = smplify.fit(trial.human, prior, batch.keypoints, spin.start_from(said), fit)
    assert found.usable.tolist() == [key != BAD for key in range(COUNT)]
    world = World(trial.human, prior, replace(QUICK, fit=fit, judge=judge))
    target, _, new, updated = spin.supervise(said, batch, dictionary, world, 0)
    assert new[BAD].isinf() and not updated[BAD] and updated.sum() > COUNT / 2
    assert dictionary.updates[BAD] == 0 and dictionary.error[BAD].isinf()
    assert dictionary.rotvec.isfinite().all() and target.rotmat.isfinite().all()


def test_a_fit_that_cannot_descend_is_kept_only_where_its_start_is_better(trial, people, prior):
    stuck = replace(QUICK.fit, camera_solver=None, body_solver=LevenbergMarquardt(steps=0))
    dictionary, said, batch = mean_dictionary(prior), said_by(people, noise=0.8), batch_of(people)
    world = World(trial.human, prior, replace(QUICK, fit=stuck))
    _, old, new, updated = spin.supervise(said, batch, dictionary, world, 0)
    assert torch.equal(updated, new < old) and updated.any() and not updated.all()


@pytest.mark.parametrize("part", ["rotmat", "betas", "weak"])
def test_an_answer_that_is_not_finite_starts_no_fit_that_is_kept(trial, people, prior, part):
    said = said_by(people)
    getattr(said, part)[BAD] = torch.nan
    spoilt, clean = mean_dictionary(prior), mean_dictionary(prior)
    target, _, new, updated = spin.supervise(said, batch_of(people), spoilt, trial.world, 0)
    spin.supervise(said_by(people), batch_of(people), clean, trial.world, 0)
    assert new[BAD].isinf() and not updated[BAD] and target.rotmat.isfinite().all()
    torch.testing.assert_close(spoilt.rotvec[OTHERS], clean.rotvec[OTHERS], atol=1e-4, rtol=0)


@pytest.mark.parametrize("field, value", [("keypoint_limit", 0.0), ("max_bad_share", -0.1), ("max_bad_share", 1.5)])
def test_limits_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"SpinSettings\.{field} must"):
        replace(QUICK, **{field: value})


def test_a_batch_can_be_empty_or_of_one(people, trial, prior):
    for count in (0, 1):
        batch = data.make_batch(people, torch.arange(count), Change.none(count), 64)
        assert len(batch) == count and batch.image.shape == (count, 3, 64, 64)
        some = torch.arange(count)
        said = replace(said_by(people), **{n: getattr(said_by(people), n)[some] for n in ("rotmat", "betas", "weak")})
        target, _, _, updated = spin.supervise(said, batch, mean_dictionary(prior), trial.world, 0)
        assert len(updated) == len(target.valid) == count
    outcome = spin.step(Unasked(), batch[torch.arange(0)], mean_dictionary(prior), trial.world, 0)
    assert not outcome.applied and not outcome.refused
