"""Keypoints that say nothing: flagged by every fit and judge, and unfelt by their neighbours."""

import crowd
import pytest
import torch

from spinkit import priors, smplify, spin
from spinkit.keypoints import Keypoints
from spinkit.smplify import Start

BAD = 2
"""The row that is spoilt."""


def moved(xy, confidence):
    return lambda k: (xy(k.xy[BAD]), confidence(k.confidence[BAD]))


def same(value):
    return value


SPOILT = {
    "not a number": moved(lambda xy: torch.full_like(xy, torch.nan), same),
    "one infinite": moved(lambda xy: torch.cat([torch.full_like(xy[:30], torch.inf), xy[30:]]), same),
    "beyond float32": moved(lambda xy: (xy - 112) * 1e20, same),
    "in one place": moved(lambda xy: torch.full_like(xy, 60.0), same),
    "in almost one place": moved(lambda xy: 112 + (xy - 112) * 1e-6, same),
    "hardly trusted": moved(same, lambda c: c * 1e-30),
    "negative": moved(same, lambda c: -c),
    "one negative": moved(same, lambda c: torch.cat([c[:30], -c[30:31], c[31:]])),
    "trust not a number": moved(same, lambda c: torch.full_like(c, torch.nan)),
    "all missing": moved(same, torch.zeros_like),
    "only one": moved(same, lambda c: c * (torch.arange(49) == 30)),
}


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return crowd.draw_exactly(human, 5)


@pytest.fixture(params=SPOILT, ids=lambda name: name.replace(" ", "_"))
def spoilt(request, people):
    """The people's keypoints, those of one of them spoilt."""
    xy, confidence = people.keypoints.xy.clone(), people.keypoints.confidence.clone()
    xy[BAD], confidence[BAD] = SPOILT[request.param](people.keypoints)
    return Keypoints(xy, confidence)


def gone(keypoints):
    """The same keypoints, with none of the spoilt person's."""
    confidence = keypoints.confidence.clone()
    confidence[BAD] = 0
    return Keypoints(keypoints.xy, confidence)


@pytest.mark.parametrize("settings", [smplify.SmplifySettings, smplify.quick, spin.loop_fit])
def test_a_fit_flags_whoever_has_no_sound_keypoints_and_the_others_do_not_notice(
    spoilt, people, human, prior, settings
):
    start = Start(people.rotvec + 0.1, people.betas, people.camera)
    found = smplify.fit(human, prior, spoilt, start, settings())
    assert found.usable.tolist() == [row != BAD for row in range(5)]
    assert found.error[BAD].isinf() and torch.equal(found.rotvec[BAD], start.rotvec[BAD])
    expected = smplify.fit(human, prior, gone(people.keypoints), start, settings())
    assert torch.equal(found.rotvec, expected.rotvec) and torch.equal(found.error, expected.error)
    assert all(term.isfinite().all() for term in found.energy.values())


def test_initial_fits_flag_them_too_and_are_finite(spoilt, human, prior):
    found = smplify.initial_fits(human, prior, spoilt, headings=2)
    assert found.usable.tolist() == [row != BAD for row in range(5)]
    assert found.rotvec.isfinite().all() and found.camera.translation.isfinite().all()


def test_no_body_is_judged_good_by_them(spoilt, people, human):
    _, error = smplify.judge(human, spoilt, people.rotvec, people.betas)
    assert error.isinf().tolist() == [row == BAD for row in range(5)]
    assert smplify.too_few(spoilt, smplify.SmplifySettings()).tolist() == error.isinf().tolist()


def test_sound_keypoints_are_left_as_they_are_and_missing_ones_where_they_are_stored(people):
    confidence = people.keypoints.confidence.clone()
    confidence[:, 27] = 0
    marks = Keypoints(people.keypoints.xy, confidence)
    kept = smplify.sound(marks)
    assert torch.equal(kept.confidence, marks.confidence) and torch.equal(kept.xy, marks.xy)


def test_the_released_camera_stage_is_still_pulled_to_where_a_missing_shoulder_is_stored(people, human, prior):
    confidence, xy = people.keypoints.confidence.clone(), people.keypoints.xy.clone()
    confidence[:, [9, 33]] = 0  # without one of OpenPose's hips the annotated torso is taken
    elsewhere = xy.clone()
    elsewhere[:, 33] = 0
    start = Start(people.rotvec, people.betas, people.camera)
    one, other = (
        smplify.fit(human, prior, Keypoints(places, confidence), start, smplify.published(steps=5))
        for places in (xy, elsewhere)
    )
    assert ((one.camera.translation - other.camera.translation).abs().amax(1) > 1e-3).all()


def test_a_missing_keypoint_may_lie_anywhere_even_nowhere(people):
    confidence, xy = people.keypoints.confidence.clone(), people.keypoints.xy.clone()
    confidence[0, 30], xy[0, 30] = 0, torch.nan
    kept = smplify.sound(Keypoints(xy, confidence))
    assert kept.xy.isfinite().all() and torch.equal(kept.confidence, confidence)
