"""SPIN's released fitting routine, written out from its equations over smplx, against `smplify.published()`."""

import sys
from pathlib import Path

import crowd
import numpy as np
import pytest
import torch

from spinkit import keypoints, priors, smplify
from spinkit.smplify import Start

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from fitting.published import Published

STEPS = 12


@pytest.fixture(scope="module")
def people(human):
    """Four people: seen whole by a detector, or by annotators alone, and one without OpenPose's right hip."""
    drawn = crowd.draw(human, 4, seed=2, openpose=True)
    xy, confidence = drawn.keypoints.xy.double(), drawn.keypoints.confidence.double()
    confidence[0, keypoints.OPENPOSE] = 0
    confidence[1, keypoints.OPENPOSE] = confidence[1, keypoints.OPENPOSE].clamp(min=0.3)
    confidence[2, 9] = 0
    return drawn, keypoints.Keypoints(xy, confidence)


@pytest.fixture(scope="module")
def both(human, root, people):
    """What the published routine finds, and what ours does from the same start."""
    drawn, seen = people
    noise = 0.1 * torch.randn(4, 24, 3, generator=torch.Generator().manual_seed(0))
    start = Start((drawn.rotvec + noise).double(), 0.5 * drawn.betas.double(), drawn.camera.to(torch.float64))
    with np.load(root / "data" / "pose_prior.npz") as file:
        prior = priors.mixture(file["means"], file["covars"], file["weights"])
    ours = smplify.fit(human.to(torch.float64), prior, seen, start, smplify.published(steps=STEPS))
    released = Published(root / "data" / "body.npz", root / "data" / "pose_prior.npz", STEPS, torch.float64)
    return ours, released.fit(seen, start), start


def test_two_stages_of_adam_end_where_the_published_routine_does(both):
    ours, (theirs, _), start = both
    tolerance = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(ours.camera.translation, theirs.camera.translation, **tolerance)
    torch.testing.assert_close(ours.rotvec, theirs.rotvec, **tolerance)
    torch.testing.assert_close(ours.betas, theirs.betas, **tolerance)
    # Every parameter has moved, so agreement is no accident of standing still.
    assert (ours.rotvec - start.rotvec).abs().min() > 1e-4
    assert (ours.camera.translation - start.camera.translation).abs().max() > 1e-3


def test_the_error_is_the_published_mean_over_all_49(both):
    ours, (_, error), _ = both
    torch.testing.assert_close(ours.error, error, atol=1e-4, rtol=1e-6)
    assert ours.usable.all() and (ours.iterations == 2 * STEPS).all()


def test_in_float32_the_published_routine_differs_by_rounding_only(human, people, both):
    _, seen = people
    ours, _, start = both
    rounded = Start(start.rotvec.float(), start.betas.float(), start.camera.to(torch.float32))
    found = smplify.fit(human, priors.load(), seen.to(torch.float32), rounded, smplify.published(steps=STEPS))
    torch.testing.assert_close(found.rotvec.double(), ours.rotvec, atol=2e-4, rtol=0)
    torch.testing.assert_close(found.betas.double(), ours.betas, atol=2e-4, rtol=0)
