"""How sure a fit is, read from the curvature of the energy where it ended."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit.body import Body, KeypointLayer, left_jacobian
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import sound
from spinkit.smplify.fit import Fit, Start, body_stage
from spinkit.smplify.settings import SmplifySettings

HIPS = (27, 28)
"""The annotated hips, whose midpoint is the origin, as in MPJPE."""


@dataclass(frozen=True)
class Deviation:
    """Standard deviations of the keypoints' places against the hips' midpoint, metres."""

    across: Float[Tensor, "batch 49"]
    """In the directions that the image shows: the root mean square of both."""
    depth: Float[Tensor, "batch 49"]
    """Along the camera's axis, which the image does not show."""


@torch.no_grad()
def deviation(
    body: Body, prior: Mixture, keypoints: Keypoints, found: Fit, settings: SmplifySettings | None = None
) -> Deviation:
    """The standard deviation of every keypoint, where the energy is taken for a probability.

    Twice the negative logarithm of a posterior is energy over the variance of a pixel, up to a constant. The weight of
    the pose prior says which variance the settings assume: the prior's own logarithm has a factor of one half, so it is
    pose_weight^2 / 2, and with SMPLify's weight a keypoint is trusted to 3.4 px. Near the minimum the posterior is
    taken for a Gaussian with the curvature of the energy, J'J. Other minima, such as a limb bent forwards for one bent
    backwards, are not in it, nor is anything that the settings assume wrongly.

    Args:
        keypoints: those that were fitted.
        found: where a solver ended; elsewhere the curvature means nothing.
        settings: those of the fit.

    Returns:
        NaN where a fit is not usable.
    """
    settings, keypoints = settings or SmplifySettings(), sound(keypoints)
    layer = body.keypoints_only()
    parts = range(0, max(1, len(found)), settings.chunk)
    spread = torch.cat(
        [
            _variances(layer, prior, keypoints[i : i + settings.chunk], found[i : i + settings.chunk], settings)
            for i in parts
        ]
    ).sqrt()
    spread = torch.where(found.usable[:, None, None], spread, torch.full_like(spread, torch.nan))
    return Deviation(spread[..., :2].square().mean(-1).sqrt(), spread[..., 2])


def _variances(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, found: Fit, settings: SmplifySettings
) -> Tensor:
    """Of x, y and z of every keypoint, square metres."""
    start = Start(found.rotvec, found.betas, found.camera)
    stage = body_stage(layer, prior, keypoints, found.camera, start, settings)
    _, hessian, _ = stage.linearize(stage.pack(found.rotvec, found.betas, found.camera.translation))
    factor, _ = torch.linalg.cholesky_ex(hessian)
    posed = layer.pose(roma.rotvec_to_rotmat(found.rotvec), found.betas)
    eye = torch.eye(3).to(hessian).expand(len(found), 49, 3, 3)
    change = posed.derivative(left_jacobian(found.rotvec), eye)
    change = change - change[:, list(HIPS)].mean(dim=1, keepdim=True)
    # A camera that moves takes the whole body along, and so none of it against the hips.
    still = change.new_zeros(*change.shape[:3], hessian.shape[1] - change.shape[3])
    change = torch.cat([change, still], dim=-1).flatten(1, 2)
    whitened = torch.linalg.solve_triangular(factor, change.mT, upper=False)
    return (0.5 * settings.pose_weight**2 * whitened.square().sum(1)).unflatten(1, (49, 3))
