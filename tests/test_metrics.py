"""Metrics: cases small enough to do by hand, invariances, and what is refused."""

import math

import pytest
import roma
import torch

from spinkit import metrics


def points(*batch: int, count: int = 14, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, count, 3, generator=generator, dtype=torch.float64)


def similar(body: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """Every body turned, scaled and moved in its own way."""
    generator = torch.Generator().manual_seed(seed)
    batch = body.shape[:-2]
    R = roma.random_rotmat(batch, dtype=body.dtype, generator=generator)
    scale = 0.5 + torch.rand(*batch, 1, 1, generator=generator, dtype=body.dtype)
    shift = torch.randn(*batch, 1, 3, generator=generator, dtype=body.dtype)
    return scale * body @ R.mT + shift


TRUTH = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
# One point is 3 cm, 4 cm and 12 cm off, which is 13 cm; another lies exactly 10 cm deeper.
PREDICTED = TRUTH + torch.tensor([[0.0, 0, 0], [0.03, 0.04, 0.12], [0, 0, 0.1], [0, 0, 0]], dtype=torch.float64)


def close(number: torch.Tensor, expected: float) -> None:
    torch.testing.assert_close(number, torch.tensor(expected, dtype=number.dtype), atol=1e-6, rtol=0)


def test_joint_error_by_hand():
    close(metrics.mpjpe(PREDICTED, TRUTH, root=(0,)), (0 + 0.13 + 0.1 + 0) / 4)
    close(metrics.mpjpe(PREDICTED, TRUTH, root=(0,), joints=(1, 2)), (0.13 + 0.1) / 2)


def test_joint_error_by_hand_with_a_root_between_two_points():
    # The root of points 0 and 2 lies 5 cm too deep, so every point is seen 5 cm too shallow.
    expected = (0.05 + math.hypot(0.03, 0.04, 0.07) + 0.05 + 0.05) / 4
    close(metrics.mpjpe(PREDICTED, TRUTH, root=(0, 2)), expected)


def test_aligned_error_by_hand():
    """A square stretched along one axis: the best similarity is a scale that we can solve for."""
    square = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]], dtype=torch.float64)
    stretched = square * torch.tensor([2.0, 1, 1], dtype=torch.float64)
    # s minimises (2s - 1)^2 + (s - 1)^2, so s = 3/5 and every corner is off by (1/5, 2/5).
    close(metrics.pa_mpjpe(stretched, square), math.hypot(0.2, 0.4))


def test_surface_error_by_hand():
    close(metrics.pve(PREDICTED, TRUTH), (0.13 + 0.1) / 4)


def test_share_of_near_joints_by_hand():
    close(metrics.pck(PREDICTED, TRUTH, root=(0,), threshold=0.12), 3 / 4)
    close(metrics.pck(PREDICTED, TRUTH, root=(0,)), 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_joint_exactly_at_the_threshold_does_not_count(dtype):
    truth = torch.zeros(2, 3, dtype=dtype)
    predicted = torch.tensor([[0, 0, 0], [0, 0, metrics.PCK_THRESHOLD]], dtype=dtype)
    close(metrics.pck(predicted, truth, root=(0,)), 0.5)


def test_area_under_the_curve_by_hand():
    truth = torch.zeros(3, 3, dtype=torch.float64)
    predicted = torch.tensor([[0.0, 0, 0], [0, 0.0525, 0], [0.2, 0, 0]], dtype=torch.float64)
    # The root counts from 5 mm on (30 of 31 thresholds), the second from 55 mm on (20), the third never.
    close(metrics.auc(predicted, truth, root=(0,)), (30 + 20 + 0) / 31 / 3)


def test_area_under_the_curve_is_the_mean_share_over_its_thresholds():
    predicted, truth = 0.05 * points(5), 0.05 * points(5, seed=1)
    shares = [metrics.pck(predicted, truth, (2, 3), threshold=t) for t in metrics.AUC_THRESHOLDS]
    assert len(shares) == 31 and metrics.AUC_THRESHOLDS[-1] == pytest.approx(0.15)
    torch.testing.assert_close(metrics.auc(predicted, truth, (2, 3)), torch.stack(shares).mean(dim=0))


@pytest.mark.parametrize("batch", [(), (2,), (3,), (5,), (2, 3)])
def test_a_turned_scaled_moved_body_has_no_aligned_error(batch):
    body = points(*batch)
    error = metrics.pa_mpjpe(similar(body), body)
    torch.testing.assert_close(error, torch.zeros(batch, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("count", [2, 3])
def test_bodies_are_aligned_one_by_one_also_in_batches_of_two_and_three(count):
    """A batch as long as a vector must not be taken for one: there is nothing to transpose."""
    predicted, truth = points(count, count=3), points(count, count=3, seed=1)
    alone = torch.stack([metrics.pa_mpjpe(p, t) for p, t in zip(predicted, truth, strict=True)])
    torch.testing.assert_close(metrics.pa_mpjpe(predicted, truth), alone)


def test_a_mirror_image_is_not_forgiven():
    body = points()
    assert metrics.pa_mpjpe(body * torch.tensor([-1.0, 1, 1]), body) > 0.1


def test_the_price_of_a_mirror_image_by_hand():
    """Six points on the axes, 3, 2 and 1 m out, and the same body seen in a mirror across the first axis.

    The best turn is by half a circle about the second axis: it sets the first right and the shortest wrong. With
    the scale s = (18 + 8 - 2) / 28 = 6/7, pairs of points are off by 3/7, 2/7 and 1 + 6/7.
    """
    body = torch.diag(torch.tensor([3.0, 2, 1], dtype=torch.float64))
    body = torch.cat([body, -body])
    mirrored = body * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    close(metrics.pa_mpjpe(mirrored, body), (3 / 7 + 2 / 7 + 13 / 7) / 3)
    torch.testing.assert_close(metrics.aligned(mirrored, body)[2].abs().max().item(), 6 / 7)


def test_aligned_shares_by_hand():
    """A square of side 2 m stretched to twice its width is off by (1/5, 2/5) at every corner; here in decimetres."""
    square = 0.1 * torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]], dtype=torch.float64)
    stretched = square * torch.tensor([2.0, 1, 1], dtype=torch.float64)
    left = (metrics.aligned(stretched, square) - square).norm(dim=-1)
    # 44.7 mm everywhere: within 45, 50, ... 150 mm, which are 22 of the 31 thresholds.
    close(metrics.share_within(left), 1.0)
    close(metrics.share_within(left, 0.0447), 0.0)
    close(metrics.area_under(left), 22 / 31)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_measure_by_hand_in_batches_of_one_two_and_three(count):
    """Batches as long as a vector: a body with two points off, the truth itself, and the truth a fifth too large."""
    near, far = TRUTH + 0.98 * (PREDICTED - TRUTH), 1.2 * TRUTH
    predicted, truth = torch.stack([near, TRUTH, far])[:count], TRUTH.expand(count, 4, 3)
    expected = {
        metrics.mpjpe: [0.98 * 0.23 / 4, 0, 0.15],
        metrics.pck: [1, 1, 1 / 4],
        # 127.4 mm is nearer than 5 of the thresholds, 98 mm than 11, 0 mm than 30.
        metrics.auc: [(30 + 5 + 11 + 30) / 31 / 4, 30 / 31, 30 / 31 / 4],
    }
    for measure, values in expected.items():
        found = measure(predicted, truth, root=(0,))
        torch.testing.assert_close(found, torch.tensor(values[:count], dtype=torch.float64), atol=1e-6, rtol=0)
    # Alignment forgives the size.
    torch.testing.assert_close(metrics.pa_mpjpe(predicted, truth)[1:].abs().sum().item(), 0.0, atol=1e-6, rtol=0)


@pytest.mark.parametrize("step", [0, 1, 15, 30])
def test_a_joint_exactly_at_a_threshold_of_the_area_counts_from_the_next_one_on(step):
    errors = torch.tensor([metrics.AUC_THRESHOLDS[step]], dtype=torch.float64)
    close(metrics.area_under(errors), (30 - step) / 31)


def test_no_other_similarity_leaves_a_smaller_squared_error():
    predicted, truth = points(), points(seed=1)
    R, t, s = roma.rigid_points_registration(predicted, truth, compute_scaling=True)
    best = (s * predicted @ R.mT + t - truth).square().sum()
    near = roma.rotvec_to_rotmat(0.05 * points(50, count=1)[:, 0])
    others = (s * predicted @ (near @ R).mT + t - truth).square().sum(dim=(1, 2))
    assert (others > best).all()


@pytest.mark.parametrize("measure", [metrics.mpjpe, metrics.pck, metrics.auc])
def test_where_both_bodies_stand_does_not_matter(measure):
    predicted, truth = 0.1 * points(4), 0.1 * points(4, seed=1)
    shifts = 7 * points(2, 4, count=1, seed=2)
    moved = measure(predicted + shifts[0], truth + shifts[1], (2, 3))
    torch.testing.assert_close(moved, measure(predicted, truth, (2, 3)))


def test_one_number_a_body_and_inputs_unchanged():
    predicted, truth = points(2, 3).float(), points(2, 3, seed=1).float()
    copies = predicted.clone(), truth.clone()
    found = [m(predicted, truth, (2, 3)) for m in (metrics.mpjpe, metrics.pck, metrics.auc)]
    found += [metrics.pa_mpjpe(predicted, truth), metrics.pve(predicted, truth)]
    assert all(number.shape == (2, 3) and number.dtype == torch.float32 for number in found)
    assert torch.equal(predicted, copies[0]) and torch.equal(truth, copies[1])


def test_alignment_with_too_few_points_and_a_missing_root_are_refused():
    with pytest.raises(ValueError, match="needs 3 or more points, got 2"):
        metrics.pa_mpjpe(points(count=2), points(count=2))
    with pytest.raises(ValueError, match="root must name one point or more"):
        metrics.mpjpe(points(), points(), root=())


# Two images of six pixels with classes 0..2 and, in the truth, unlabelled pixels (255).
TRUE_LABELS = torch.tensor([[[0, 1, 1], [2, 255, 0]], [[1, 2, 2], [0, 255, 0]]])
SEEN_LABELS = torch.tensor([[[0, 1, 2], [2, 0, 0]], [[1, 2, 1], [0, 1, 1]]])


def test_segmentation_by_hand():
    counts = metrics.segmentation(SEEN_LABELS, TRUE_LABELS, classes=3)
    # Correct: 4 labelled and 1 unlabelled as background in the first image, 3 in the second.
    close(counts.accuracy(), 8 / 12)
    # Class 0: 3 hits, 1 miss. Class 1: 2 hits, 2 false, 1 miss. Class 2: 2 hits, 1 false, 1 miss.
    expected = [6 / 7, 4 / 7, 4 / 6]
    torch.testing.assert_close(counts.f1(), torch.tensor(expected, dtype=torch.float64))
    close(counts.mean_f1(), sum(expected) / 3)


def test_segmentation_pools_pixels_and_does_not_average_images():
    truth = torch.tensor([[[1, 0, 0, 0]], [[1, 1, 1, 0]]])
    seen = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 0]]])
    counts = metrics.segmentation(seen, truth, classes=2)
    close(counts.f1()[1], 6 / 7)
    single = [metrics.segmentation(s, t, classes=2).f1()[1] for s, t in zip(seen, truth, strict=True)]
    assert [f.item() for f in single] == [0.0, 1.0]


def test_segmentation_counts_every_image_for_itself():
    counts = metrics.segmentation(SEEN_LABELS, TRUE_LABELS, classes=3)
    for number in range(2):
        alone = metrics.segmentation(SEEN_LABELS[number], TRUE_LABELS[number], classes=3)
        assert torch.equal(counts.confusion[number], alone.confusion)
    assert counts.unlabelled.tolist() == [1, 1] and counts.background.tolist() == [1, 0]


def test_images_of_several_sizes_are_pooled_by_their_pixels():
    small, large = torch.ones(1, 2).long(), torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]])
    counts = [metrics.segmentation(image, torch.ones_like(image), classes=2) for image in (small, large)]
    together = metrics.stack(counts)
    # 10 pixels, all of class 1: the small image has 2 right, the large one 1 of 8.
    close(together.accuracy(), 3 / 10)
    close(together.f1()[1], 2 * 3 / (3 + 10))
    close(together.f1()[0], 0.0)


def test_a_class_that_nobody_saw_does_not_enter_the_mean():
    counts = metrics.segmentation(torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), classes=7)
    assert counts.f1().isnan().sum() == 6
    close(counts.mean_f1(), 1.0)


def test_labels_that_are_no_class_are_refused():
    labels = torch.zeros(2, 2).long()
    with pytest.raises(ValueError, match="truth has the label 7; with 7 classes, 0 to 6 exist"):
        metrics.segmentation(labels, labels + 7, classes=7)
    with pytest.raises(ValueError, match="predicted has the label 255"):
        metrics.segmentation(labels + 255, labels, classes=2)
