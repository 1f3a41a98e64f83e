"""Scores: protocols that agree with the metrics, invariances, a model judged on hidden truth, refusals."""

from dataclasses import replace

import pytest
import roma
import torch
from torch import nn

from spinkit import data, evaluate, hmr, keypoints, metrics
from spinkit.crop import Change
from spinkit.data import Samples, StoredImages, Truth

PROTOCOLS = [evaluate.LSP14, evaluate.H36M14, evaluate.H36M17]
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
    monkeypatch.setattr(evaluate, "CHUNK", 2)
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
