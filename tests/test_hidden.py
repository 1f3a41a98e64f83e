"""Joints that no keypoint sees: who they are, and that leaving them to the prior changes nothing but the search."""

from dataclasses import replace

import crowd
import pytest
import roma
import torch

from spinkit import priors, smplify
from spinkit.keypoints import Keypoints
from spinkit.smplify import SmplifySettings, Start
from spinkit.smplify.evidence import LEAST_CONFIDENCE
from spinkit.smplify.hidden import by_feet, left_to_prior, searched
from spinkit.solvers import LevenbergMarquardt

FEET, BEYOND_WRISTS = {7, 8, 10, 11}, {20, 21, 22, 23}
TOES = list(range(19, 25))
"""OpenPose's toes and heels."""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return crowd.draw(human, 24, openpose=True)


def without(keypoints, points):
    confidence = keypoints.confidence.clone()
    confidence[:, points] = 0
    return Keypoints(keypoints.xy, confidence)


def starts(people):
    noise = 0.2 * torch.randn(people.rotvec.shape, generator=seeded())
    return Start(people.rotvec + noise, torch.zeros_like(people.betas), people.camera)


@pytest.fixture(scope="module", params=["with toes", "without toes"])
def seen_by(request, human, prior, people):
    """Keypoints, and what they leave to the prior."""
    keypoints = people.keypoints if request.param == "with toes" else without(people.keypoints, TOES)
    return keypoints, left_to_prior(human.keypoints_only(), prior, keypoints, SmplifySettings())


def searching(human, prior, keypoints, start, settings):
    """The problem that a fit solves."""
    layer = human.keypoints_only()
    whole = smplify.body_stage(layer, prior, keypoints, start.camera, start, settings)
    return whole.leaving(left_to_prior(layer, prior, keypoints, settings))


def joints(hidden):
    return {int(number) // 3 for number in hidden.left}


def test_wrists_and_hands_are_hidden_and_feet_where_toes_and_heels_are_missing(human, prior, people):
    layer = human.keypoints_only()

    def hidden(keypoints):
        return joints(left_to_prior(layer, prior, keypoints, SmplifySettings()))

    assert hidden(people.keypoints) == BEYOND_WRISTS
    assert hidden(without(people.keypoints, TOES)) == BEYOND_WRISTS | FEET
    # One person's toe is enough.
    some = without(people.keypoints, TOES)
    some.confidence[3, TOES[0]] = 0.5
    assert hidden(some) == BEYOND_WRISTS
    assert left_to_prior(layer, prior, people.keypoints, SmplifySettings(solve_hidden=True)) is None


def test_no_keypoint_moves_with_a_hidden_joint_and_some_with_every_other(human, people, seen_by):
    keypoints, hidden = seen_by
    present = (keypoints.confidence > 0).any(0)
    rotmat = roma.rotvec_to_rotmat(people.rotvec[:1])
    before = human.keypoints(rotmat, people.betas[:1])[:, present]
    for joint in range(24):
        turned = rotmat.clone()
        turned[:, joint] = roma.rotvec_to_rotmat(torch.tensor([[0.4, -0.5, 0.3]])) @ turned[:, joint]
        moved = (human.keypoints(turned, people.betas[:1])[:, present] - before).norm(dim=-1).max()
        assert moved < 1e-6 if joint in joints(hidden) else moved > 1e-3, joint


def test_what_is_left_to_the_prior_is_where_it_charges_least(prior, people, seen_by):
    _, hidden = seen_by
    exact, pose = prior.to(torch.float64), searched(people.rotvec, hidden)[:, 3:]
    for component in range(len(prior.means)):
        chosen = torch.full((len(pose),), component)
        whole = hidden.joined(pose, hidden.expected(pose, chosen))
        assert torch.equal(whole[:, hidden.seen - 3], pose)
        charged, expected = priors.charges(prior, whole), priors.charges(hidden.prior, pose)
        torch.testing.assert_close(charged[:, component], expected[:, component], rtol=1e-3, atol=1e-2)
        leaf = whole.double().requires_grad_()
        (slope,) = torch.autograd.grad(priors.charges(exact, leaf)[:, component].sum(), leaf)
        left, found = hidden.left - 3, hidden.seen - 3
        assert slope[:, left].abs().max() < 1e-3 * slope[:, found].abs().max()


@pytest.mark.parametrize("moves", [False, True], ids=["still camera", "moving camera"])
def test_a_search_without_hidden_joints_knows_its_derivative(human, prior, people, seen_by, moves):
    keypoints, _ = seen_by
    settings = SmplifySettings(start_weight=3.0, turn_weight=10.0, camera_moves=moves)
    exact, doubled = human.to(torch.float64), prior.to(torch.float64)
    start = Start(people.rotvec.double(), people.betas.double(), people.camera.to(torch.float64))
    marked = Keypoints(keypoints.xy.double(), keypoints.confidence.double())
    stage = searching(exact, doubled, marked, start, settings)
    unknowns = stage.pack(start.rotvec, start.betas, start.camera.translation)
    assert unknowns.shape[1] == 85 - len(stage.hidden.left) - (0 if moves else 3)
    unknowns = unknowns + 0.2 * torch.randn(unknowns.shape, generator=seeded(), dtype=torch.float64)
    energy, _, gradient = stage.linearize(unknowns.clone())
    leaf = unknowns.clone().requires_grad_()
    total = stage.residuals(leaf).square().sum(1)
    (slope,) = torch.autograd.grad(total.sum(), leaf)
    torch.testing.assert_close(energy, total.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(2 * gradient, slope, rtol=1e-7, atol=1e-5)


def test_bodies_come_apart_as_they_were_put_together(human, prior, people, seen_by):
    keypoints, hidden = seen_by
    start = starts(people)
    stage = searching(human, prior, keypoints, start, smplify.quick())
    rotvec, betas, translation = stage.unpack(stage.pack(start.rotvec, start.betas, start.camera.translation))
    torch.testing.assert_close(searched(rotvec, hidden), searched(start.rotvec, hidden))
    torch.testing.assert_close((betas, translation), (start.betas, start.camera.translation))
    assert (rotvec - start.rotvec).abs().amax((0, 2)).nonzero()[:, 0].tolist() == sorted(joints(hidden))


def test_where_a_fit_ends_a_search_of_all_joints_finds_nothing_lower(human, prior, people, seen_by):
    keypoints, _ = seen_by
    solver = LevenbergMarquardt(steps=150, tolerance=1e-7, damping=1.0, shrink=0.6, plain=3000.0)
    settings = SmplifySettings(body_solver=solver)
    found = smplify.fit(human, prior, keypoints, starts(people), settings)
    ended = Start(found.rotvec, found.betas, found.camera)
    stage = smplify.body_stage(human.keypoints_only(), prior, keypoints, found.camera, ended, settings)
    lower = solver(stage, stage.pack(found.rotvec, found.betas, found.camera.translation)).energy
    assert found.usable.all()
    torch.testing.assert_close(found.total, lower, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("settings", [smplify.quick(), SmplifySettings()], ids=["quick", "default"])
def test_people_with_and_without_toes_are_fitted_as_if_among_their_like(human, prior, people, settings):
    barefoot = torch.arange(24) % 3 == 0
    confidence = people.keypoints.confidence.clone()
    confidence[barefoot.nonzero(), torch.tensor(TOES)] = 0
    mixed, start = Keypoints(people.keypoints.xy, confidence), starts(people)
    groups = by_feet(human.keypoints_only(), mixed, settings)
    assert [g.tolist() for g in groups] == [(~barefoot).nonzero()[:, 0].tolist(), barefoot.nonzero()[:, 0].tolist()]
    assert len(by_feet(human.keypoints_only(), mixed, smplify.published())) == 1
    together = smplify.fit(human, prior, mixed, start, settings)
    for rows in groups:
        alone = smplify.fit(human, prior, mixed[rows], start[rows], settings)
        torch.testing.assert_close(together.rotvec[rows], alone.rotvec, atol=1e-4, rtol=0)
        torch.testing.assert_close(together.total[rows], alone.total)


def test_hidden_joints_are_where_prior_and_tie_together_are_lowest(human, prior, people, seen_by):
    keypoints, hidden = seen_by
    settings = SmplifySettings(start_weight=3.0)
    exact, doubled = human.to(torch.float64), prior.to(torch.float64)
    begun = starts(people)
    start = Start(begun.rotvec.double(), begun.betas.double(), begun.camera.to(torch.float64))
    marked = Keypoints(keypoints.xy.double(), keypoints.confidence.double())
    stage = searching(exact, doubled, marked, start, settings)
    unknowns = stage.pack(people.rotvec.double(), start.betas, start.camera.translation)
    rotvec, betas, translation = stage.unpack(unknowns)
    whole = smplify.body_stage(exact.keypoints_only(), doubled, marked, start.camera, start, settings)
    held = replace(whole, component=priors.winner(stage.prior, unknowns[:, 3 : stage.turning]))
    leaf = whole.pack(rotvec, betas, translation).requires_grad_()
    terms = held.terms(leaf)
    (slope,) = torch.autograd.grad((terms["pose"].square().sum() + terms["start"].square().sum()), leaf)
    assert slope[:, hidden.left].abs().max() < 1e-4 * slope[:, hidden.seen].abs().max()


@pytest.mark.parametrize("weight", [0.0, 5.0, 1e3])
def test_a_tie_holds_hidden_joints_too(human, prior, people, seen_by, weight):
    keypoints, hidden = seen_by
    settings = replace(smplify.quick(), start_weight=weight)
    found = smplify.fit(human, prior, keypoints, starts(people), settings)
    moved = (found.rotvec - starts(people).rotvec)[:, sorted(joints(hidden))].norm(dim=-1).mean()
    assert {0.0: 0.3, 5.0: 0.1, 1e3: 0.0}[weight] < moved < {0.0: 2.0, 5.0: 0.3, 1e3: 1e-2}[weight]


@pytest.mark.parametrize("settings", [smplify.quick(), SmplifySettings()], ids=["quick", "default"])
def test_where_no_step_is_taken_no_joint_moves(human, prior, people, seen_by, settings):
    start = starts(people)
    still = replace(settings, camera_solver=None, body_solver=LevenbergMarquardt(steps=0), rival_gap=0.0)
    assert torch.equal(smplify.fit(human, prior, seen_by[0], start, still).rotvec, start.rotvec)


def test_without_a_prior_nothing_is_left_to_it(human, prior, people):
    unguided = SmplifySettings(pose_weight=0.0)
    assert left_to_prior(human.keypoints_only(), prior, people.keypoints, unguided) is None
    found = smplify.fit(human, prior, people.keypoints, starts(people), unguided)
    torch.testing.assert_close(found.rotvec[:, 20:], starts(people).rotvec[:, 20:])


def test_hidden_joints_are_not_charged_for_leaving_the_start(human, prior, people, seen_by):
    keypoints, hidden = seen_by
    away = people.rotvec.clone()
    away[:, sorted(joints(hidden))] += 0.5

    def charge(rule):
        return smplify.distance_from_start(human, prior, keypoints, people.rotvec, away, rule)

    assert (charge(smplify.quick()) == 0).all()
    assert (charge(replace(smplify.quick(), solve_hidden=True)) > 1).all()
    away[:, 4] += 0.2
    assert (charge(smplify.quick()) > 1).all()


def test_a_toe_that_is_hardly_trusted_is_missing_for_fit_and_charge_alike(human, prior, people):
    bare, doubtful = (without(people.keypoints, TOES) for _ in range(2))
    doubtful.confidence[:, TOES[0]] = 0.5 * LEAST_CONFIDENCE
    away = people.rotvec + 0.1
    charges = [
        smplify.distance_from_start(human, prior, keypoints, people.rotvec, away, smplify.quick())
        for keypoints in (bare, doubtful)
    ]
    assert torch.equal(*charges)
    fits = [smplify.fit(human, prior, keypoints, starts(people), smplify.quick()) for keypoints in (bare, doubtful)]
    assert torch.equal(fits[0].rotvec, fits[1].rotvec)
