"""The loop: what supervises in each mode, losses by hand, order and rates, interruptions that leave no trace."""

import signal
from dataclasses import replace
from itertools import pairwise

import crowd
import pytest
import roma
import torch
from trial import (
    COUNT,
    QUICK,
    Trial,
    batch_of,
    labelled,
    make_people,
    mean_dictionary,
    said_by,
    same_weights,
    seeded,
    true_dictionary,
)

from spinkit import camera, crop, priors, smplify, spin
from spinkit.crop import Change
from spinkit.fits import FitDictionary
from spinkit.keypoints import Keypoints
from spinkit.spin import Schedule, SpinSettings, World
from spinkit.spin.step import Bodies, charge, keypoint_loss


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return make_people(human)


@pytest.fixture
def trial(human, prior, people):
    return Trial(human, prior, people)


def supervised(trial, dictionary, samples=None, number=5, **settings):
    """Target, old errors, new errors and updates of one batch of all people."""
    samples = samples or trial.samples
    world = World(trial.human, trial.prior, replace(trial.settings, **settings))
    return spin.supervise(said_by(samples), batch_of(samples), dictionary, world, number)


@pytest.mark.parametrize("mode", spin.MODES)
def test_in_every_mode_the_network_learns_and_only_the_loop_writes_fits(trial, mode):
    trial.settings = replace(QUICK, mode=mode)
    begun, run = trial.begin(), trial.train()
    assert run.steps_done == 4 and not same_weights(begun, run)
    assert all(p.isfinite().all() for p in run.model.state_dict().values())
    changed = int(run.fits.updates.sum())
    assert changed > 0 if mode == "loop" else changed == 0
    assert torch.equal(run.fits.rotvec, begun.fits.rotvec) == (mode != "loop")
    assert len(run.fits.events().key) == changed


def test_the_loop_keeps_and_supervises_with_the_better_of_two_fits(trial, prior):
    dictionary = mean_dictionary(prior)
    before = dictionary.rotvec.clone()
    target, old, new, updated = supervised(trial, dictionary)
    assert updated.float().mean() > 0.7
    assert torch.equal(updated, new < old)
    stored = roma.rotvec_to_rotmat(dictionary.rotvec)
    torch.testing.assert_close(target.rotmat, stored, atol=1e-5, rtol=0)
    assert torch.equal(dictionary.rotvec[~updated], before[~updated])
    torch.testing.assert_close(dictionary.error[updated], new[updated])
    assert torch.equal(target.valid, torch.minimum(old, new) < QUICK.reprojection_threshold)


def test_fits_of_changed_crops_are_stored_as_the_untouched_image_shows_them(trial, people, prior):
    change = Change.random(COUNT, seeded(2))
    dictionary, said = mean_dictionary(prior), said_by(people)
    changed = crop.change_rotvec(change, roma.rotmat_to_rotvec(said.rotmat))
    said = replace(said, rotmat=roma.rotvec_to_rotmat(changed))
    target, _, _, updated = spin.supervise(said, batch_of(people, change), dictionary, trial.world, 0)
    assert updated.sum() > COUNT / 2 and change.mirror[updated].any()
    shown = crop.change_rotvec(change, dictionary.rotvec)
    torch.testing.assert_close(target.rotmat, roma.rotvec_to_rotmat(shown), atol=1e-4, rtol=0)
    # Near the truth of the untouched image, so mirror and turn were undone.
    away = (roma.rotvec_to_rotmat(dictionary.rotvec) - roma.rotvec_to_rotmat(people.judge.rotvec))[updated]
    assert away.square().mean() < 0.1


def test_a_better_stored_fit_is_not_replaced(trial, people):
    exact = crowd.draw_exactly(trial.human, COUNT, seed=4)
    samples = replace(people, keypoints=exact.keypoints, judge=replace(people.judge, rotvec=exact.rotvec))
    dictionary = FitDictionary(exact.rotvec, exact.betas, torch.zeros(COUNT))
    target, old, _, updated = supervised(trial, dictionary, samples)
    assert not updated.any() and old.max() < 1e-2
    torch.testing.assert_close(target.rotmat, roma.rotvec_to_rotmat(exact.rotvec), atol=1e-5, rtol=0)
    assert target.valid.all()


def test_leaving_the_regressed_pose_is_charged_as_the_fit_does(trial, people, prior, human):
    batch, fit = batch_of(people), QUICK.fit
    start, betas = people.judge.rotvec, people.judge.betas
    turned, bent = start.clone(), start.clone()
    turned[:, :1] = roma.rotvec_composition([torch.tensor([0.0, 0.25, 0.0]).expand(COUNT, 1, 3), start[:, :1]])
    bent[:, 4:6, 1] += 0.25
    away = (bent - start)[:, 1:].flatten(1)
    precision = prior.precisions[priors.winner(prior, start[:, 1:].flatten(1))]
    by_prior = 0.5 * fit.start_weight**2 * torch.einsum("bi,bij,bj->b", away, precision, away)
    seen = (smplify.counted(people.keypoints) > 0).sum(1)
    by_turn = torch.full((COUNT,), fit.turn_weight**2 * 0.25**2)
    for rotvec, expected in ((start, torch.zeros(COUNT)), (turned, by_turn), (bent, by_prior)):
        _, error = smplify.judge(human, batch.keypoints, rotvec, betas, fit)
        found = charge(Bodies(rotvec, betas), start, batch.keypoints, trial.world) - error
        torch.testing.assert_close(found, expected / seen, rtol=1e-2, atol=1e-2)


def test_judged_by_the_objective_nearness_to_what_the_network_says_counts_too(trial, people, prior, human):
    said, batch, fit = said_by(people, noise=0.2), batch_of(people), QUICK.fit
    stored, betas = people.judge.rotvec, people.judge.betas
    start = spin.start_from(said)
    new = smplify.fit(human, prior, batch.keypoints, start, fit)
    bodies = ((stored, betas), (new.rotvec, new.betas))
    old_charge, new_charge = (charge(Bodies(*body), start.rotvec, batch.keypoints, trial.world) for body in bodies)
    kept = {}
    for judge in ("reprojection", "objective"):
        dictionary = FitDictionary(stored, betas, torch.zeros(COUNT))
        world = World(human, prior, replace(QUICK, judge=judge))
        _, old_error, new_error, kept[judge] = spin.supervise(said, batch, dictionary, world, 0)
        better = new_error < old_error if judge == "reprojection" else new_charge < old_charge
        assert torch.equal(kept[judge], better)
        # The history tells the errors in pixels, whoever judged.
        torch.testing.assert_close(dictionary.events().after, new_error[better])
    assert not torch.equal(kept["reprojection"], kept["objective"])


def test_before_the_first_fitting_step_nothing_is_fitted(trial, prior):
    dictionary = mean_dictionary(prior)
    _, _, new, updated = supervised(trial, dictionary, number=9, first_fit_step=10)
    assert not updated.any() and new.isinf().all()
    assert supervised(trial, dictionary, number=10, first_fit_step=10)[3].any()


@pytest.mark.parametrize("mode", spin.MODES)
def test_labels_stand_above_fits(trial, people, prior, mode):
    samples = labelled(people, [1, 4])
    target, *_ = supervised(trial, mean_dictionary(prior), samples, mode=mode)
    true = roma.rotvec_to_rotmat(people.judge.rotvec)
    torch.testing.assert_close(target.rotmat[[1, 4]], true[[1, 4]], atol=1e-5, rtol=0)
    torch.testing.assert_close(target.betas[[1, 4]], people.judge.betas[[1, 4]])
    assert target.valid[[1, 4]].all()


def test_labels_are_hidden_where_they_are_not_to_be_used(trial, people, prior):
    with_labels = supervised(trial, mean_dictionary(prior), labelled(people, [1, 4]), use_labels=False)
    without = supervised(trial, mean_dictionary(prior), people)
    assert torch.equal(with_labels[0].rotmat, without[0].rotmat)
    assert torch.equal(with_labels[0].valid, without[0].valid)
    batch = batch_of(labelled(people, [1, 4]))
    world = World(trial.human, trial.prior, replace(QUICK, use_labels=False))
    found = spin.losses(said_by(people), without[0], batch, world)
    assert "joints" not in found or found["joints"] == 0


def test_where_keypoints_alone_supervise_the_pose_loss_is_zero(trial, people, prior):
    target, *_, updated = supervised(trial, mean_dictionary(prior), mode="reprojection")
    assert not target.valid.any() and not updated.any()
    found = spin.losses(said_by(people), target, batch_of(people), trial.world)
    assert found["pose"] == found["betas"] == 0
    assert found["keypoints"] > 0


def test_the_oracle_supervises_with_the_truth_and_needs_one(trial, people):
    samples = replace(people, labels=people.judge)
    target, *_ = supervised(trial, true_dictionary(people), samples, mode="oracle")
    torch.testing.assert_close(target.rotmat, roma.rotvec_to_rotmat(people.judge.rotvec), atol=1e-5, rtol=0)
    assert target.valid.all()
    trial.samples, trial.settings = replace(people, judge=None), replace(QUICK, mode="oracle")
    with pytest.raises(ValueError, match="mode 'oracle' needs true parameters"):
        trial.train()


@pytest.mark.parametrize("mode", ["static", "loop", "reprojection"])
def test_no_other_mode_looks_at_the_hidden_truth(trial, people, mode):
    trial.settings = replace(QUICK, mode=mode, steps=2)
    honest = trial.train()
    garbage = replace(
        people.judge, rotvec=torch.full((COUNT, 24, 3), torch.nan), joints=torch.full((COUNT, 24, 4), 1e9)
    )
    for judge in (garbage, None):
        trial.samples = replace(people, judge=judge)
        assert same_weights(trial.train(), honest)


def test_improbable_shapes_do_not_supervise_but_stay_in_the_dictionary(trial, people):
    betas = people.judge.betas.clone()
    betas[3, 7] = -3.5
    dictionary = true_dictionary(people, betas)
    target, *_ = supervised(trial, dictionary, mode="static")
    expected = betas.clone()
    expected[3] = 0
    torch.testing.assert_close(target.betas, expected)
    torch.testing.assert_close(dictionary.betas, betas)


def test_a_fit_far_from_its_keypoints_does_not_supervise(trial, people):
    rotvec = people.judge.rotvec.clone()
    rotvec[::2] = rotvec[::2] + 0.8 * torch.randn(rotvec[::2].shape, generator=seeded())
    dictionary = FitDictionary(rotvec, people.judge.betas, torch.zeros(COUNT))
    target, old, *_ = supervised(trial, dictionary, mode="static")
    assert torch.equal(target.valid, old < 204)
    assert target.valid[1::2].float().mean() > target.valid[::2].float().mean()


def test_a_start_for_a_fit_lies_before_the_camera_with_possible_betas(people):
    said = said_by(people)
    said = replace(said, weak=said.weak - torch.tensor([2.0, 0, 0]), betas=said.betas + 10)
    start = spin.start_from(said)
    assert (start.camera.translation[:, 2] > 0).all() and start.betas.max() <= 3
    torch.testing.assert_close(roma.rotvec_to_rotmat(start.rotvec), said.rotmat, atol=1e-5, rtol=0)


def published_losses(human, said, target, batch):
    """The losses of SPIN's trainer, term by term, for gt_train_weight 1 and openpose_train_weight 0."""
    points = human.keypoints(said.rotmat, said.betas)
    s, tx, ty = said.weak.unbind(-1)
    moved = points + torch.stack([tx, ty, 2 * 5000 / (224 * s + 1e-9)], dim=-1)[:, None]
    projected = 5000 * moved[..., :2] / moved[..., 2:] / 112
    wanted = 2 * batch.keypoints.xy / 224 - 1
    confidence = batch.keypoints.confidence.clone()
    confidence[:, :25] = 0
    keypoint = (confidence[..., None] * (projected - wanted) ** 2).sum() / (len(s) * 49 * 2)

    known = batch.labels.has_pose_3d
    predicted, true = points[known, 25:], batch.labels.joints[known, :, :3]
    predicted = predicted - (predicted[:, 2:3] + predicted[:, 3:4]) / 2
    true = true - (true[:, 2:3] + true[:, 3:4]) / 2
    joint = (batch.labels.joints[known, :, 3:] * (predicted - true) ** 2).mean()

    pose = ((said.rotmat - target.rotmat)[target.valid] ** 2).mean()
    betas = ((said.betas - target.betas)[target.valid] ** 2).mean()
    sign = (torch.exp(-10 * s) ** 2).mean()
    total = 60 * (5 * keypoint + 5 * joint + pose + 0.001 * betas + sign)
    return {"keypoints": keypoint, "joints": joint, "pose": pose, "betas": betas, "sign": sign, "total": total}


def test_losses_are_the_published_ones(trial, people, human):
    samples = labelled(people, [0, 2, 7])
    missing = samples.labels.joints.clone()
    missing[2, 5, 3] = 0
    samples = replace(samples, labels=replace(samples.labels, joints=missing))
    batch, said = batch_of(samples), said_by(people)
    valid = torch.arange(COUNT) % 3 == 0
    target = spin.Target(roma.rotvec_to_rotmat(people.judge.rotvec), people.judge.betas, valid)
    found = spin.losses(said, target, batch, trial.world)
    expected = published_losses(human, said, target, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_openpose_keypoints_count_in_the_loss_where_they_are_weighed(trial, people):
    both = crowd.draw(trial.human, COUNT, openpose=True).keypoints
    batch = batch_of(replace(people, keypoints=both))
    said, target = said_by(people), supervised(trial, true_dictionary(people), mode="static")[0]
    worlds = [replace(trial.world, settings=replace(QUICK, openpose_weight=w)) for w in (0.0, 1.0)]
    without, with_them = (spin.losses(said, target, batch, world)["keypoints"] for world in worlds)
    assert with_them > 1.2 * without


def test_a_mesh_loss_is_there_when_asked_for(trial, people, human):
    batch, said = batch_of(people), said_by(people)
    target = spin.Target(said.rotmat, said.betas + 1, torch.ones(COUNT, dtype=torch.bool))
    world = replace(trial.world, settings=replace(QUICK, vertex_weight=1.0))
    expected = (human.vertices(said.rotmat, said.betas) - human.vertices(said.rotmat, said.betas + 1)).abs().mean()
    torch.testing.assert_close(spin.losses(said, target, batch, world)["vertices"], expected)


def test_a_loss_on_points_ignores_where_the_body_stands_and_who_has_no_target(trial, people, human):
    batch, said = batch_of(people), said_by(people)
    valid = torch.arange(COUNT) != 3
    same = spin.Target(said.rotmat, said.betas, valid)
    world = replace(trial.world, settings=replace(QUICK, point_weight=2.0))
    assert spin.losses(said, same, batch, world)["points"] == 0
    other = spin.Target(roma.rotvec_to_rotmat(people.judge.rotvec), people.judge.betas, valid)
    found = spin.losses(said, other, batch, world)
    points, wanted = (human.keypoints(t.rotmat, t.betas)[valid, 25:] for t in (same, other))
    points, wanted = (p - p[:, 2:4].mean(1, keepdim=True) for p in (points, wanted))
    torch.testing.assert_close(found["points"], (points - wanted).square().mean())
    without = spin.losses(said, other, batch, trial.world)
    assert "points" not in without
    torch.testing.assert_close(found["total"] - without["total"], 60 * 2 * found["points"])


@pytest.mark.parametrize("hardware", [True, False])
def test_the_network_computes_in_bfloat16_only_where_the_processor_does_so_in_hardware(
    trial, people, prior, monkeypatch, hardware
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": hardware})
    batch, outcomes = batch_of(people), {}
    for wanted in (False, True):
        world = World(trial.human, prior, replace(QUICK, bfloat16=wanted, first_fit_step=9))
        outcomes[wanted] = spin.step(trial.begin().model.eval(), batch, mean_dictionary(prior), world, 0).losses
    plain, half = outcomes[False], outcomes[True]
    assert all(loss.dtype == torch.float32 for loss in half.values())
    assert (plain["keypoints"] == half["keypoints"]) == (not hardware)
    torch.testing.assert_close(half["total"], plain["total"], rtol=0.05, atol=0)


@pytest.mark.parametrize("count", [3, 4, 10, 23])
def test_every_epoch_visits_every_sample_once(count):
    visited = torch.cat([spin.batch_keys(count, QUICK, number) for number in range(30)])
    for epoch in range(len(visited) // count):
        assert visited[epoch * count : (epoch + 1) * count].sort().values.tolist() == list(range(count))
    if count > 4:
        assert visited[:count].tolist() != visited[count : 2 * count].tolist()
        assert visited[:count].tolist() != spin.batch_keys(count, replace(QUICK, seed=1, batch_size=count), 0).tolist()


def test_the_learning_rate_rises_and_then_falls_along_half_a_cosine():
    settings = replace(QUICK, steps=100, warmup=10, learning_rate=2.0, final_learning_rate=0.1)
    rates = [spin.learning_rate(settings, number) for number in range(101)]
    assert rates[0] == pytest.approx(0.2) and rates[4] == pytest.approx(1.0, rel=0.01)
    assert max(rates) == pytest.approx(2.0, rel=0.05)
    assert rates[50] == pytest.approx(1.1) and rates[100] == pytest.approx(0.2)
    assert all(later < sooner for sooner, later in pairwise(rates[10:]))
    assert spin.learning_rate(QUICK, 3) == QUICK.learning_rate


class Steep(torch.autograd.Function):
    """What it is given, with a gradient that is not finite."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * torch.inf


def test_a_finite_loss_with_an_infinite_gradient_changes_nothing_and_is_counted(trial, monkeypatch):
    run, fresh = trial.begin(), trial.begin()
    outcome = spin.one_step(run, trial.samples, trial.world, 0)
    assert outcome.applied and not same_weights(run, fresh)
    steep = trial.begin()
    forward = type(steep.model).forward

    def answer(model, *given):
        said = forward(model, *given)
        return replace(said, betas=Steep.apply(said.betas))

    monkeypatch.setattr(type(steep.model), "forward", answer)
    outcome = spin.one_step(steep, trial.samples, trial.world, 0)
    assert outcome.losses["total"].isfinite() and not outcome.applied
    # The running averages of normalisation are as they were, too.
    assert same_weights(steep, fresh)


def test_training_stops_where_no_step_is_finite(trial, people):
    keypoints = Keypoints(torch.full_like(people.keypoints.xy, torch.nan), torch.ones(COUNT, 49))
    trial.samples = replace(people, keypoints=keypoints)
    trial.settings = replace(QUICK, steps=50, max_bad_steps=3)
    run, fresh = trial.begin(), trial.begin()
    with pytest.raises(FloatingPointError, match="not finite for 3 steps in a row"):
        trial.train(run)
    assert same_weights(run, fresh) and run.steps_done == 3


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


@pytest.mark.parametrize("interrupted_by", ["end of a save", "a key"])
def test_an_interrupted_run_ends_bit_for_bit_as_an_unbroken_one(trial, people, tmp_path, interrupted_by):
    trial.samples = labelled(people, [1])
    trial.settings = replace(QUICK, steps=6)

    def judge(run):
        return {"measured": float(run.fits.rotvec.sum())}

    unbroken = trial.train(schedule=Schedule(2, 2, tmp_path / "unbroken", False), judge=judge)
    schedule = Schedule(2, 2, tmp_path / "broken", False)

    def stop(run):
        if run.steps_done == 4 and interrupted_by == "a key":
            signal.raise_signal(signal.SIGINT)
        elif run.steps_done == 4:
            raise SystemExit
        return judge(run)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trial.train(schedule=schedule, judge=stop)
    resumed = trial.begin()
    assert resumed.resume(schedule.folder)
    assert resumed.steps_done == (4 if interrupted_by == "a key" else 2)
    trial.train(resumed, schedule, judge)
    assert same_weights(unbroken, resumed)
    for name, array in unbroken.fits.arrays().items():
        assert (array == resumed.fits.arrays()[name]).all(), name
    assert without_seconds(resumed.history) == without_seconds(unbroken.history)


def test_a_run_without_a_snapshot_has_nothing_to_go_on_from(trial, tmp_path):
    assert not trial.begin().resume(tmp_path / "nothing")


def test_the_history_holds_losses_shares_and_what_the_judge_said(trial, people):
    # Some batches hold the one person with 3D labels, others do not.
    trial.samples = labelled(people, [1])
    run = trial.train(schedule=Schedule(judge_every=2, progress=False), judge=lambda run: {"marks": run.steps_done})
    judged = [record for record in run.history if "marks" in record]
    assert [r["step"] for r in judged] == [2, 4] and judged[-1]["marks"] == 4
    record = run.history[-2]
    assert record["step"] == 4 and record["skipped"] == 0
    assert {"loss_total", "loss_pose", "loss_joints", "updated", "valid", "stored_error"} <= set(record)


def test_the_same_seed_trains_the_same_network(trial):
    trial.settings = replace(QUICK, steps=2)
    one, other = trial.begin(), trial.begin()
    state = torch.random.get_rng_state()
    trial.train(one)
    assert same_weights(one, trial.train(other))
    assert torch.equal(torch.random.get_rng_state(), state)
    trial.settings = replace(QUICK, steps=2, seed=1)
    assert not same_weights(one, trial.train())


def test_training_leaves_its_samples_alone(trial, people):
    held = (people.keypoints.xy, people.keypoints.confidence, people.judge.rotvec, people.images[torch.arange(COUNT)])
    before = [t.clone() for t in held]
    trial.train()
    after = (*held[:3], people.images[torch.arange(COUNT)])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "field, value",
    [
        ("mode", "dreams"),
        ("judge", "taste"),
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("max_bad_steps", 0),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"SpinSettings\.{field} must"):
        SpinSettings(**{field: value})


def test_the_camera_of_the_keypoint_loss_is_the_crops(people, human):
    said = said_by(people)
    points = human.keypoints(said.rotmat, said.betas)
    xy = camera.project(camera.from_weak(said.weak), points)
    seen = Keypoints(xy, torch.ones(COUNT, 49))
    assert keypoint_loss(points, said.weak, seen, QUICK) == 0
