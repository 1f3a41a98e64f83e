"""Initial ("static") fits for any set of 2D keypoints, with no network and no 3D labels."""

import math
from dataclasses import replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import camera as cameras
from spinkit.body import Body
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import counted, sound
from spinkit.smplify.fit import Fit, Start, fit
from spinkit.smplify.settings import SmplifySettings, initial

HEADINGS = 4
"""Starts around the vertical axis, a quarter turn apart."""
TRIAL_STEPS = 8
"""Iterations after which headings are compared; only the best goes on to the end."""


def initial_fits(
    body: Body,
    prior: Mixture,
    keypoints: Keypoints,
    settings: SmplifySettings | None = None,
    headings: int = HEADINGS,
) -> Fit:
    """Fit from the mean pose at several headings, and keep the one with the lowest energy.

    A person seen from behind and one seen from the front have nearly the same keypoints, so that a fit from one side
    ends in a twisted body; the prior knows, and its energy tells.

    Args:
        keypoints: crop pixels, (batch 49 2).
        settings: those of the final fit; those of `initial` where not given. Headings are compared after `TRIAL_STEPS`
            Levenberg-Marquardt steps.
        headings: number of starts; one repeats the mean pose that faces the camera.
    """
    settings, keypoints = settings or initial(), sound(keypoints)
    parts = []
    for i in range(0, max(1, len(keypoints.xy)), settings.chunk):
        part = keypoints[i : i + settings.chunk]
        starts = heading_starts(body, prior, part, headings)
        trial_solver = replace(SmplifySettings().body_solver, steps=TRIAL_STEPS)
        short = replace(settings, body_solver=trial_solver, rival_gap=0.0)
        trials = [fit(body, prior, part, start, short) for start in starts]
        best = trials[0]
        for trial in trials[1:]:
            best = best.choose(~(trial.total < best.total), trial)
        final = fit(body, prior, part, Start(best.rotvec, best.betas, best.camera), settings)
        parts.append(replace(final, iterations=final.iterations + sum(t.iterations for t in trials)))
    return Fit.cat(parts)


def heading_starts(body: Body, prior: Mixture, keypoints: Keypoints, headings: int) -> list[Start]:
    """The mean pose, upright, at each heading, with a camera that puts it over the keypoints."""
    batch, like = len(keypoints.xy), keypoints.xy
    pose = torch.cat([like.new_zeros(3), prior.mean_pose().to(like)]).reshape(1, 24, 3)
    upright = roma.rotvec_to_rotmat(like.new_tensor([math.pi, 0.0, 0.0]))
    betas = like.new_zeros(1, 10)
    starts = []
    for k in range(headings):
        turn = roma.rotvec_to_rotmat(like.new_tensor([0.0, 2 * math.pi * k / headings, 0.0]))
        rotvec = torch.cat([roma.rotmat_to_rotvec(upright @ turn).reshape(1, 1, 3), pose[:, 1:]], dim=1)
        points = body.keypoints(roma.rotvec_to_rotmat(rotvec), betas).expand(batch, -1, -1)
        camera = cameras.crop_camera(covering_translation(points, keypoints))
        starts.append(Start(rotvec.expand(batch, -1, -1), betas.expand(batch, -1), camera))
    return starts


def covering_translation(points: Float[Tensor, "batch 49 3"], keypoints: Keypoints) -> Float[Tensor, "batch 3"]:
    """A translation under which a body has the keypoints' centre and their vertical spread.

    Least squares would shrink a body that faces the wrong way, or put it behind the camera: left and right then
    contradict each other. Size and centre do not care.
    """
    weight = counted(keypoints)
    weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)

    def moments(values: Tensor) -> tuple[Tensor, Tensor]:
        mean = (weight[..., None] * values).sum(1)
        return mean, (weight[..., None] * (values - mean[:, None]).square()).sum((1, 2)).sqrt()

    seen_mean, seen_spread = moments(keypoints.xy)
    body_mean, body_spread = moments(points[..., :2])
    depth = cameras.FOCAL * body_spread.clamp(min=0.05) / seen_spread.clamp(min=1.0)
    center = (seen_mean - cameras.RESOLUTION / 2) * (depth / cameras.FOCAL)[:, None]
    return torch.cat([center - body_mean, depth[:, None]], dim=1)
