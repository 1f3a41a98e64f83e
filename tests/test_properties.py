"""What must hold for any input: any batch shape, both precisions, memory in any order, rotations at their extremes."""

import math
from dataclasses import fields, replace
from functools import cache

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rotating import hat
from test_solvers import Rosenbrock

from spinkit import body as bodies
from spinkit import camera, crop, metrics, priors, raster, smplify
from spinkit.camera import Camera
from spinkit.crop import Change
from spinkit.fits import FitDictionary, Verdict
from spinkit.keypoints import Keypoints
from spinkit.smplify import SmplifySettings, Start
from spinkit.solvers import Adam, LevenbergMarquardt


def tried(times):
    """So many examples, the same in every run."""
    return settings(derandomize=True, deadline=None, max_examples=times)


ANGLES = st.sampled_from(
    [0.0, 1e-30, 1e-8, 1e-4, 0.25, 1.5, math.pi - 1e-6, math.pi, math.pi + 1e-6, 2 * math.pi - 1e-7, 2 * math.pi, 9.0]
)
AXES = st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (1, 1, 0), (1, -2, 3), (1, 1e-9, 0)])
BATCHES = st.sampled_from([(), (0,), (1,), (3,), (2, 0), (1, 1), (2, 3)])
DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 10_000)
MEMORY = st.sampled_from(["as usual", "with gaps", "backwards", "one row for all"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def laid_out(values, memory):
    """The same numbers, or those of the first row for all rows, in another order of memory."""
    if memory == "with gaps":
        return torch.stack([values, values + 1], dim=-1)[..., 0]
    if memory == "backwards" and values.ndim > 1:
        order = tuple(reversed(range(values.ndim)))
        return values.permute(order).contiguous().permute(order)
    if memory == "one row for all" and values.ndim and len(values):
        return values[:1].expand(values.shape)
    return values


def people(batch, seed, dtype, angle, axis, memory="as usual"):
    """Poses of which some joints are turned by one extreme angle, and shapes."""
    rotvec = 0.4 * torch.randn(*batch, 24, 3, generator=seeded(seed), dtype=torch.float64)
    turn = angle * torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    rotvec[..., ::3, :] = turn
    betas = torch.randn(*batch, 10, generator=seeded(seed + 1), dtype=torch.float64)
    return laid_out(rotvec.to(dtype), memory), laid_out(betas.to(dtype), memory)


# No fixtures, because hypothesis prints what a test is given.
@cache
def human(dtype=torch.float32):
    return bodies.load().to(dtype)


@cache
def prior():
    return priors.load()


@tried(25)
@given(BATCHES, SEEDS, DTYPES, ANGLES, AXES, MEMORY)
def test_a_body_in_a_batch_is_the_body_alone(batch, seed, dtype, angle, axis, memory):
    model = human(dtype)
    rotvec, betas = people(batch, seed, dtype, angle, axis, memory)
    rotmat = roma.rotvec_to_rotmat(rotvec)
    first = (0,) * len(batch)
    for say, points in ((model.vertices, len(model.v_template)), (model.joints, 24), (model.keypoints, 49)):
        if say == model.vertices and not rotvec.numel():
            continue
        answer = say(rotmat, betas)
        assert answer.shape == (*batch, points, 3) and answer.dtype == dtype and answer.isfinite().all()
        if rotvec.numel():
            torch.testing.assert_close(answer[first], say(rotmat[first], betas[first]), atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_nobody_has_no_vertices(batch):
    model = human()
    assert model.vertices(torch.zeros(*batch, 24, 3, 3), torch.zeros(*batch, 10)).shape == (*batch, 6890, 3)


@tried(20)
@given(SEEDS, AXES, st.integers(0, 23), st.sampled_from([-2, -1, 1, 2]))
def test_whole_turns_of_any_joint_about_any_axis_change_nothing(seed, axis, joint, turns):
    rotvec, betas = people((1,), seed, torch.float64, 0.5, axis)
    unit = torch.nn.functional.normalize(rotvec[:, joint], dim=-1)
    more = rotvec.clone()
    more[:, joint] += 2 * math.pi * turns * unit
    one, other = (human(torch.float64).keypoints(roma.rotvec_to_rotmat(r), betas) for r in (rotvec, more))
    torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


@tried(20)
@given(SEEDS, ANGLES, AXES)
def test_the_derivative_is_that_of_finite_differences(seed, angle, axis):
    rotvec, betas = people((1,), seed, torch.float64, angle, axis)
    layer, eye = human(torch.float64).keypoints_only(), torch.eye(3, dtype=torch.float64)

    def rotmat(rotvec):
        return eye + hat(rotvec) @ bodies.left_jacobian(rotvec)

    way = torch.randn(1, 82, generator=seeded(seed), dtype=torch.float64)
    ends = [(rotvec + s * way[:, :72].unflatten(1, (24, 3)), betas + s * way[:, 72:]) for s in (1e-6, -1e-6)]
    after, before = (layer.pose(rotmat(r), b).positions() for r, b in ends)
    posed = layer.pose(rotmat(rotvec), betas)
    found = posed.derivative(bodies.left_jacobian(rotvec), eye.expand(1, 49, 3, 3))
    torch.testing.assert_close((found @ way[:, None, :, None])[..., 0], (after - before) / 2e-6, atol=1e-7, rtol=1e-7)


@tried(30)
@given(BATCHES, SEEDS, DTYPES, MEMORY, st.sampled_from([1e-3, 0.1, 1.0, 30.0]), st.sampled_from([1.0, 5000.0, 1e5]))
def test_cameras_survive_every_round_trip(batch, seed, dtype, memory, scale, focal):
    g = seeded(seed)
    weak = torch.randn(*batch, 3, generator=g, dtype=torch.float64)
    weak[..., 0] = scale * (0.5 + weak[..., 0].abs())
    weak = laid_out(weak.to(dtype), memory)
    near = {"rtol": 1e-5 if dtype == torch.float32 else 1e-8, "atol": 1e-4 if dtype == torch.float32 else 1e-9}
    seen = camera.from_weak(weak, focal)
    torch.testing.assert_close(camera.to_weak(seen), weak, **near)
    box = 50 + 400 * torch.rand(*batch, 3, generator=g, dtype=torch.float64).to(dtype)
    again = camera.cropped_camera(camera.photo_camera(seen, box), box)
    other = camera.with_intrinsics(camera.with_intrinsics(seen, 700.0), seen.focal, seen.center)
    for found in (again, other):
        for name in ("translation", "focal", "center"):
            torch.testing.assert_close(getattr(found, name), getattr(seen, name), **near)


def change_of(batch, seed, turn, mirror):
    g = seeded(seed)
    full = torch.full(batch, turn, dtype=torch.float64)
    scale = 0.75 + 0.5 * torch.rand(batch, generator=g, dtype=torch.float64)
    return Change(torch.full(batch, mirror), full, scale, torch.ones(*batch, 3, dtype=torch.float64))


@tried(30)
@given(BATCHES, SEEDS, ANGLES, ANGLES, AXES, MEMORY, st.booleans())
def test_a_pose_comes_back_from_every_change_as_the_same_rotations(batch, seed, turn, angle, axis, memory, mirror):
    rotvec, _ = people(batch, seed, torch.float64, angle, axis, memory)
    change = change_of(batch, seed, turn, mirror)
    there = crop.change_rotvec(change, rotvec)
    back = crop.restore_rotvec(change, there)
    assert there.isfinite().all() and back.shape == rotvec.shape
    torch.testing.assert_close(roma.rotvec_to_rotmat(back), roma.rotvec_to_rotmat(rotvec), atol=1e-7, rtol=0)


@tried(20)
@given(BATCHES, SEEDS, DTYPES, MEMORY)
def test_two_mirrors_undo_each_other(batch, seed, dtype, memory):
    g = seeded(seed)
    xy = laid_out((224 * torch.rand(*batch, 49, 2, generator=g, dtype=torch.float64)).to(dtype), memory)
    marked = Keypoints(xy, torch.rand(*batch, 49, generator=g, dtype=torch.float64).to(dtype))
    change = replace(change_of(batch, seed, 0.0, True), scale=torch.ones(batch, dtype=torch.float64))
    twice = crop.change_keypoints(change, crop.change_keypoints(change, marked))
    torch.testing.assert_close(twice.xy, marked.xy, atol=1e-4, rtol=0)
    assert torch.equal(twice.confidence, marked.confidence)


@tried(30)
@given(BATCHES, SEEDS, ANGLES, AXES, st.sampled_from([1e-3, 0.5, 1.0, 1e3]), st.sampled_from([0.0, 1.0, 1e3]))
def test_no_similarity_changes_the_aligned_error(batch, seed, angle, axis, scale, shift):
    g = seeded(seed)
    said, truth = (torch.randn(*batch, 14, 3, generator=g, dtype=torch.float64) for _ in range(2))
    turn = roma.rotvec_to_rotmat(angle * torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0))
    moved = scale * said @ turn.T + shift
    torch.testing.assert_close(metrics.pa_mpjpe(moved, truth), metrics.pa_mpjpe(said, truth), atol=1e-8, rtol=1e-8)
    root = (2, 3)
    before, after = metrics.mpjpe(said, truth, root), metrics.mpjpe(said + shift, truth - shift, root)
    torch.testing.assert_close(before, after, atol=1e-10, rtol=1e-10)
    assert before.shape == batch


@tried(20)
@given(SEEDS, st.sampled_from(["points", "line", "plane"]), DTYPES)
def test_a_flat_truth_still_has_a_finite_aligned_error(seed, shape, dtype):
    g = seeded(seed)
    said, truth = (torch.randn(2, 14, 3, generator=g, dtype=torch.float64).to(dtype) for _ in range(2))
    kept = {"points": 0, "line": 1, "plane": 2}[shape]
    truth[..., kept:] = 0
    assert metrics.pa_mpjpe(said, truth).isfinite().all()


@tried(40)
@given(
    SEEDS,
    st.sampled_from([(1, 5, 0), (0, 5, 3), (2, 3, 0), (1, 3, 4), (2, 9, 12)]),
    st.sampled_from(["before", "behind", "around", "far", "flat"]),
    st.sampled_from([1, 7, (3, 11)]),
    st.booleans(),
)
def test_a_raster_shows_nothing_but_faces_that_are_there(seed, sizes, place, size, cull):
    g, (batch, vertices, faces) = seeded(seed), sizes
    points = torch.randn(batch, vertices, 3, generator=g)
    points[..., 2] = {"before": 3, "behind": -5, "around": 0, "far": 1e6, "flat": 2}[place] + 0.5 * points[..., 2]
    if place == "flat":  # All corners of every face on one line.
        points[..., 1:] = points[..., :1] * points.new_tensor([2.0, 0.1]) + points.new_tensor([0.0, 3.0])
    corners = torch.randint(0, max(1, vertices), (faces, 3), generator=g)
    center = torch.full((batch, 2), 4.0)
    seen = raster.rasterize(points, corners, torch.full((batch,), 20.0), center, size, cull)
    mask, depth = seen.mask, seen.depth
    assert (depth[~mask] == torch.inf).all() and (seen.barycentric[~mask] == 0).all()
    torch.testing.assert_close(seen.barycentric[mask].sum(-1), torch.ones(int(mask.sum())), atol=1e-4, rtol=0)
    assert not mask.any() or place in ("before", "around", "flat", "far")
    for body, row, column in mask.nonzero().tolist():
        z = points[body, corners[seen.face[body, row, column]], 2]
        assert z.min() * (1 - 1e-4) <= depth[body, row, column] <= z.max() * (1 + 1e-4)


def test_nothing_is_seen_of_a_mesh_without_vertices():
    nothing, no_faces = torch.zeros(1, 0, 3), torch.zeros(0, 3, dtype=torch.int64)
    assert not raster.rasterize(nothing, no_faces, torch.ones(1), torch.zeros(1, 2), 4).mask.any()


@tried(25)
@given(BATCHES, SEEDS, ANGLES, AXES, MEMORY)
def test_every_prior_is_the_square_of_a_finite_residual(batch, seed, angle, axis, memory):
    rotvec, betas = people(batch, seed, torch.float32, angle, axis, memory)
    pose = rotvec[..., 1:, :].flatten(-2)
    residual = priors.mixture_residual(prior(), pose)
    assert residual.shape == (*batch, 70) and residual.isfinite().all()
    charges = priors.charges(prior(), pose)
    torch.testing.assert_close(residual.square().sum(-1), charges.amin(-1), rtol=1e-3, atol=1e-3)
    bent = priors.bending_residual(rotvec)
    signs, numbers = torch.tensor([s for _, s in priors.BENDING]), [i for i, _ in priors.BENDING]
    torch.testing.assert_close(bent.square(), torch.exp(2 * signs * rotvec.flatten(-2)[..., numbers]))
    assert torch.equal(priors.shape_residual(betas), betas)


@tried(30)
@given(
    st.lists(st.tuples(*[st.sampled_from([-1e6, -40.0, -1.2, 0.0, 1.0, 1e-20, 7.0, 1e4])] * 2), max_size=7),
    SEEDS,
    st.sampled_from([LevenbergMarquardt(steps=9), LevenbergMarquardt(steps=9, damping=1e-9), Adam(steps=4)]),
)
def test_a_solver_goes_downhill_and_looks_at_no_neighbour(starts, seed, solver):
    start = torch.tensor(starts, dtype=torch.float64).reshape(-1, 2)
    problem = Rosenbrock(10 ** (3 * torch.rand(len(start), generator=seeded(seed), dtype=torch.float64)))
    found = solver(problem, start)
    if isinstance(solver, LevenbergMarquardt):
        assert (found.energy <= problem.residuals(start).square().sum(1)).all()
    assert found.unknowns.isfinite().all()
    order = torch.randperm(len(start), generator=seeded(seed))[: 1 + len(start) // 2]
    some = solver(problem.select(order), start[order])
    torch.testing.assert_close(some.unknowns, found.unknowns[order], atol=1e-7, rtol=1e-7)
    assert torch.equal(some.iterations, found.iterations[order])


def seen_people(seed, angle, axis, trouble):
    """Four people, their keypoints with one kind of trouble, and starts that are turned to an extreme."""
    g = seeded(seed)
    rotvec, betas = people((4,), seed, torch.float32, 0.3, axis)
    rotvec[:, 0] = torch.tensor([math.pi, 0.0, 0.0])
    lens = camera.crop_camera(torch.tensor([[0.0, 0.0, 50.0]]).expand(4, 3))
    xy = camera.project(lens, human().keypoints(roma.rotvec_to_rotmat(rotvec), betas))
    confidence = (torch.rand(4, 49, generator=g) < 0.6).float() * torch.rand(4, 49, generator=g)
    match trouble:
        case "none seen":
            confidence[0] = 0
        case "one place":
            xy[0] = 100.0
        case "outside":
            xy[0] += 5000
        case "tiny":
            xy[0] = 112 + 1e-4 * (xy[0] - 112)
        case "one line":
            xy[0, :, 0] = 112.0
    start = rotvec.clone()
    start[:, ::4] = angle * torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float32), dim=0)
    return Keypoints(xy, confidence), Start(start, torch.zeros(4, 10), lens)


QUICK = SmplifySettings(camera_solver=LevenbergMarquardt(steps=2), body_solver=LevenbergMarquardt(steps=4, damping=1.0))


@tried(20)
@given(SEEDS, ANGLES, AXES, st.sampled_from(["no trouble", "none seen", "one place", "outside", "tiny", "one line"]))
def test_a_fit_is_finite_never_worse_than_its_start_and_alone_in_its_batch(seed, angle, axis, trouble):
    marked, start = seen_people(seed, angle, axis, trouble)
    given_before = [t.clone() for t in (marked.xy, marked.confidence, start.rotvec, start.camera.translation)]
    found = smplify.fit(human(), prior(), marked, start, QUICK)
    for before, after in zip(
        given_before, (marked.xy, marked.confidence, start.rotvec, start.camera.translation), strict=True
    ):
        assert torch.equal(before, after)
    assert found.rotvec.isfinite().all() and found.betas.isfinite().all() and found.total.isfinite().all()
    assert torch.equal(found.error.isfinite(), found.usable) and (found.camera.translation[found.usable, 2] > 0).all()
    assert torch.equal(found.rotvec[~found.usable], start.rotvec[~found.usable])
    nothing = smplify.fit(human(), prior(), marked, start, replace(QUICK, body_solver=LevenbergMarquardt(steps=0)))
    both = found.usable & nothing.usable
    assert (found.total <= nothing.total * (1 + 1e-5))[both].all()
    rows = torch.tensor([3, 1])
    some = smplify.fit(human(), prior(), marked[rows], start[rows], QUICK)
    torch.testing.assert_close(some.total, found.total[rows], rtol=2e-3, atol=1e-2)
    assert torch.equal(some.usable, found.usable[rows])


ERRORS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 50.0, math.inf, math.nan])


@tried(40)
@given(SEEDS, st.lists(st.lists(st.tuples(st.integers(0, 3), ERRORS), max_size=6), max_size=4), st.booleans())
def test_the_dictionary_keeps_the_best_fit_of_each_sample(seed, batches, mirror):
    g = seeded(seed)
    fits = FitDictionary(torch.zeros(4, 24, 3), torch.zeros(4, 10), torch.full((4,), 3.0), tracked=torch.tensor([1]))
    best = {key: (3.0, torch.zeros(24, 3)) for key in range(4)}
    for step, batch in enumerate(batches):
        key, after = torch.tensor([k for k, _ in batch], dtype=torch.long), torch.tensor([e for _, e in batch])
        before = fits.error[key]
        rotvec, betas = 0.3 * torch.randn(len(batch), 24, 3, generator=g), torch.randn(len(batch), 10, generator=g)
        change = change_of((len(batch),), seed, 0.0, mirror)
        fits.write(key, change, rotvec, betas, Verdict(before, after, after < before), step)
        plain = crop.restore_rotvec(change, rotvec)
        for row, (k, error) in enumerate(batch):
            if error < best[k][0]:
                best[k] = (error, plain[row])
    assert fits.error.tolist() == [best[k][0] for k in range(4)]
    torch.testing.assert_close(fits.rotvec, torch.stack([best[k][1] for k in range(4)]), atol=0, rtol=0)
    assert int(fits.updates.sum()) == len(fits.events().key)
    again = FitDictionary.from_arrays(fits.arrays())
    assert all((again.arrays()[name] == array).all() for name, array in fits.arrays().items())


@tried(15)
@given(BATCHES, SEEDS, DTYPES)
def test_cameras_and_keypoints_move_between_precisions_without_loss(batch, seed, dtype):
    g = seeded(seed)
    values = torch.randn(*batch, 3, generator=g)
    seen = camera.crop_camera(values).to(dtype).to(torch.float32)
    assert all(torch.equal(getattr(seen, f.name), getattr(camera.crop_camera(values), f.name)) for f in fields(Camera))
