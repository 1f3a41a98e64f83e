"""Is a fit as sure as it should be? Shares of true keypoints within two of the standard deviations that fits report."""

import roma
from torch import Tensor

from fitting.routines import World
from fitting.samples import Crowd
from spinkit import smplify, spin
from spinkit.smplify import Fit, SmplifySettings, Start

LSP, HIPS = list(range(25, 39)), [27, 28]


def measure(world: World, crowd: Crowd, starts: Start) -> dict[str, dict[str, float]]:
    """Fits from the benchmark's starts, the loop's own fits from there, and fits from nothing."""

    def fitted(settings: SmplifySettings) -> Fit:
        return smplify.fit(world.body, world.prior, crowd.keypoints, starts, settings)

    gentle, loop = smplify.initial(), spin.loop_fit()
    found = {
        "from the starts, as initial fits are made": (gentle, fitted(gentle)),
        "from the starts, as in the loop": (loop, fitted(loop)),
        "from nothing": (gentle, smplify.initial_fits(world.body, world.prior, crowd.keypoints, gentle)),
    }
    return {name: calibration(world, crowd, *fits) for name, fits in found.items()}


def calibration(world: World, crowd: Crowd, settings: SmplifySettings, found: Fit) -> dict[str, float]:
    """Of the 14 LSP keypoints, against the hips' midpoint."""
    spread = smplify.deviation(world.body, world.prior, crowd.keypoints, found, settings)
    away = between_hips(world, found.rotvec, found.betas) - between_hips(world, crowd.truth.rotvec, crowd.truth.betas)
    away, use = away[:, LSP], found.usable
    depth, across = spread.depth[use][:, LSP], spread.across[use][:, LSP]

    def within(distance: Tensor, sigma: Tensor) -> float:
        return (distance.abs() < 2 * sigma).double().mean().item()

    return {
        "within_depth": within(away[use][..., 2], depth),
        "within_across": within(away[use][..., :2], across[..., None]),
        "median_depth_mm": 1000 * depth.median().item(),
        "median_across_mm": 1000 * across.median().item(),
    }


def between_hips(world: World, rotvec: Tensor, betas: Tensor) -> Tensor:
    points = world.body.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    return points - points[:, HIPS].mean(dim=1, keepdim=True)
