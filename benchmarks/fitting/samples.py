"""Whom the benchmark fits: synthetic people without pictures, and starts such as a regressor gives."""

import math
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from spinkit import camera as cameras
from spinkit.body import Body
from spinkit.camera import Camera
from spinkit.data import Truth
from spinkit.keypoints import ANNOTATED, Keypoints
from spinkit.people import PeopleSettings, backdrop
from spinkit.people.cast import draw_cast
from spinkit.people.detector import detect
from spinkit.people.dice import Dice
from spinkit.people.studio import Studio
from spinkit.smplify import Start


@dataclass(frozen=True)
class Crowd:
    """People as they are, as a camera saw them, and as somebody marked them."""

    keypoints: Keypoints
    truth: Truth
    camera: Camera

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, rows: slice | Tensor) -> "Crowd":
        return Crowd(self.keypoints[rows], self.truth[rows], self.camera[rows])

    def to(self, device: torch.device | str) -> "Crowd":
        return Crowd(self.keypoints.to(device), self.truth.to(device), self.camera.to(device))


def draw(body: Body, count: int, seed: int, settings: PeopleSettings | None = None) -> Crowd:
    """People of the given settings, keypoints behind objects and outside the crop included; only pictures are left out.

    By default 24 annotated keypoints with 2 px of noise: 4 % in plain view and half of the hidden ones are missing,
    1 % lie anywhere; a tenth of the people is cut off by the crop, a fifth stands behind something.
    """
    settings = settings or PeopleSettings()
    dice = Dice(torch.Generator().manual_seed(seed), count)
    cast = draw_cast(body, dice, np.random.default_rng(seed), settings)
    occluders = backdrop.draw_occluders(dice, settings.occlusion)
    hidden = Studio(body, settings).covered(cast, occluders)
    marked = detect(cameras.project(cast.camera, cast.points), hidden, dice, settings)
    return Crowd(marked, cast.truth, cast.camera)


def trial_starts(body: Body, crowd: Crowd, generator: torch.Generator) -> Start:
    """The trial's: 0.15 rad of noise on each number of the true pose, the mean shape, a least-squares camera."""
    rotvec = crowd.truth.rotvec + 0.15 * torch.randn(crowd.truth.rotvec.shape, generator=generator)
    betas = torch.zeros_like(crowd.truth.betas)
    points, seen = body.keypoints(roma.rotvec_to_rotmat(rotvec), betas)[:, ANNOTATED], crowd.keypoints
    translation = cameras.solve_translation(points, seen.xy[:, ANNOTATED], seen.confidence[:, ANNOTATED])
    # Outliers can put the camera behind a body or far away; no regressor would.
    usual = 2 * cameras.FOCAL / cameras.RESOLUTION
    sane = (translation[:, 2] > usual / 4) & (translation[:, 2] < usual * 4)
    return Start(rotvec, betas, cameras.crop_camera(torch.where(sane[:, None], translation, crowd.camera.translation)))


def regressor_starts(body: Body, crowd: Crowd, generator: torch.Generator) -> Start:
    """As a trained regressor errs, all independent: every joint turned about a random axis by 0.25 rad rms and the
    whole body by 0.2 rad rms; half of every beta, plus 0.5; the camera's scale off by 5 % and its position by 3 cm.
    """

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    count = len(crowd)
    size = torch.full((24, 1), 0.25)
    size[0] = 0.2
    # Three numbers of a third of the variance each turn by the root of the sum about an axis evenly drawn.
    turn = size / math.sqrt(3) * noise(count, 24, 3)
    rotvec = roma.rotvec_composition([crowd.truth.rotvec, turn])
    betas = 0.5 * crowd.truth.betas + 0.5 * noise(count, 10)
    weak = cameras.to_weak(crowd.camera)
    scale = weak[:, :1] * (0.05 * noise(count, 1)).exp()
    camera = cameras.from_weak(torch.cat([scale, weak[:, 1:] + 0.03 * noise(count, 2)], dim=1))
    return Start(rotvec, betas, camera)


STARTS = {"regressor": regressor_starts, "trial": trial_starts}


def starts_to(start: Start, device: torch.device | str) -> Start:
    """The same starts on another device."""
    return Start(start.rotvec.to(device), start.betas.to(device), start.camera.to(device))
