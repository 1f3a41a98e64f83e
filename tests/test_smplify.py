"""The fit: exact derivatives, lower energies than Adam's, round trips, and samples that cannot be fitted."""

import math
from dataclasses import dataclass, fields, replace

import crowd
import numpy as np
import pytest
import roma
import torch

from spinkit import camera, crop, priors, smplify, solvers
from spinkit.keypoints import Keypoints
from spinkit.smplify import BodyStage, CameraStage, SmplifySettings, Start, View

LAST = torch.arange(25, 49)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def prior():
    return priors.load()


def near(people, deviation=0.1, seed=0):
    """Starts near the truth, as a trained regressor gives them."""
    noise = deviation * torch.randn(people.rotvec.shape, generator=seeded(seed))
    return Start(people.rotvec + noise, torch.zeros_like(people.betas), people.camera)


def on_wrong_side(people, human, prior):
    """Starts from the mean pose at four headings in turn, most of them wrong."""
    headings = smplify.heading_starts(human, prior, people.keypoints, 4)
    rows = [headings[i % 4][torch.tensor([i])] for i in range(len(people.rotvec))]
    return joined(rows)


def joined(starts):
    translation = torch.cat([s.camera.translation for s in starts])
    rotvec, betas = torch.cat([s.rotvec for s in starts]), torch.cat([s.betas for s in starts])
    return Start(rotvec, betas, camera.crop_camera(translation))


def body_stage(human, prior, keypoints, seen_by, settings=None):
    """The body stage over all 49 keypoints."""
    weight = keypoints.confidence.clone()
    weight[:, list(smplify.IGNORED)] = 0
    return BodyStage(
        layer=human.keypoints_only(),
        prior=prior,
        view=View(keypoints.xy, weight, seen_by.focal, seen_by.center),
        translation=seen_by.translation,
        start=torch.zeros(len(weight), 72, dtype=weight.dtype),
        near=torch.zeros(len(weight), dtype=torch.int64),
        settings=settings or SmplifySettings(),
    )


def assert_linearized_rightly(problem, unknowns):
    energy, hessian, gradient = problem.linearize(unknowns)
    residual = problem.residuals(unknowns)
    jacobian = torch.autograd.functional.jacobian(lambda x: problem.residuals(x).sum(0), unknowns, vectorize=True)
    jacobian = jacobian.movedim(1, 0)
    torch.testing.assert_close(energy, residual.square().sum(1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(hessian, jacobian.mT @ jacobian, rtol=1e-7, atol=1e-6)
    torch.testing.assert_close(gradient, (jacobian.mT @ residual[..., None])[..., 0], rtol=1e-7, atol=1e-6)


@pytest.fixture(scope="module", params=[False, True], ids=["still camera", "moving camera"])
def exact_stage(human, root, request):
    """A body stage in float64 with every term, and unknowns near and far from a minimum."""
    with np.load(root / "data" / "pose_prior.npz") as file:
        prior = priors.mixture(file["means"], file["covars"], file["weights"])
    people = crowd.draw(human, 6, openpose=True)
    settings = SmplifySettings(start_weight=20.0, turn_weight=15.0, camera_moves=request.param)
    stage = body_stage(
        human.to(torch.float64), prior, people.keypoints.to(torch.float64), people.camera.to(torch.float64), settings
    )
    deviation = torch.tensor([0, 1e-9, 0.1, 0.1, 0.5, 1.0])[:, None]
    unknowns = torch.cat([people.rotvec.flatten(1), people.betas], dim=1)
    stage = replace(stage, start=unknowns[:, :72].double(), near=torch.arange(6))
    if settings.camera_moves:
        unknowns = torch.cat([unknowns, people.camera.translation], dim=1)
    return stage, (unknowns + deviation * torch.randn(unknowns.shape, generator=seeded())).double()


def without_correctives(stage):
    layer = stage.layer
    return replace(
        stage,
        layer=replace(layer, corrective_pair=layer.corrective_pair[:0], corrective_dirs=layer.corrective_dirs[:0]),
    )


def standing(unknowns):
    still = torch.zeros_like(unknowns)
    still[:, 0] = math.pi
    still[:, 82:] = unknowns[:, 82:]
    return still


def test_the_body_stage_is_linearized_as_automatic_differentiation_does(exact_stage):
    stage, unknowns = exact_stage
    assert_linearized_rightly(without_correctives(stage), unknowns)


def test_the_body_stage_is_linearized_rightly_where_nothing_is_turned(exact_stage):
    stage, unknowns = exact_stage
    assert_linearized_rightly(without_correctives(stage), standing(unknowns))


@pytest.mark.parametrize("at", [lambda unknowns: unknowns, standing])
def test_pose_correctives_are_in_the_gradient_exactly_and_nearly_in_the_hessian(exact_stage, at):
    stage, unknowns = exact_stage
    unknowns = at(unknowns)
    energy, hessian, gradient = stage.linearize(unknowns)
    leaf = unknowns.clone().requires_grad_()
    total = stage.residuals(leaf).square().sum(1)
    (slope,) = torch.autograd.grad(total.sum(), leaf)
    torch.testing.assert_close(energy, total.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(2 * gradient, slope, rtol=1e-7, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(lambda x: stage.residuals(x).sum(0), unknowns, vectorize=True)
    jacobian = jacobian.movedim(1, 0)
    whole = jacobian.mT @ jacobian
    left_out = (hessian - whole).flatten(1).norm(dim=1) / whole.flatten(1).norm(dim=1)
    assert 0 < left_out.max() < 0.05


def test_the_camera_stage_is_linearized_as_automatic_differentiation_does():
    g = seeded()
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    stage = CameraStage(
        view=View(112 + 40 * draw(5, 4, 2), (draw(5, 4) > -1).double(), torch.full((5,), 5000.0).double(), draw(5, 2)),
        offsets=0.3 * draw(5, 4, 3),
        pelvis=0.1 * draw(5, 3),
        depth=50 + draw(5),
        turn=draw(5, 3),
        depth_weight=100.0,
        turn_weight=15.0,
    )
    unknowns = torch.cat([draw(5, 3), draw(5, 2), 50 + draw(5, 1)], dim=1)
    unknowns[0, :3] = 0
    assert_linearized_rightly(stage, unknowns)


def test_a_residual_as_long_as_the_scale_keeps_half_of_its_square():
    error = torch.tensor([-1e6, -100.0, 0.0, 1.0, 100.0], dtype=torch.float64)
    bent = smplify.robust(error, 100.0)
    torch.testing.assert_close(bent[4].square().item(), 5000.0)
    assert bent.abs().max() <= 100


def test_least_squares_end_at_or_below_adam_on_98_of_100_samples(human, prior):
    people = crowd.draw(human, 500)
    half = torch.arange(500) < 250
    starts = near(people, 0.15), on_wrong_side(people, human, prior)
    rotvec = torch.where(half[:, None, None], starts[0].rotvec, starts[1].rotvec)
    translation = torch.where(half[:, None], people.camera.translation, starts[1].camera.translation)
    start = Start(rotvec, torch.zeros(500, 10), camera.crop_camera(translation))
    settings = SmplifySettings()
    camera_only = replace(settings, body_solver=solvers.LevenbergMarquardt(steps=0))
    begun = smplify.fit(human, prior, people.keypoints, start, camera_only)
    layer = human.keypoints_only().select(LAST)
    whole = body_stage(human, prior, people.keypoints, begun.camera)
    view = View(whole.view.xy[:, LAST], whole.view.weight[:, LAST], whole.view.focal, whole.view.center)
    stage = replace(whole, layer=layer, view=view)
    unknowns = torch.cat([begun.rotvec.flatten(1), begun.betas], dim=1)
    ours, adams = settings.body_solver(stage, unknowns), solvers.Adam(steps=100)(stage, unknowns)
    assert (ours.energy <= adams.energy).float().mean() >= 0.98
    assert ours.energy.mean() < adams.energy.mean()


def reprojection(human, found, keypoints):
    """Pixels from each keypoint to the fitted body's."""
    points = human.keypoints(roma.rotvec_to_rotmat(found.rotvec), found.betas)
    return (camera.project(found.camera, points) - keypoints.xy).norm(dim=-1)


def test_a_body_is_found_again_from_its_own_keypoints(human, prior):
    people = crowd.draw_exactly(human, 24)
    found = smplify.fit(human, prior, people.keypoints, near(people))
    assert found.usable.all()
    counted = [j for j in range(49) if j not in smplify.IGNORED]
    pixels = reprojection(human, found, people.keypoints)[:, counted]
    assert pixels.mean(1).max() < 2
    # The error is the mean of squared lengths, bent where they are long.
    expected = (people.keypoints.confidence[:, counted] * pixels).square().mean(1)
    torch.testing.assert_close(found.error, expected, rtol=0.02, atol=0.01)


def test_fitting_lowers_the_objective_of_every_sample(human, prior):
    people = crowd.draw(human, 16)
    start = near(people, 0.3)
    before = smplify.fit(
        human, prior, people.keypoints, start, replace(SmplifySettings(), body_solver=solvers.LevenbergMarquardt(0))
    )
    after = smplify.fit(human, prior, people.keypoints, start)
    assert (after.total <= before.total).all()
    torch.testing.assert_close(after.total, sum(after.energy.values()))


def assert_equal_fits(one, other, **tolerance):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "energy":
            a, b = torch.stack(list(a.values())), torch.stack(list(b.values()))
        if field.name == "camera":
            a, b = a.translation, b.translation
        torch.testing.assert_close(a, b, equal_nan=True, **tolerance)


def test_where_a_missing_keypoint_lies_does_not_matter(human, prior):
    people = crowd.draw(human, 6, missing=0.3)
    gone = ~people.keypoints.visible
    elsewhere = torch.where(gone[..., None], torch.full_like(people.keypoints.xy, 1e4), people.keypoints.xy)
    moved = Keypoints(elsewhere, people.keypoints.confidence)
    for fit in (
        lambda k: smplify.fit(human, prior, k, near(people)),
        lambda k: smplify.initial_fits(human, prior, k),
    ):
        assert_equal_fits(fit(people.keypoints), fit(moved), atol=0, rtol=0)
    errors = [smplify.judge(human, k, people.rotvec, people.betas)[1] for k in (people.keypoints, moved)]
    torch.testing.assert_close(*errors, atol=0, rtol=0)


def test_ignored_keypoints_leave_the_body_stage_alone(human, prior):
    people = crowd.draw_exactly(human, 3)
    settings = replace(SmplifySettings(), camera_solver=solvers.LevenbergMarquardt(steps=0))
    moved = people.keypoints.xy.clone()
    moved[:, list(smplify.IGNORED)] += 50
    changed = Keypoints(moved, people.keypoints.confidence)
    found = [smplify.fit(human, prior, k, near(people), settings) for k in (people.keypoints, changed)]
    assert_equal_fits(*found, atol=0, rtol=0)


def spoil(people, row):
    """The same keypoints but for one sample, which keeps five."""
    confidence = people.keypoints.confidence.clone()
    confidence[row, :] = 0
    confidence[row, 30:35] = 1
    return Keypoints(people.keypoints.xy, confidence)


def test_a_sample_with_too_few_keypoints_is_flagged_and_comes_back_as_it_was(human, prior):
    people = crowd.draw(human, 4)
    keypoints, start = spoil(people, 2), near(people)
    found = smplify.fit(human, prior, keypoints, start)
    assert found.usable.tolist() == [True, True, False, True]
    assert smplify.too_few(keypoints, SmplifySettings()).tolist() == [False, False, True, False]
    torch.testing.assert_close(found.rotvec[2], start.rotvec[2], atol=0, rtol=0)
    torch.testing.assert_close(found.betas[2], start.betas[2], atol=0, rtol=0)
    torch.testing.assert_close(found.camera.translation[2], start.camera.translation[2], atol=0, rtol=0)
    assert found.error[2] == torch.inf
    assert smplify.judge(human, keypoints, found.rotvec, found.betas)[1].isinf().tolist() == [False, False, True, False]


@pytest.mark.parametrize("spoilt", ["keypoints", "pose", "camera"])
def test_a_sample_that_is_not_finite_is_flagged_and_its_neighbours_do_not_notice(human, prior, spoilt):
    people = crowd.draw(human, 4)
    xy, start = people.keypoints.xy.clone(), near(people)
    rotvec, translation = start.rotvec.clone(), start.camera.translation.clone()
    broken = {"keypoints": xy[1, 30], "pose": rotvec[1, 7], "camera": translation[1]}
    broken[spoilt][:] = torch.nan
    keypoints = Keypoints(xy, people.keypoints.confidence)
    found = smplify.fit(human, prior, keypoints, Start(rotvec, start.betas, camera.crop_camera(translation)))
    assert found.usable.tolist() == [True, False, True, True]
    assert found.error[1] == torch.inf
    torch.testing.assert_close(found.rotvec[1], rotvec[1], equal_nan=True)
    others = torch.tensor([0, 2, 3])
    alone = smplify.fit(human, prior, people.keypoints[others], start[others])
    assert_equal_fits(found[others], alone, atol=1e-4, rtol=1e-3)


def test_nobody_is_fitted_without_complaint(human, prior):
    nobody = crowd.draw(human, 1).keypoints[:0]
    start = Start(torch.zeros(0, 24, 3), torch.zeros(0, 10), camera.crop_camera(torch.zeros(0, 3)))
    assert len(smplify.fit(human, prior, nobody, start)) == 0
    assert len(smplify.initial_fits(human, prior, nobody)) == 0
    assert smplify.judge(human, nobody, start.rotvec, start.betas)[1].shape == (0,)


def test_people_without_any_keypoint_are_flagged(human, prior):
    people = crowd.draw(human, 3)
    blind = Keypoints(people.keypoints.xy, torch.zeros(3, 49))
    assert not smplify.fit(human, prior, blind, near(people)).usable.any()
    assert not smplify.initial_fits(human, prior, blind).usable.any()


def test_chunks_do_not_change_a_fit(human, prior):
    people = crowd.draw(human, 7)
    whole = smplify.fit(human, prior, people.keypoints, near(people))
    parts = smplify.fit(human, prior, people.keypoints, near(people), replace(SmplifySettings(), chunk=3))
    assert_equal_fits(whole, parts, atol=1e-3, rtol=1e-3)


def test_the_judge_finds_the_camera_of_a_body_from_its_keypoints(human):
    people = crowd.draw_exactly(human, 8)
    found, error = smplify.judge(human, people.keypoints, people.rotvec, people.betas)
    assert error.max() < 1e-3
    torch.testing.assert_close(found.translation, people.camera.translation, atol=0.02, rtol=1e-3)


def test_the_judge_gives_a_body_the_same_error_in_every_change_of_its_crop(human):
    people = crowd.draw(human, 32, outliers=0.0, openpose=True)
    change = crop.Change.random(32, seeded(3))
    mirrored = replace(change, turn=torch.zeros(32))
    rotvec = people.rotvec + 0.05 * torch.randn(32, 24, 3, generator=seeded())
    same = replace(change, scale=torch.ones(32))
    _, plain = smplify.judge(human, people.keypoints, rotvec, people.betas)
    for kind, tolerance in ((replace(mirrored, scale=torch.ones(32)), 1e-3), (same, 0.02)):
        keypoints = crop.change_keypoints(kind, people.keypoints)
        _, error = smplify.judge(human, keypoints, crop.change_rotvec(kind, rotvec), people.betas)
        # Errors are bent in x and y apart, so that a turn changes long ones a little.
        torch.testing.assert_close(error, plain, rtol=tolerance, atol=0.05)
    assert mirrored.mirror.any() and (same.turn != 0).any()


def test_the_judge_prefers_the_truth(human):
    people = crowd.draw(human, 32)
    _, true = smplify.judge(human, people.keypoints, people.rotvec, people.betas)
    wrong = people.rotvec + 0.2 * torch.randn(32, 24, 3, generator=seeded())
    _, worse = smplify.judge(human, people.keypoints, wrong, people.betas)
    assert (true < worse).float().mean() > 0.9


def heading_error(found, people):
    """Angle between the directions that two bodies' chests face, seen from above; radians."""
    facing = [roma.rotvec_to_rotmat(r[:, 0])[..., [0, 2], 2] for r in (found.rotvec, people.rotvec)]
    one, other = (torch.atan2(f[:, 0], f[:, 1]) for f in facing)
    return torch.atan2((one - other).sin(), (one - other).cos()).abs()


def test_several_headings_find_the_side_from_which_a_person_is_seen(human, prior):
    people = crowd.draw(human, 64)
    found = {n: smplify.initial_fits(human, prior, people.keypoints, headings=n) for n in (1, 4)}
    right = {n: (heading_error(f, people) < math.radians(45)).float().mean() for n, f in found.items()}
    assert right[4] > right[1] + 0.1
    assert right[4] > 0.75
    assert found[4].usable.all() and found[4].error.median() < 30


def test_starts_stand_over_the_keypoints_at_even_headings(human, prior):
    people = crowd.draw(human, 5)
    starts = smplify.heading_starts(human, prior, people.keypoints, 4)
    assert len(starts) == 4
    for start in starts:
        assert (start.camera.translation[:, 2] > 0).all()
        pixels = camera.project(start.camera, human.keypoints(roma.rotvec_to_rotmat(start.rotvec), start.betas))
        seen = people.keypoints.visible
        offset = torch.stack([(p[s] - k[s]).mean(0) for p, k, s in zip(pixels, people.keypoints.xy, seen, strict=True)])
        assert offset.norm(dim=1).max() < 25


def test_fitting_leaves_its_inputs_alone(human, prior):
    people = crowd.draw(human, 3, openpose=True)
    start = near(people)
    inputs = (people.keypoints.xy, people.keypoints.confidence, start.rotvec, start.betas, start.camera.translation)
    before = [t.clone() for t in inputs]
    smplify.fit(human, prior, people.keypoints, start)
    smplify.fit(human, prior, people.keypoints, start, smplify.published(steps=2))
    smplify.initial_fits(human, prior, people.keypoints)
    smplify.judge(human, people.keypoints, start.rotvec, start.betas)
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))


def test_fits_are_chosen_and_picked_by_sample(human, prior):
    people = crowd.draw(human, 3)
    one = smplify.fit(human, prior, people.keypoints, near(people))
    other = smplify.fit(human, prior, people.keypoints, near(people, 0.4))
    mask = torch.tensor([True, False, True])
    chosen = one.choose(mask, other)
    for i, source in enumerate((one, other, one)):
        assert_equal_fits(chosen[i : i + 1], source[i : i + 1], atol=0, rtol=0)


@pytest.mark.parametrize(
    "field, value", [("robust_scale", 0.0), ("chunk", 0), ("pose_weight", -1.0), ("min_keypoints", 0)]
)
def test_settings_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"SmplifySettings\.{field} must"):
        SmplifySettings(**{field: value})


def test_a_rival_component_is_tried_and_never_raises_the_energy(human, prior):
    people = crowd.draw(human, 160)
    noise = 0.15 * torch.randn(160, 24, 3, generator=seeded())
    start = Start(people.rotvec + noise, torch.zeros(160, 10), people.camera)
    # Without ties, whose share in hidden joints is no part of what is searched.
    alone, tried = (
        smplify.fit(human, prior, people.keypoints, start, replace(smplify.initial(), rival_gap=gap))
        for gap in (0.0, 300.0)
    )
    assert (tried.total <= alone.total * (1 + 1e-5)).all()
    won = tried.total < alone.total * (1 - 1e-3)
    assert won.any() and not won.all()
    # Some that were better off in the other valley are in it now.
    before, after = (priors.winner(prior, fit.rotvec[:, 1:].flatten(1)) for fit in (alone, tried))
    assert (before != after)[won].any() and torch.equal(
        before[tried.total == alone.total], after[tried.total == alone.total]
    )


def test_a_fit_held_to_a_component_is_charged_by_that_component(human, prior):
    people = crowd.draw(human, 8)
    stage = body_stage(human, prior, people.keypoints, people.camera)
    unknowns = torch.cat([people.rotvec.flatten(1), people.betas], dim=1)
    each = [replace(stage, component=torch.full((8,), k)).terms(unknowns)["pose"].square().sum(1) for k in range(8)]
    free = stage.terms(unknowns)["pose"].square().sum(1)
    torch.testing.assert_close(torch.stack(each).amin(0), free)
    torch.testing.assert_close(
        torch.stack(each, 1), stage.settings.pose_weight**2 * priors.charges(prior, unknowns[:, 3:72])
    )


@dataclass
class Mine:
    """A solver of somebody's own, which cannot be hashed."""

    steps: int = 2

    def __call__(self, problem, start):
        return solvers.LevenbergMarquardt(steps=self.steps)(problem, start)


def test_any_solver_may_be_handed_in(human, prior):
    people = crowd.draw(human, 3)
    own, ours = (
        smplify.fit(human, prior, people.keypoints, near(people), replace(SmplifySettings(), body_solver=solver))
        for solver in (Mine(), solvers.LevenbergMarquardt(steps=2))
    )
    assert torch.equal(own.rotvec, ours.rotvec)


def test_a_fit_in_inference_mode_spoils_no_later_gradient(human, prior):
    # A layer and a prior of their own, so that nothing was kept for them before.
    body, gauss = human.to(torch.float64), prior.to(torch.float64)
    people = crowd.draw(human, 2)
    keypoints = people.keypoints.to(torch.float64)
    start = Start(people.rotvec.double(), people.betas.double(), people.camera.to(torch.float64))
    with torch.inference_mode():
        smplify.fit(body, gauss, keypoints, start, smplify.quick())
    found = smplify.fit(body, gauss, keypoints, start, smplify.published(steps=2))
    assert found.usable.all()
