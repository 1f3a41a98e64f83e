"""A body that moves: poses and places over time, and the frame of space that they are given in."""

from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit.body import Body
from spinkit.smplify import Fit, Start

YUP_FROM = {
    "camera_opencv": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "world_yup": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "world_zup": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
}
"""The frames by name, each with the rotation into y up: y down and z forward as OpenCV's camera, y up as glTF and
the body at rest, z up as AMASS and Blender."""
GENDERS = ("neutral", "male", "female")
SMPL_SHAPES = ("smpl", "smplh")
"""Models whose betas a body of SMPL's format understands."""


@dataclass(frozen=True)
class Motion:
    """One person over time, in one shape; vertices at frame t are those of the pose, plus `transl[t]`."""

    rotvec: Float[Tensor, "frames 24 3"]
    """Radians; the first turns the whole body about its pelvis."""
    transl: Float[Tensor, "frames 3"]
    """Metres."""
    betas: Float[Tensor, "10"]
    frame_rate: float
    """Frames a second."""
    frame: str = "camera_opencv"
    """One of `YUP_FROM`: where up is."""
    gender: str = "neutral"
    """Of the body model that the betas belong to."""
    surface_model_type: str = "smpl"
    """The family of body model that the betas belong to: smpl, smplh or smplx."""

    def __post_init__(self):
        if self.frame not in YUP_FROM:
            raise ValueError(f"frame must be one of {', '.join(YUP_FROM)}, got {self.frame!r}")
        if self.gender not in GENDERS:
            raise ValueError(f"gender must be one of {', '.join(GENDERS)}, got {self.gender!r}")
        if not 0 < self.frame_rate < float("inf"):
            raise ValueError(f"frame_rate must be a positive number of frames a second, got {self.frame_rate}")
        if len(self.rotvec) == 0:
            raise ValueError("rotvec holds no frames; a motion needs at least one")
        for name in ("rotvec", "transl", "betas"):
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds NaN or infinity; leave out the frames that could not be fitted")

    def __len__(self) -> int:
        return len(self.rotvec)

    def __getitem__(self, frames: slice) -> "Motion":
        """Some of the frames; a step makes the frame rate as much lower."""
        rate = self.frame_rate / abs(frames.step or 1)
        return replace(self, rotvec=self.rotvec[frames], transl=self.transl[frames], frame_rate=rate)


def of_fits(fits: Fit | Start, frame_rate: float) -> Motion:
    """Fits of the frames of one clip as a motion in the camera's frame, in their median shape.

    A fit has a shape for every frame; a person has one, and the median is the one that no failed frame bends.
    """
    rotvec, betas = fits.rotvec.detach(), fits.betas.detach()
    return Motion(rotvec, fits.camera.translation.detach(), betas.median(dim=0).values, frame_rate)


def in_frame(motion: Motion, body: Body, frame: str) -> Motion:
    """The same motion, turned into another frame of space.

    A pose turns about the pelvis and not about the origin, so the translation takes up what the turn does to the
    pelvis at rest: with p its place, t becomes F (t + p) - p. From the camera's frame the camera counts as held level.

    Args:
        motion: in any frame.
        body: of the motion's gender; its shape says where the pelvis is.
        frame: one of `YUP_FROM`.

    Raises:
        ValueError: for an unknown frame, or a motion of another family of body models.
    """
    if frame not in YUP_FROM:
        raise ValueError(f"frame must be one of {', '.join(YUP_FROM)}, got {frame!r}")
    check_family(motion)
    into, out_of = (motion.rotvec.new_tensor(YUP_FROM[name]) for name in (motion.frame, frame))
    turn = out_of.mT @ into
    pelvis = body.to(motion.betas.device, motion.betas.dtype).shaped(motion.betas).rest_joints[0]
    root = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(motion.rotvec[:, 0]))
    rotvec = torch.cat([root[:, None], motion.rotvec[:, 1:]], dim=1)
    return replace(motion, rotvec=rotvec, transl=(motion.transl + pelvis) @ turn.mT - pelvis, frame=frame)


def check_family(motion: Motion) -> None:
    """Refuse a motion whose betas a body of SMPL's format does not understand."""
    if motion.surface_model_type not in SMPL_SHAPES:
        raise ValueError(
            f"surface_model_type {motion.surface_model_type!r}: its betas mean nothing to an SMPL body. "
            "Give it betas of its own: dataclasses.replace(motion, betas=torch.zeros(10), surface_model_type='smpl')."
        )
