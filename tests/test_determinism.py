"""The same seed on the same machine gives the same numbers, bit for bit, whatever is made of them."""

from dataclasses import replace

import pytest
import torch
from trial import Trial, labelled, make_people, same_weights

from spinkit import people as synthetic
from spinkit import priors, smplify, spin
from spinkit.people import PeopleSettings
from spinkit.solvers import Adam, LevenbergMarquardt


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return labelled(make_people(human), [1, 4])


def without_times(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def disturb():
    """What another part of a program may have done meanwhile: it must not matter."""
    torch.manual_seed(int(torch.randint(2**31, ())))
    torch.rand(7)


def assert_same(one, other):
    assert same_weights(one, other) and without_times(one.history) == without_times(other.history)
    for name, array in one.fits.arrays().items():
        assert (array == other.fits.arrays()[name]).all(), name
    for name, value in one.optimizer.state_dict()["state"].items():
        assert all(torch.equal(v, other.optimizer.state_dict()["state"][name][k]) for k, v in value.items())


@pytest.mark.parametrize("mode", spin.MODES)
def test_every_mode_trains_to_the_same_bits_again(human, prior, people, mode):
    runs = []
    for _ in range(2):
        disturb()
        trial = Trial(human, prior, people)
        trial.settings = replace(trial.settings, mode=mode, steps=2, point_weight=1.0, clip_gradient=30.0)
        runs.append(trial.train())
    assert_same(*runs)
    assert (runs[0].fits.updates.sum() > 0) == (mode == "loop")


def test_another_seed_trains_to_other_numbers(human, prior, people):
    trial = Trial(human, prior, people)
    runs = []
    for seed in (0, 1):
        trial.settings = replace(trial.settings, steps=1, seed=seed)
        runs.append(trial.train())
    assert not same_weights(*runs)


def test_the_last_fits_are_the_same_again(human, prior, people):
    runs = []
    for _ in range(2):
        disturb()
        trial = Trial(human, prior, people)
        run = trial.begin()
        spin.sweep(run, people, trial.world, progress=False)
        runs.append(run)
    assert_same(*runs)
    assert runs[0].fits.updates.sum() > 0


def test_initial_fits_are_the_same_again(human, prior, people):
    found = []
    for _ in range(2):
        disturb()
        found.append(smplify.initial_fits(human, prior, people.keypoints[:4], headings=2))
    one, other = found
    for name in ("rotvec", "betas", "error", "iterations", "usable"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.camera.translation, other.camera.translation)
    assert all(torch.equal(one.energy[name], other.energy[name]) for name in one.energy)


@pytest.mark.parametrize("solver", ["adam", "levenberg-marquardt"])
def test_a_fit_is_the_same_again_by_either_solver(human, prior, people, solver):
    chosen = Adam(steps=5) if solver == "adam" else LevenbergMarquardt(steps=5)
    settings = smplify.SmplifySettings(camera_solver=chosen, body_solver=chosen)
    start = smplify.initial_fits(human, prior, people.keypoints[:4], headings=1)
    start = smplify.Start(start.rotvec, start.betas, start.camera)
    one, other = (smplify.fit(human, prior, people.keypoints[:4], start, settings) for _ in range(2))
    assert torch.equal(one.rotvec, other.rotvec) and torch.equal(one.error, other.error)


def test_people_are_the_same_again(human):
    settings = PeopleSettings(image_size=32)
    made = []
    for _ in range(2):
        disturb()
        made.append(synthetic.make(human, 2, 5, settings))
    one, other = made
    key = torch.arange(2)
    assert torch.equal(one.images[key], other.images[key]) and torch.equal(one.judge.rotvec, other.judge.rotvec)
    assert torch.equal(one.keypoints.xy, other.keypoints.xy)
    assert torch.equal(one.keypoints.confidence, other.keypoints.confidence)
