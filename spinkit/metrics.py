"""How far a body is from the truth: joints, surface, thresholds, silhouettes.

Metres in, metres out, one number a body; multiply by 1000 only where you print it. What a number means
depends on the points and on the alignment that went into it: `evaluate` names both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PCK_THRESHOLD = 0.15
AUC_THRESHOLDS = tuple(0.005 * step for step in range(31))
UNLABELLED = 255


def mpjpe(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
    root: tuple[int, ...],
    joints: tuple[int, ...] | None = None,
) -> Float[Tensor, "*batch"]:
    """Mean joint distance after both roots are moved to the origin (MPJPE).

    Only translation is taken off: a body turned or scaled wrongly pays for it.

    Args:
        predicted: points in metres, camera frame.
        truth: the same points in the same order.
        root: points whose average is the root, for instance the two hips.
        joints: points that are scored; None for all.

    Returns:
        Metres.
    """
    return _errors(predicted, truth, root, joints).mean(dim=-1)


def pa_mpjpe(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
) -> Float[Tensor, "*batch"]:
    """Mean joint distance left after the best similarity alignment (PA-MPJPE, reconstruction error).

    Scale, rotation and translation are fitted to each body alone, so this measures pose only: a child
    predicted at an adult's size, or a body facing the wrong way, costs nothing. A mirror image does cost.

    Args:
        predicted: points in metres, in any frame.
        truth: the same points in the same order.

    Returns:
        Metres.

    Raises:
        ValueError: with fewer than three points.

    Source: SPIN's utils/pose_utils.py::reconstruction_error.
    """
    return (aligned(predicted, truth) - truth).norm(dim=-1).mean(dim=-1)


def aligned(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
) -> Float[Tensor, "*batch points 3"]:
    """Every body under the shift, turn and scale, never a mirror, that bring it nearest to its truth.

    Nearest in the sum of squared distances over all points. There is nothing to guess from shapes: points are
    rows whatever the batch, also where it holds two or three bodies.

    Raises:
        ValueError: with fewer than three points, which leave the rotation undetermined.

    Source: Umeyama 1991, eq. 40-42.
    """
    if truth.shape[-2] < 3:
        raise ValueError(f"alignment needs 3 or more points, got {truth.shape[-2]}")
    R, t, s = roma.rigid_points_registration(predicted, truth, compute_scaling=True)
    return s[..., None, None] * predicted @ R.mT + t[..., None, :]


def pve(
    predicted: Float[Tensor, "*batch vertices 3"],
    truth: Float[Tensor, "*batch vertices 3"],
) -> Float[Tensor, "*batch"]:
    """Mean distance between the same vertices of two surfaces (PVE), as they lie: nothing is aligned here."""
    return (predicted - truth).norm(dim=-1).mean(dim=-1)


def pck(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
    root: tuple[int, ...],
    joints: tuple[int, ...] | None = None,
    threshold: float = PCK_THRESHOLD,
) -> Float[Tensor, "*batch"]:
    """Share of joints nearer to the truth than a threshold, roots at the origin (PCK), between 0 and 1.

    Args:
        threshold: metres; a joint exactly as far away does not count.

    Source: the MATLAB evaluation of MPI-INF-3DHP.
    """
    return share_within(_errors(predicted, truth, root, joints), threshold)


def auc(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
    root: tuple[int, ...],
    joints: tuple[int, ...] | None = None,
) -> Float[Tensor, "*batch"]:
    """Mean PCK over the 31 thresholds 0, 5, ... 150 mm (AUC), between 0 and 30/31.

    Nothing is nearer than 0 mm, so a perfect body reaches 0.968 and not 1.

    Source: the MATLAB evaluation of MPI-INF-3DHP.
    """
    return area_under(_errors(predicted, truth, root, joints))


def share_within(errors: Float[Tensor, "*batch joints"], threshold: float = PCK_THRESHOLD) -> Float[Tensor, "*batch"]:
    """PCK of distances that were measured already, after whatever alignment: the share below the threshold."""
    return (errors < threshold).to(errors).mean(dim=-1)


def area_under(errors: Float[Tensor, "*batch joints"]) -> Float[Tensor, "*batch"]:
    """AUC of distances that were measured already: the mean of their PCK over `AUC_THRESHOLDS`."""
    return (errors[..., None] < errors.new_tensor(AUC_THRESHOLDS)).to(errors).mean(dim=(-2, -1))


def _errors(
    predicted: Float[Tensor, "*batch points 3"],
    truth: Float[Tensor, "*batch points 3"],
    root: tuple[int, ...],
    joints: tuple[int, ...] | None,
) -> Float[Tensor, "*batch joints"]:
    """Distance of every scored joint after both roots are moved to the origin."""
    errors = (centred(predicted, root) - centred(truth, root)).norm(dim=-1)
    return errors if joints is None else errors[..., list(joints)]


def centred(points: Float[Tensor, "*batch points 3"], root: tuple[int, ...]) -> Float[Tensor, "*batch points 3"]:
    """Points seen from the average of the root points.

    Raises:
        ValueError: without a root point.
    """
    if not root:
        raise ValueError("root must name one point or more; to compare bodies as they lie, use pve")
    return points - points[..., list(root), :].mean(dim=-2, keepdim=True)


@dataclass(frozen=True)
class Segmentation:
    """Pixel counts, one set an image; the measures pool all images first, as UP-3D's protocol does.

    An average of per-image scores would be another number: it lets small people weigh as much as large ones.
    """

    confusion: Int[Tensor, "*batch classes classes"]
    """Labelled pixels by true class (row) and predicted class (column)."""
    background: Int[Tensor, "*batch"]
    """Unlabelled pixels that were predicted as class 0."""
    unlabelled: Int[Tensor, "*batch"]
    """Pixels without a true label."""

    def accuracy(self) -> Float[Tensor, ""]:
        """Share of correct pixels among all pixels; an unlabelled pixel is held to be background."""
        pooled = self._pooled()
        correct = pooled.diagonal().sum() + self.background.sum()
        return correct.double() / (pooled.sum() + self.unlabelled.sum())

    def f1(self) -> Float[Tensor, " classes"]:
        """F1 of every class over labelled pixels; NaN where a class is neither present nor predicted."""
        pooled = self._pooled().double()
        return 2 * pooled.diagonal() / (pooled.sum(dim=0) + pooled.sum(dim=1))

    def mean_f1(self) -> Float[Tensor, ""]:
        """Mean F1 over the classes that occur, the background among them."""
        return self.f1().nanmean()

    def _pooled(self) -> Int[Tensor, "classes classes"]:
        return self.confusion.flatten(0, -3).sum(dim=0) if self.confusion.ndim > 2 else self.confusion


def segmentation(predicted: Int[Tensor, "*batch h w"], truth: Int[Tensor, "*batch h w"], classes: int) -> Segmentation:
    """Counts pixels by true and predicted class.

    Args:
        predicted: class of every pixel, 0 is background.
        truth: the same; 255 marks pixels without a label. For masks give `(mask > 0).long()` and two classes.
        classes: how many there are, background included: 2 for silhouettes, 7 for UP-3D's parts.

    Raises:
        ValueError: when a label is neither a class nor, in the truth, 255.

    Source: SPIN's eval.py, LSP part.
    """
    labelled = truth != UNLABELLED
    _check_labels("predicted", predicted, torch.ones_like(labelled), classes)
    _check_labels("truth", truth, labelled, classes)
    # Every (image, true class, predicted class) is one bin; unlabelled pixels fall into a last one.
    images = truth.shape[:-2].numel()
    image = torch.arange(images, device=truth.device).view(*truth.shape[:-2], 1, 1)
    bins = (image * classes + truth) * classes + predicted
    bins = torch.where(labelled, bins, images * classes**2)
    counts = bins.flatten().bincount(minlength=images * classes**2 + 1)[:-1]
    return Segmentation(
        confusion=counts.view(*truth.shape[:-2], classes, classes),
        background=(~labelled & (predicted == 0)).sum(dim=(-2, -1)),
        unlabelled=(~labelled).sum(dim=(-2, -1)),
    )


def stack(counts: Sequence[Segmentation]) -> Segmentation:
    """One batch of the counts of single images, which may be of different sizes."""
    return Segmentation(*(torch.stack([getattr(c, field.name) for c in counts]) for field in fields(Segmentation)))


def _check_labels(name: str, labels: Int[Tensor, "*batch h w"], used: Bool[Tensor, "*batch h w"], classes: int) -> None:
    outside = labels[used & ((labels < 0) | (labels >= classes))]
    if len(outside):
        raise ValueError(f"{name} has the label {outside[0].item()}; with {classes} classes, 0 to {classes - 1} exist")
