"""People for tests that need bodies and keypoints but no pictures."""

from dataclasses import dataclass

import numpy as np
import torch

from spinkit import camera
from spinkit.camera import Camera
from spinkit.keypoints import Keypoints
from spinkit.people import PeopleSettings
from spinkit.people.cast import draw_cast
from spinkit.people.detector import detect
from spinkit.people.dice import Dice


@dataclass(frozen=True)
class Crowd:
    """Bodies, the cameras that see them, and keypoints as they were marked."""

    rotvec: torch.Tensor
    betas: torch.Tensor
    camera: Camera
    keypoints: Keypoints


def draw(human, count: int, seed: int = 0, **settings) -> Crowd:
    """Synthetic people by the default settings, or those named; nothing hides any of them."""
    chosen = PeopleSettings(**settings)
    dice = Dice(torch.Generator().manual_seed(seed), count)
    cast = draw_cast(human, dice, np.random.default_rng(seed), chosen)
    nothing_hidden = torch.zeros(count, 49, dtype=torch.bool)
    marked = detect(camera.project(cast.camera, cast.points), nothing_hidden, dice, chosen)
    return Crowd(cast.rotvec, cast.betas, cast.camera, marked)


def draw_exactly(human, count: int, seed: int = 0) -> Crowd:
    """People whose keypoints are all marked, each where it is, OpenPose's half included."""
    return draw(human, count, seed, keypoint_noise=0.0, missing=0.0, missing_hidden=0.0, outliers=0.0, openpose=True)
