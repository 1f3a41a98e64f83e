"""Scores: protocols that agree with the metrics, invariances, a model judged on hidden truth, refusals."""

import math
from dataclasses import replace

import pytest
import roma
import torch
from torch import nn

from spinkit import data, evaluate, hmr, keypoints, metrics
from spinkit.crop import Change
from spinkit.data import Samples, StoredImages, Truth

PROTOCOLS = [evaluate.LSP14, evaluate.H36M14, evaluate.H36M17, evaluate.MPI_INF_3DHP]
COUNT = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bodies(count: int = COUNT, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation vectors and shapes of people who stand about upright before the camera."""
    rotvec = 0.3 * torch.randn(count, 24, 3, generator=seeded(seed))
    rotvec[:, 0] += torch.tensor([3.0, 0, 0])
    return rotvec, torch.randn(count, 10, generator=seeded(seed + 100))


def known(rotvec: torch.Tensor, betas: torch.Tensor) -> Truth:
    nothing = Truth.none(len(rotvec))
    return replace(nothing, rotvec=rotvec, betas=betas, has_smpl=torch.ones(len(rotvec), dtype=torch.bool))


def measured(points: torch.Tensor) -> Truth:
    """The 24 annotated points as a motion capture gives them: relative to their pelvis, no body model."""
    joints = points - points[:, 14:15]
    flags = torch.ones_like(joints[..., :1])
    some = torch.ones(len(points), dtype=torch.bool)
    return replace(Truth.none(len(points)), joints=torch.cat([joints, flags], dim=-1), has_pose_3d=some)


def people(judge: Truth | None) -> Samples:
    pixels = torch.randint(0, 256, (COUNT, 3, 80, 80), dtype=torch.uint8, generator=seeded())
    points = keypoints.Keypoints(torch.full((COUNT, 49, 2), 112.0), torch.ones(COUNT, 49))
    return Samples("crowd", StoredImages(pixels), points, Truth.none(COUNT), judge, margin=1.25)


def small() -> hmr.HMR:
    return hmr.HMR("small", hmr.mean_parameters(), generator=seeded())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_the_truth_itself_scores_perfectly(human, protocol):
    rotvec, betas = bodies()
    scores = evaluate.score_fits(human, rotvec, betas, known(rotvec, betas), protocol, surface=True)
    means = scores.means()
    assert max(means["mpjpe"], means["pa_mpjpe"], means["pve"]) < 1e-5
    assert (means["pck150"], means["auc"]) == pytest.approx((1, 30 / 31))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_a_body_turned_as_a_whole_errs_in_place_and_not_when_aligned(human, protocol):
    rotvec, betas = bodies()
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.4, 0.0]))
    rotmat = roma.rotvec_to_rotmat(rotvec)
    turned = torch.cat([turn @ rotmat[:, :1], rotmat[:, 1:]], dim=1)
    scores = evaluate.score_bodies(human, turned, betas, known(rotvec, betas), protocol)
    assert scores.mpjpe.min() > 0.02
    assert scores.pa_mpjpe.max() < 1e-5


CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
BY_HAND = evaluate.Protocol(
    name="corners by hand",
    points=lambda body, rotmat, betas: CORNERS + torch.cat([0 * betas[:, :3], betas[:, :9]], 1).unflatten(1, (4, 3)),
    joints=(1, 2, 3),
    root=(0,),
    root_name="origin",
    measured_joints=(7, 8, 9),
    measured_root=(14,),
    counted=2,
)
"""Three corners of a cube, each shifted by three of the betas, about a fourth that stays."""


def off(*shifts: float) -> torch.Tensor:
    """Betas that shift the three corners along their own axes."""
    betas = torch.zeros(1, 10)
    betas[0, [0, 4, 8]] = torch.tensor(shifts)
    return betas


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_score_by_hand_in_batches_of_one_two_and_three(human, count):
    betas = torch.cat([off(0.2, 0.0525, 0.1), off(0.0, 0.0, 0.0), off(0.5, 0.5, 0.5)])[:count]
    truth = known(torch.zeros(count, 24, 3), torch.zeros(count, 10))
    scores = evaluate.score_fits(human, torch.zeros(count, 24, 3), betas, truth, BY_HAND)
    expected = {
        "mpjpe": [(0.2 + 0.0525 + 0.1) / 3, 0, 0.5],
        # The third corner is not counted. 52.5 mm is nearer than the 20 thresholds from 55 to 150 mm.
        "pck150": [1 / 2, 1, 0],
        "auc": [20 / 31 / 2, 30 / 31, 0],
    }
    for name, values in expected.items():
        torch.testing.assert_close(getattr(scores, name), torch.tensor(values[:count]).float(), atol=1e-6, rtol=0)
    # Half as large again is the same body after alignment; its errors are float dust, and only 0 mm lies below.
    assert scores.pa_mpjpe[1:].sum() < 1e-6 and (scores.pa_pck150[1:] == 1).all()
    torch.testing.assert_close(scores.pa_auc[1:], torch.full((count - 1,), 30 / 31), atol=1e-6, rtol=0)


def test_measured_points_score_by_hand_about_their_own_root(human):
    """The truth lies elsewhere and is known point by point; two corners are 13 cm and 5 cm off, one is right."""
    joints = torch.zeros(1, 24, 3)
    joints[0, 7:10] = CORNERS[1:] + torch.tensor([[0.03, 0.04, 0.12], [0, 0.03, 0.04], [0, 0, 0]])
    joints += torch.tensor([0.3, -2.0, 5.0])
    truth = replace(
        Truth.none(1), joints=torch.cat([joints, torch.ones(1, 24, 1)], -1), has_pose_3d=torch.tensor([True])
    )
    scores = evaluate.score_fits(human, torch.zeros(1, 24, 3), torch.zeros(1, 10), truth, BY_HAND)
    assert scores.mpjpe.item() == pytest.approx(0.18 / 3, abs=1e-6)
    assert "truth measured" in scores.bodies


def test_aligned_scores_by_hand_forgive_no_mirror(human):
    """Swapping two corners mirrors the tetrahedron. Its spread is 1, 1 and, along the diagonal, 1/4, so the best turn
    mirrors the diagonal instead, at the scale (1 + 1 - 1/4) / (9/4) = 7/9."""
    swapped = torch.zeros(1, 10)
    swapped[0, :6] = torch.tensor([-1.0, 1, 0, 1, -1, 0])
    truth = known(torch.zeros(1, 24, 3), torch.zeros(1, 10))
    solid = replace(BY_HAND, joints=(0, 1, 2, 3), measured_joints=(6, 7, 8, 9))
    scores = evaluate.score_fits(human, torch.zeros(1, 24, 3), swapped, truth, solid)
    # The fourth corner, on the diagonal, is off by 16/9 of its distance; each of the others by sqrt(8)/9.
    expected = (16 / 9 * math.sqrt(3) / 4 + 3 * math.sqrt(8) / 9) / 4
    assert scores.pa_mpjpe.item() == pytest.approx(expected, abs=1e-6)
    # Three points lie in a plane, where half a turn does what a mirror does.
    flat = evaluate.score_fits(human, torch.zeros(1, 24, 3), swapped, truth, BY_HAND)
    assert flat.pa_mpjpe.item() == pytest.approx(0, abs=1e-6)


def test_mpi_inf_3dhp_averages_the_error_over_17_joints_and_counts_14(human):
    """As its MATLAB evaluation: the pelvis, whose error is nothing, enters the mean; spine and jaw are not counted."""
    rest = torch.zeros(2, 24, 3), torch.zeros(2, 10)
    points = evaluate.h36m17(human, roma.rotvec_to_rotmat(rest[0]), rest[1])
    joints = torch.zeros(2, 24, 4)
    places = list(evaluate.H36M17.measured_joints)
    joints[:, places, :3] = points[:, list(evaluate.H36M17.joints)] - points[:, :1]
    joints[..., 3] = 1
    # In the first body the spine is half a metre off, in the second the head.
    joints[0, 16, 0] += 0.5
    joints[1, 18, 0] += 0.5
    truth = replace(Truth.none(2), joints=joints, has_pose_3d=torch.tensor([True, True]))
    scores = evaluate.score_fits(human, *rest, truth, evaluate.MPI_INF_3DHP)
    torch.testing.assert_close(scores.mpjpe, torch.full((2,), 0.5 / 17), atol=1e-6, rtol=0)
    torch.testing.assert_close(scores.pck150, torch.tensor([1, 13 / 14]), atol=1e-6, rtol=0)
    near = 30 / 31  # Float dust is nearer than every threshold but 0 mm.
    torch.testing.assert_close(scores.auc[1].item(), near * 13 / 14, atol=1e-6, rtol=0)


def test_a_truth_of_two_genders_is_posed_by_their_models_in_the_order_of_the_samples(human):
    """At rest a model a fifth too large puts every joint a fifth farther from the pelvis."""
    male, female = (
        replace(human, v_template=scale * human.v_template, name=name)
        for scale, name in ((1.2, "SMPL_MALE.npz"), (0.9, "SMPL_FEMALE.npz"))
    )
    rotvec, betas = torch.zeros(4, 24, 3), torch.zeros(4, 10)
    genders = evaluate.Genders(male, female, torch.tensor([True, False, False, True]))
    said = hmr.Regression(roma.rotvec_to_rotmat(rotvec), betas, torch.ones(4, 3))
    scores = evaluate.score_gendered(human, said, known(rotvec, betas), genders, evaluate.H36M14, surface=True)
    points = evaluate.h36m17(human, said.rotmat[:1], betas[:1])[0]
    reach = (points - points[0])[list(evaluate.H36M14.joints)].norm(dim=-1).mean()
    expected = reach * torch.tensor([0.2, 0.1, 0.1, 0.2])
    torch.testing.assert_close(scores.mpjpe, expected, atol=1e-6, rtol=0)
    assert scores.pa_mpjpe.max() < 1e-5
    assert scores.pve[0].item() == pytest.approx(2 * scores.pve[1].item(), abs=1e-6)
    assert "truth by SMPL_MALE.npz or SMPL_FEMALE.npz" in str(scores)
    joints_only = measured(torch.rand(4, 24, 3, generator=seeded()))
    with pytest.raises(ValueError, match="4 of 4 bodies lack SMPL parameters"):
        evaluate.score_gendered(human, said, joints_only, genders, evaluate.H36M14)


def test_the_lsp_scores_are_the_metrics_of_the_fourteen_keypoints(human):
    (rotvec, betas), (other, shape) = bodies(), bodies(seed=1)
    scores = evaluate.score_fits(human, other, shape, known(rotvec, betas))
    seen, true = (human.keypoints(roma.rotvec_to_rotmat(r), b)[:, 25:39] for r, b in ((other, shape), (rotvec, betas)))
    assert keypoints.NAMES[27:29] == ("Right Hip", "Left Hip")
    torch.testing.assert_close(scores.mpjpe, metrics.mpjpe(seen, true, root=(2, 3)), atol=1e-6, rtol=0)
    torch.testing.assert_close(scores.pa_mpjpe, metrics.pa_mpjpe(seen, true), atol=1e-6, rtol=0)
    torch.testing.assert_close(scores.auc, metrics.auc(seen, true, root=(2, 3)))


def test_the_human36m_scores_take_the_pelvis_off_though_it_is_not_among_the_fourteen(human):
    (rotvec, betas), (other, shape) = bodies(), bodies(seed=1)
    scores = evaluate.score_fits(human, other, shape, known(rotvec, betas), evaluate.H36M14, surface=True)
    surfaces = [human.vertices(roma.rotvec_to_rotmat(r), b) for r, b in ((other, shape), (rotvec, betas))]
    seen, true = (human.h36m_regressor @ v for v in surfaces)
    fourteen = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
    torch.testing.assert_close(scores.mpjpe, metrics.mpjpe(seen, true, (0,), fourteen), atol=1e-6, rtol=0)
    centred = [v - p[:, :1] for v, p in zip(surfaces, (seen, true), strict=True)]
    torch.testing.assert_close(scores.pve, metrics.pve(*centred), atol=1e-6, rtol=0)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_the_measured_points_of_a_protocol_are_its_own_points_by_name(protocol):
    """Right ankle to right ankle, head to head: a wrong order would score well-posed bodies badly."""
    h36m = (
        *("Pelvis", "Left Hip", "Left Knee", "Left Ankle", "Right Hip", "Right Knee", "Right Ankle"),
        *("Spine", "Neck", "Jaw", "Head", "Left Shoulder", "Left Elbow", "Left Wrist"),
        *("Right Shoulder", "Right Elbow", "Right Wrist"),
    )
    names = keypoints.NAMES if protocol is evaluate.LSP14 else h36m
    scored = [names[i].split(" (")[0] for i in protocol.joints]
    assert scored == [keypoints.NAMES[25 + i].split(" (")[0] for i in protocol.measured_joints]


def test_measured_joints_serve_where_no_body_model_was_fitted(human):
    (rotvec, betas), (other, shape) = bodies(), bodies(seed=1)
    points = human.keypoints(roma.rotvec_to_rotmat(rotvec), betas)[:, keypoints.ANNOTATED]
    by_model = evaluate.score_fits(human, other, shape, known(rotvec, betas))
    by_joints = evaluate.score_fits(human, other, shape, measured(points))
    torch.testing.assert_close(by_joints.mpjpe, by_model.mpjpe, atol=1e-6, rtol=0)
    torch.testing.assert_close(by_joints.pa_mpjpe, by_model.pa_mpjpe, atol=1e-6, rtol=0)


def test_bodies_are_scored_alike_in_many_chunks_and_in_one(human, monkeypatch):
    (rotvec, betas), (other, shape) = bodies(), bodies(seed=1)
    copies = other.clone(), shape.clone()
    whole = evaluate.score_fits(human, other, shape, known(rotvec, betas))
    monkeypatch.setattr(evaluate.scoring, "CHUNK", 2)
    parts = evaluate.score_fits(human, other, shape, known(rotvec, betas))
    torch.testing.assert_close(parts.mpjpe, whole.mpjpe)
    assert len(parts) == COUNT
    assert torch.equal(other, copies[0]) and torch.equal(shape, copies[1])


def test_a_model_is_scored_on_its_own_answers_to_unchanged_crops(human):
    rotvec, betas = bodies()
    samples, model = people(known(rotvec, betas)), small()
    scores = evaluate.score_model(model, samples, human, size=64, batch=2)
    change = Change.none(COUNT)
    image = data.make_batch(samples, torch.arange(COUNT), change, 64).image
    answer = model.eval()(hmr.normalise(image)).detach()
    expected = evaluate.score_bodies(human, answer.rotmat, answer.betas, known(rotvec, betas))
    torch.testing.assert_close(scores.mpjpe, expected.mpjpe, atol=1e-5, rtol=0)


def test_judging_leaves_a_model_as_it_was(human):
    """A layer frozen on purpose stays frozen, and running means do not see the test images."""
    model = small().train()
    model.bn1.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate.score_model(model, people(known(*bodies())), human, size=64)
    assert model.training and model.layer1.training and not model.bn1.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_model_that_fails_is_back_in_its_mode(human):
    class Broken(nn.Linear):
        def forward(self, image):
            raise RuntimeError("broken")

    model = Broken(1, 1).train()
    with pytest.raises(RuntimeError, match="broken"):
        evaluate.score_model(model, people(known(*bodies())), human, size=64)
    assert model.training


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_every_printed_number_says_its_points_its_alignment_and_its_unit(human, protocol):
    (rotvec, betas), (other, shape) = bodies(), bodies(seed=1)
    scores = evaluate.score_fits(human, other, shape, known(rotvec, betas), protocol)
    for label, value, unit in scores.rows():
        assert protocol.name in label and unit in ("mm", "%") and value > 0
        assert "posed by body.npz, truth by it too" in label
        assert ("similarity" if label.startswith("PA") else protocol.root_name) in label
    values = {label.split(",")[0]: value for label, value, _ in scores.rows()}
    assert values["MPJPE"] == pytest.approx(1000 * scores.mpjpe.mean().item())
    assert values["PCK at 150 mm"] == pytest.approx(100 * scores.pck150.mean().item())
    assert "PVE" not in values
    assert str(scores).endswith("over 5 bodies") and f"{values['MPJPE']:.1f} mm" in str(scores)


def test_bodies_without_truth_are_refused_by_number(human):
    rotvec, betas = bodies()
    truth = known(rotvec, betas)
    truth.has_smpl[3] = False
    with pytest.raises(ValueError, match=r"1 of 5 bodies lack SMPL .* the first is number 3"):
        evaluate.score_fits(human, rotvec, betas, truth)
    joints_only = measured(torch.rand(COUNT, 24, 3, generator=seeded()))
    with pytest.raises(ValueError, match="5 of 5 bodies lack SMPL parameters, the first"):
        evaluate.score_fits(human, rotvec, betas, joints_only, surface=True)
    joints_only.joints[1, 14, 3] = 0
    evaluate.score_fits(human, rotvec, betas, joints_only)
    with pytest.raises(ValueError, match=r"1 of 5 bodies .* the first is number 1"):
        evaluate.score_fits(human, rotvec, betas, joints_only, evaluate.H36M14)


def test_a_set_without_a_judge_is_refused(human):
    with pytest.raises(ValueError, match=r"crowd has no hidden truth \(judge is None\)"):
        evaluate.score_model(small(), people(None), human, size=64)


def test_no_bodies_or_unequal_numbers_of_them_are_refused(human):
    rotvec, betas = bodies()
    with pytest.raises(ValueError, match="got 4 bodies and the truth of 5"):
        evaluate.score_fits(human, rotvec[:4], betas[:4], known(rotvec, betas))
    with pytest.raises(ValueError, match="got 0 bodies"):
        evaluate.score_fits(human, rotvec[:0], betas[:0], Truth.none(0))


def test_a_body_without_the_human36m_regressor_is_refused_with_the_way_out(human):
    rotvec, betas = bodies()
    bare = replace(human, h36m_regressor=None)
    with pytest.raises(ValueError, match=r"has no Human3.6M regressor.*LSP14"):
        evaluate.score_fits(bare, rotvec, betas, known(rotvec, betas), evaluate.H36M14)


def test_a_protocol_whose_point_lists_differ_in_length_is_refused():
    with pytest.raises(ValueError, match="14 joints but 13 measured_joints"):
        replace(evaluate.LSP14, measured_joints=tuple(range(13)))
