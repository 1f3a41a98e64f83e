"""One step of the loop, slowly: what it shows is what the step does, and the run does not notice."""

from dataclasses import replace

import pytest
import torch

from spinkit import job, lab, spin
from spinkit.job import Sources
from spinkit.lab.slow_step import copied, slow_step, weighed
from spinkit.lab.step_pictures import STAGES, StepPictures
from spinkit.spin import Run
from spinkit.view import png


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return job.prepare(job.choose("tiny"), Sources(), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def run(ready):
    return job.begin(ready)


@pytest.fixture(scope="module")
def explorer(ready, run):
    return lab.loop_step(ready, run)


def ruled(ready, **settings):
    """The same people under other settings of the loop."""
    return replace(ready, preset=replace(ready.preset, spin=replace(ready.preset.spin, **settings)))


def state_of(run):
    """Copies of all that a step of training could change."""
    arrays = {n: torch.from_numpy(a.copy()) for n, a in run.fits.arrays().items() if a.dtype.kind in "fib"}
    return {name: value.clone() for name, value in run.model.state_dict().items()} | arrays


@pytest.mark.parametrize(("number", "rule"), [(0, "objective"), (5, "objective"), (5, "reprojection")])
def test_a_slow_step_is_the_step_that_training_takes(ready, run, number, rule):
    world = ruled(ready, judge=rule).world
    slow = slow_step(run, ready.train, world, number)
    real = Run.begin(job.begin(ready).model, copied(run.fits), world.settings)
    outcome = spin.one_step(real, ready.train, world, number)
    again = spin.losses(slow.said, slow.target, slow.batch, world)
    assert again.keys() == outcome.losses.keys()
    for name, loss in outcome.losses.items():
        assert torch.equal(again[name], loss.detach()), name
    assert torch.equal(slow.outcome.updated, outcome.updated)
    assert torch.equal(slow.target.valid, outcome.valid)
    assert torch.equal(slow.outcome.old_error, outcome.old_error)
    assert (slow.new is None) == (number < world.settings.first_fit_step)


def test_the_kept_fits_are_those_of_the_lower_number(ready, run):
    slow = slow_step(run, ready.train, ready.world, 5)
    stored, new = slow.verdict
    usable = slow.outcome.new_error.isfinite()
    assert torch.equal(slow.outcome.updated, usable & (new < stored))


def test_a_slow_step_leaves_the_run_and_the_random_numbers_as_they_are(ready, run):
    before, random = state_of(run), torch.get_rng_state()
    run.model.eval()
    slow_step(run, ready.train, ready.world, 5)
    after = state_of(run)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not run.model.training and not run.history


def test_what_the_losses_add_makes_up_the_total(ready, run):
    slow = slow_step(run, ready.train, ready.world, 5)
    added = sum(weighed(slow, ready.world.settings).values())
    assert added == pytest.approx(float(slow.outcome.losses["total"].detach()), rel=1e-5)


def test_betas_beyond_the_limit_are_shown_as_zeros(ready, run):
    strict = ruled(ready, betas_limit=0.5)
    slow = slow_step(run, ready.train, strict.world, 0)
    assert slow.bent.any() and not slow.bent.all()
    assert (slow.target.betas[slow.bent] == 0).all()
    assert torch.equal(slow.target.betas[~slow.bent], slow.stored.betas[~slow.bent])


def test_every_stage_is_another_picture(explorer):
    stage, shown = explorer.widget.children[0], explorer.widget.children[-1]
    pictures = {}
    for name in STAGES:
        stage.value = name
        pictures[name] = shown.value
    assert len(set(pictures.values())) == len(STAGES)


def test_the_slider_goes_through_the_chosen_group(explorer):
    group, first = explorer.widget.children[1].children
    explorer.widget.children[0].value = "image"
    shown = explorer.widget.children[-1]
    before = shown.value
    first.value = 5
    assert shown.value != before
    group.value = group.options[-1]
    assert first.value == 0


def test_groups_share_out_the_batch(ready, run):
    slow = slow_step(run, ready.train, ready.world, 5)
    groups = StepPictures(slow, ready.body, ready.world.settings).groups
    everybody = next(iter(groups.values()))
    assert sorted(everybody.tolist()) == list(range(len(slow.batch)))
    parts = [rows for name, rows in groups.items() if "fit wins" in name or "fit stays" in name]
    assert sorted(torch.cat(parts).tolist()) == sorted(everybody.tolist())


def test_winners_and_losers_take_turns_and_can_be_met_again(ready, run):
    slow = slow_step(run, ready.train, ready.world, 5)
    won = slow.outcome.updated.clone()
    won[::3] = ~won[::3]
    mixed = replace(slow, outcome=replace(slow.outcome, updated=won))
    turns = won[mixed.order][: 2 * min(int(won.sum()), int((~won).sum()))]
    assert len(turns) and turns[::2].all() and not turns[1::2].any()
    later = StepPictures(slow, ready.body, ready.world.settings, mixed.order)
    assert torch.equal(next(iter(later.groups.values())), mixed.order)


def test_a_mode_without_fits_says_so_in_their_place(ready, run):
    explorer = lab.loop_step(ruled(ready, mode="static"), run, 5)
    explorer.widget.children[0].value = "fit"
    assert explorer.widget.children[3].value == "", "no error"
    assert explorer.still().height > 500


def test_a_failing_handle_says_what_went_wrong(explorer, monkeypatch):
    explorer.widget.children[0].value = "image"
    monkeypatch.setattr(StepPictures, "picture", lambda *_: (_ for _ in ()).throw(RuntimeError("no ink")))
    with pytest.raises(RuntimeError):
        explorer.widget.children[0].value = "loss"
    assert "no ink" in explorer.widget.children[3].value


def test_the_still_is_light(explorer):
    assert len(png(explorer.still())) < 500_000
    assert "spinkit-loop" in explorer.widget._dom_classes
