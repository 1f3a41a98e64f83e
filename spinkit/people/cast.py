"""Who is seen, and from where: poses, shapes and the crops that a person detector would make."""

import math
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import camera, keypoints
from spinkit.body import Body
from spinkit.camera import Camera
from spinkit.data import Truth
from spinkit.people import poses
from spinkit.people.dice import Dice
from spinkit.people.look import Rows
from spinkit.people.settings import PeopleSettings

PELVIS = keypoints.NAMES.index("Pelvis (MPII)")


@dataclass(frozen=True)
class Cast(Rows):
    """Bodies and the translation at which the crop's camera sees them."""

    rotvec: Float[Tensor, "n 24 3"]
    """Pose in the camera frame, radians."""
    betas: Float[Tensor, "n 10"]
    translation: Float[Tensor, "n 3"]
    """Metres, of `camera.crop_camera`."""
    points: Float[Tensor, "n 49 3"]
    """The 49 keypoints, metres, without the translation."""

    @property
    def camera(self) -> Camera:
        """The crop's camera."""
        return camera.crop_camera(self.translation)

    @property
    def truth(self) -> Truth:
        """All that there is to know of the bodies."""
        known = torch.ones(len(self.betas), dtype=torch.bool)
        joints = self.points[:, keypoints.ANNOTATED] - self.points[:, [PELVIS]]
        flags = torch.ones_like(joints[..., :1])
        return Truth(self.rotvec, self.betas, known, torch.cat([joints, flags], dim=-1), known)


def draw_cast(human: Body, dice: Dice, pose_generator: np.random.Generator, settings: PeopleSettings) -> Cast:
    """As many people as there are dice for, each before its own camera."""
    mean_joints = human.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    posed = poses.sample(dice.count, pose_generator, mean_joints.double().numpy(), settings.actions)
    rotvec = torch.from_numpy(posed.body_pose).clone()
    rotvec[:, 0] = _turn_to_camera(torch.from_numpy(posed.global_orient), dice, settings)
    limit = settings.largest_beta
    betas = dice.normal(0, 1, 10).clamp(-limit, limit)
    points = human.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    return Cast(rotvec, betas, _translation(points, dice, settings), points)


def _turn_to_camera(orient: Float[Tensor, "n 3"], dice: Dice, settings: PeopleSettings) -> Float[Tensor, "n 3"]:
    """Orientations in the camera frame of bodies that stand upright in the world, y up."""
    elevation, roll = dice.normal(0, settings.elevation), dice.normal(0, settings.roll)
    zero = torch.zeros(dice.count)
    about_axis = torch.stack([zero, zero, roll], dim=-1)
    # A half turn about x stands the body upright; the camera's height adds to it.
    about_x = torch.stack([math.pi + elevation, zero, zero], dim=-1)
    return roma.rotvec_composition([about_axis, about_x, orient])


def _translation(points: Float[Tensor, "n 49 3"], dice: Dice, settings: PeopleSettings) -> Float[Tensor, "n 3"]:
    """Place people so that the crop is the box that a person detector would draw round them.

    The crop's focal length is so long that the box can be measured in metres at the body's own depth.
    """
    low, high = points[..., :2].amin(dim=1), points[..., :2].amax(dim=1)
    side = settings.box_margin * (high - low).amax(dim=1) * dice.normal(0, settings.box_stretch).exp()
    shift = dice.normal(0, settings.box_shift, 2)
    cut = dice.chance(settings.truncation)
    side = torch.where(cut, side * dice.uniform(0.5, 0.8), side)
    shift = torch.where(cut[:, None], dice.uniform(-0.35, 0.35, 2), shift)
    centre = (low + high) / 2 + shift * side[:, None]
    return torch.cat([-centre, camera.FOCAL * side[:, None] / camera.RESOLUTION], dim=-1)
