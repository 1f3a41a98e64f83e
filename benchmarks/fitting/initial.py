"""Fits from nothing: how many headings it takes to find the side from which a person is seen."""

import math
from dataclasses import replace

import roma
import torch
from torch import Tensor

from fitting.clock import timed
from fitting.routines import World
from fitting.samples import Crowd
from spinkit import camera as cameras
from spinkit import evaluate, smplify
from spinkit.keypoints import ANNOTATED, Keypoints
from spinkit.smplify import Fit, SmplifySettings, Start
from spinkit.solvers import LevenbergMarquardt

RIGHT = math.radians(45)
"""A heading that is no farther off is called right."""


def measure(world: World, crowd: Crowd) -> dict[str, dict[str, float]]:
    """Initial fits of the same people from one start, as the trial made them, and ours."""
    ways = {
        "one start, facing the camera": lambda k: smplify.initial_fits(world.body, world.prior, k, headings=1),
        "the trial's two headings": lambda k: trial(world, k),
        f"ours, {smplify.HEADINGS} headings": lambda k: smplify.initial_fits(world.body, world.prior, k),
    }
    report = {}
    fittable = ~smplify.too_few(crowd.keypoints, SmplifySettings())
    for name, way in ways.items():
        way(crowd[:8].keypoints)
        seconds, found = timed(lambda w=way: w(crowd.keypoints), world.device)
        report[name] = score(world, crowd[fittable], found[fittable]) | {"fits_per_second": len(crowd) / seconds}
    return report


def score(world: World, crowd: Crowd, found: Fit) -> dict[str, float]:
    scores = evaluate.score_fits(world.body, found.rotvec, found.betas, crowd.truth)
    right = heading_error(found.rotvec, crowd.truth.rotvec) < RIGHT
    return {
        "people": len(crowd),
        "heading_right": right.double().mean().item(),
        "pa_mpjpe_mm": 1000 * scores.pa_mpjpe.mean().item(),
        "pa_mpjpe_where_right_mm": 1000 * scores.pa_mpjpe[right].mean().item(),
        "mpjpe_mm": 1000 * scores.mpjpe.mean().item(),
        "error_px2": found.error[found.usable].mean().item(),
        "iterations": found.iterations.double().mean().item(),
    }


def heading_error(found: Tensor, truth: Tensor) -> Tensor:
    """Angle between the directions that two pelvises face, seen from above; radians."""

    def heading(rotvec: Tensor) -> Tensor:
        forward = roma.rotvec_to_rotmat(rotvec[:, 0])[..., 2]
        return torch.atan2(forward[:, 0], forward[:, 2])

    apart = heading(found) - heading(truth)
    return torch.atan2(apart.sin(), apart.cos()).abs()


def trial(world: World, keypoints: Keypoints) -> Fit:
    """The trial's initial fits: the mean pose from the front and from behind, a least-squares camera, 8 and 12 bold
    steps for each, and the lower energy.
    """
    settings = replace(
        SmplifySettings(),
        camera_solver=LevenbergMarquardt(steps=8),
        body_solver=LevenbergMarquardt(steps=12, damping=1e-2, shrink=0.3),
    )
    found = []
    for start in smplify.heading_starts(world.body, world.prior, keypoints, 2):
        points = world.body.keypoints(roma.rotvec_to_rotmat(start.rotvec), start.betas)[:, ANNOTATED]
        seen, trust = keypoints.xy[:, ANNOTATED], keypoints.confidence[:, ANNOTATED]
        camera = cameras.crop_camera(cameras.solve_translation(points, seen, trust))
        start = Start(start.rotvec, start.betas, camera)
        found.append(smplify.fit(world.body, world.prior, keypoints, start, settings))
    front, back = found
    # A body behind the camera cannot be fitted; least squares puts it there where left and right contradict it.
    return front.choose(front.usable & ~(back.usable & (back.total < front.total)), back)
