"""How sure a fit is, against what is known of synthetic people."""

from dataclasses import replace

import crowd
import pytest
import roma
import torch

from spinkit import priors, smplify
from spinkit.keypoints import Keypoints
from spinkit.smplify import Start

PEOPLE = 192
HIPS = [27, 28]
LSP = slice(25, 39)


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def fitted(human, prior):
    """People, starts near the truth, as a regressor's are, and the fits from there."""
    people = crowd.draw(human, PEOPLE)
    noise = 0.15 * torch.randn(PEOPLE, 24, 3, generator=torch.Generator().manual_seed(2))
    rotvec = roma.rotvec_composition([people.rotvec, noise])
    start = Start(rotvec, torch.zeros(PEOPLE, 10), people.camera)
    return people, start, smplify.fit(human, prior, people.keypoints, start, smplify.initial())


def between_hips(human, rotvec, betas):
    points = human.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    return points - points[:, HIPS].mean(1, keepdim=True)


def test_true_keypoints_mostly_lie_within_two_deviations_of_the_fitted(human, prior, fitted):
    people, _, found = fitted
    spread = smplify.deviation(human, prior, people.keypoints, found, smplify.initial())
    away = between_hips(human, found.rotvec, found.betas) - between_hips(human, people.rotvec, people.betas)
    for axis, sigma in ((0, spread.across), (1, spread.across), (2, spread.depth)):
        within = (away[:, LSP, axis].abs() < 2 * sigma[:, LSP])[found.usable].float().mean()
        assert 0.85 < within < 0.99


def test_depth_is_less_sure_than_what_the_image_shows(human, prior, fitted):
    people, _, found = fitted
    spread = smplify.deviation(human, prior, people.keypoints, found, smplify.initial())
    assert spread.depth[:, LSP].median() > 1.5 * spread.across[:, LSP].median()


def test_a_limb_that_nobody_saw_is_less_sure(human, prior, fitted):
    people, start, found = fitted
    wrist = 25 + 6
    confidence = people.keypoints.confidence.clone()
    confidence[:, [wrist, wrist + 1]] = 0
    blind = Keypoints(people.keypoints.xy, confidence)
    without = smplify.fit(human, prior, blind, start, smplify.initial())
    seen = smplify.deviation(human, prior, people.keypoints, found, smplify.initial())
    unseen = smplify.deviation(human, prior, blind, without, smplify.initial())
    assert unseen.across[:, wrist].median() > 1.5 * seen.across[:, wrist].median()


def test_deviations_are_those_of_the_curvature_by_automatic_differentiation(human, root):
    exact = human.to(torch.float64)
    prior = priors.load().to(torch.float64)
    people = crowd.draw(human, 2)
    camera, keypoints = people.camera.to(torch.float64), people.keypoints.to(torch.float64)
    start = Start(people.rotvec.double(), people.betas.double(), camera)
    settings = replace(smplify.initial(), camera_moves=False)
    found = smplify.fit(exact, prior, keypoints, start, settings)
    spread = smplify.deviation(exact, prior, keypoints, found, settings)
    stage = smplify.body_stage(
        exact.keypoints_only(), prior, keypoints, found.camera, Start(found.rotvec, found.betas, found.camera), settings
    )
    unknowns = torch.cat([found.rotvec.flatten(1), found.betas], dim=1)
    _, hessian, _ = stage.linearize(unknowns)

    def places(x):
        return between_hips(exact, x[:, :72].unflatten(1, (24, 3)), x[:, 72:]).sum(0)

    change = torch.autograd.functional.jacobian(places, unknowns, vectorize=True).movedim(2, 0)
    covariance = 0.5 * settings.pose_weight**2 * torch.linalg.inv(hessian)
    variance = torch.einsum("bkxn,bnm,bkxm->bkx", change, covariance, change)
    torch.testing.assert_close(spread.depth, variance[..., 2].sqrt(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(spread.across, variance[..., :2].mean(-1).sqrt(), rtol=1e-6, atol=1e-9)


def test_what_could_not_be_fitted_has_no_deviation(human, prior):
    people = crowd.draw(human, 3)
    confidence = people.keypoints.confidence.clone()
    confidence[1] = 0
    marks = Keypoints(people.keypoints.xy, confidence)
    start = Start(people.rotvec, people.betas, people.camera)
    found = smplify.fit(human, prior, marks, start, smplify.initial())
    spread = smplify.deviation(human, prior, marks, found, smplify.initial())
    assert spread.depth[1].isnan().all() and spread.across[1].isnan().all()
    assert spread.depth[[0, 2]].isfinite().all() and (spread.depth[[0, 2]] >= 0).all()


def test_nobody_has_no_deviation_and_no_complaint(human, prior):
    people = crowd.draw(human, 2)
    start = Start(people.rotvec, people.betas, people.camera)
    found = smplify.fit(human, prior, people.keypoints, start, smplify.initial())
    spread = smplify.deviation(human, prior, people.keypoints[:0], found[:0], smplify.initial())
    assert spread.depth.shape == spread.across.shape == (0, 49)
