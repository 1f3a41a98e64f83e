"""The judge: how well any body explains a person's keypoints, under the camera that suits it best."""

from collections.abc import Sequence

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
    points = points_of(body.keypoints_only(), rotvec, betas)
    return _judged(points, sound(keypoints), settings or SmplifySettings())


@torch.no_grad()
def errors(
    body: Body,
    keypoints: Keypoints,
    rotvec: Float[Tensor, "batch 24 3"],
    betas: Float[Tensor, "batch 10"],
    settings: Sequence[SmplifySettings],
) -> list[Float[Tensor, "batch"]]:
    """The errors by `judge` under several settings, for bodies that are posed once."""
    points, keypoints = points_of(body.keypoints_only(), rotvec, betas), sound(keypoints)
    return [_judged(points, keypoints, each)[1] for each in settings]


def _judged(points: Tensor, keypoints: Keypoints, settings: SmplifySettings) -> tuple[Camera, Tensor]:
    camera = cameras.crop_camera(points.new_zeros(points.shape[0], 3))
    camera = cameras.crop_camera(robust_translation(points, keypoints, camera, settings))
    weight = counted(keypoints)
    pixels = cameras.project(camera, points) - keypoints.xy
    square = (weight[..., None] * robust(pixels, settings.robust_scale)).square().sum(-1)
    error = mean_error(square, weight, settings)
    bad = scarce(keypoints, settings) | (camera.translation[:, 2] <= 0) | ~error.isfinite()
    return camera, torch.where(bad, torch.full_like(error, torch.inf), error)


def points_of(
    layer: KeypointLayer, rotvec: Float[Tensor, "batch 24 3"], betas: Float[Tensor, "batch 10"]
) -> Float[Tensor, "batch 49 3"]:
    """The keypoints before any camera, metres."""
    rotmat, _ = rotation_and_jacobian(rotvec.permute(1, 2, 0))
    return layer.posed(rotmat, betas.T).positions()


def robust_translation(
    points: Float[Tensor, "batch 49 3"], keypoints: Keypoints, camera: Camera, settings: SmplifySettings
) -> Float[Tensor, "batch 3"]:
    """The translation under which points fall best on keypoints; outliers are let go of in rounds."""
    # Hips are where they are for the camera, though bodies are not fitted to them.
    weight = counted(keypoints)
    trust = torch.cat([weight[:, : ANNOTATED.start], keypoints.confidence[:, ANNOTATED]], dim=1).square()
    return cameras.solve_translation_robustly(points, keypoints.xy, trust, settings.robust_scale, camera)


def distance_from_start(
    body: Body,
    prior: Mixture,
    keypoints: Keypoints,
    start: Float[Tensor, "batch 24 3"],
    rotvec: Float[Tensor, "batch 24 3"],
    settings: SmplifySettings,
) -> Float[Tensor, "batch"]:
    """What the objective charges poses for leaving their start: px^2, as weighed, summed over joints."""
    layer, keypoints = body.keypoints_only(), sound(keypoints)
    turn = settings.turn_weight**2 * roma.rotvec_geodesic_distance(rotvec[:, 0], start[:, 0]).square()
    for rows in by_feet(layer, keypoints, settings):
        hidden = left_to_prior(layer, prior, keypoints[rows], settings)
        metric = prior if hidden is None else hidden.prior
        away = searched(rotvec[rows] - start[rows], hidden)[:, 3:]
        away = priors.whitened(metric, away, priors.winner(prior, start[rows, 1:].flatten(1)))
        turn = turn.index_add(0, rows, 0.5 * settings.start_weight**2 * away.square().sum(1))
    return turn


def mean_error(
    square: Float[Tensor, "batch points"], weight: Float[Tensor, "batch points"], settings: SmplifySettings
) -> Float[Tensor, "batch"]:
    """Mean over the keypoints that count, from squared robust errors per keypoint."""
    if settings.absent_as_zero:
        return square.sum(1) / 49
    return square.sum(1) / (weight > 0).sum(1).clamp(min=1)
