"""The judge: how well any body explains a person's keypoints, under the camera that suits it best."""

from collections.abc import Sequence
from functools import lru_cache

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import camera as cameras
from spinkit import priors
from spinkit.body import Body, KeypointLayer, rotation_and_jacobian
from spinkit.camera import Camera
from spinkit.keypoints import ANNOTATED, Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import counted, scarce, sound
from spinkit.smplify.hidden import by_feet, left_to_prior, searched
from spinkit.smplify.objective import robust
from spinkit.smplify.settings import SmplifySettings


@torch.no_grad()
def judge(
    body: Body,
    keypoints: Keypoints,
    rotvec: Float[Tensor, "batch 24 3"],
    betas: Float[Tensor, "batch 10"],
    settings: SmplifySettings | None = None,
) -> tuple[Camera, Float[Tensor, "batch"]]:
    """The reprojection error of given bodies, each under the camera that suits it best.

    Two fits of one sample are compared fairly only if they are judged alike. The released code gives the stored one
    a least-squares camera and the new one the camera stage's; here both get a camera by robust least squares.

    Returns:
        The cameras, and px^2 a sample: the mean robust error of the keypoints that count. Infinite where keypoints
        are too few, or the body would have to stand behind the camera.
    """
    ((camera, error),) = _judged(body, sound(keypoints), rotvec, betas, [settings or SmplifySettings()])
    return camera, error


@torch.no_grad()
def errors(
    body: Body,
    keypoints: Keypoints,
    rotvec: Float[Tensor, "batch 24 3"],
    betas: Float[Tensor, "batch 10"],
    settings: Sequence[SmplifySettings],
) -> list[Float[Tensor, "batch"]]:
    """The errors by `judge` under several settings, for bodies that are posed once."""
    return [error for _, error in _judged(body, sound(keypoints), rotvec, betas, settings)]


def _judged(
    body: Body, keypoints: Keypoints, rotvec: Tensor, betas: Tensor, settings: Sequence[SmplifySettings]
) -> list[tuple[Camera, Float[Tensor, "batch"]]]:
    """Cameras and errors under each of the settings; the cameras are found together, since that takes little longer."""
    count, times = rotvec.shape[0], len(settings)
    # Keypoints that nobody in the batch has cost time and change nothing.
    used = (keypoints.confidence > 0).any(0).nonzero()[:, 0]
    points = points_of(some_keypoints(body.keypoints_only(), tuple(used.tolist())), rotvec, betas)
    xy, weight, trust = keypoints.xy[:, used], counted(keypoints)[:, used], _trust(keypoints)[:, used]
    scale = points.new_tensor([each.robust_scale for each in settings]).repeat_interleave(count)[:, None]
    anywhere = cameras.crop_camera(points.new_zeros(times * count, 3))
    again = (each.repeat(times, *[1] * (each.dim() - 1)) for each in (points, xy, trust))
    found = cameras.solve_translation_robustly(*again, scale, anywhere).split(count)
    judged = []
    for translation, each in zip(found, settings, strict=True):
        camera = cameras.crop_camera(translation)
        square = (weight[..., None] * robust(cameras.project(camera, points) - xy, each.robust_scale)).square().sum(-1)
        error = mean_error(square, weight, each)
        bad = scarce(keypoints, each) | (translation[:, 2] <= 0) | ~error.isfinite()
        judged.append((camera, torch.where(bad, torch.full_like(error, torch.inf), error)))
    return judged


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def some_keypoints(layer: KeypointLayer, points: tuple[int, ...]) -> KeypointLayer:
    """A layer of a few keypoints, made once: most batches have the same ones."""
    return layer.select(torch.tensor(points, dtype=torch.int64, device=layer.mass.device))


def points_of(
    layer: KeypointLayer, rotvec: Float[Tensor, "batch 24 3"], betas: Float[Tensor, "batch 10"]
) -> Float[Tensor, "batch points 3"]:
    """The layer's keypoints before any camera, metres."""
    rotmat, _ = rotation_and_jacobian(rotvec.permute(1, 2, 0))
    return layer.posed(rotmat, betas.T).positions()


def robust_translation(
    points: Float[Tensor, "batch 49 3"], keypoints: Keypoints, camera: Camera, scale: float
) -> Float[Tensor, "batch 3"]:
    """The translation under which points fall best on keypoints; outliers are let go of in rounds.

    Args:
        scale: pixels beyond which a keypoint counts as an outlier.
    """
    return cameras.solve_translation_robustly(points, keypoints.xy, _trust(keypoints), scale, camera)


def _trust(keypoints: Keypoints) -> Float[Tensor, "batch 49"]:
    """How much each keypoint says about the camera: hips are where they are, though bodies are not fitted to them."""
    weight = counted(keypoints)
    return torch.cat([weight[:, : ANNOTATED.start], keypoints.confidence[:, ANNOTATED]], dim=1).square()


def distance_from_start(
    body: Body,
    prior: Mixture,
    keypoints: Keypoints,
    start: Float[Tensor, "batch 24 3"],
    rotvec: Float[Tensor, "batch 24 3"],
    settings: SmplifySettings,
) -> Float[Tensor, "batch"]:
    """What a fit's search charges poses for leaving their start: px^2, as weighed, summed over the joints that are
    searched. Hidden ones cost nothing, in whichever place a fit leaves them."""
    layer = body.keypoints_only()
    charge = settings.turn_weight**2 * roma.rotvec_geodesic_distance(rotvec[:, 0], start[:, 0]).square()
    for rows in by_feet(layer, keypoints, settings):
        hidden = left_to_prior(layer, prior, keypoints[rows], settings)
        metric = prior if hidden is None else hidden.prior
        away = searched(rotvec[rows] - start[rows], hidden)[:, 3:]
        away = priors.whitened(metric, away, priors.winner(prior, start[rows, 1:].flatten(1)))
        charge = charge.index_add(0, rows, 0.5 * settings.start_weight**2 * away.square().sum(1))
    return charge


def mean_error(
    square: Float[Tensor, "batch points"], weight: Float[Tensor, "batch points"], settings: SmplifySettings
) -> Float[Tensor, "batch"]:
    """Mean over the keypoints that count, from squared robust errors per keypoint."""
    if settings.absent_as_zero:
        return square.sum(1) / 49
    return square.sum(1) / (weight > 0).sum(1).clamp(min=1)
