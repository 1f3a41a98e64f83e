"""Cameras: projection, the regressor's weak camera, and the translation that best explains keypoints.

The camera frame has x to the right, y down and z forward, in metres. A camera never turns: the orientation
of a body is part of its pose. Pixels are those of the square crop, `RESOLUTION` on a side, unless a camera
was carried to its photo by `photo_camera`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FOCAL = 5000.0
"""Pixels of the crop; so long that a person is seen almost without perspective. Source: HMR, SPIN."""
RESOLUTION = 224
"""Side of the square crop in pixels."""


@dataclass(frozen=True)
class Camera:
    """A pinhole that never turns: X is seen at focal * Y_xy / Y_z + center, with Y = X + translation."""

    translation: Float[Tensor, "*batch 3"]
    """Metres, added to points of the body."""
    focal: Float[Tensor, "*batch"]
    """Pixels."""
    center: Float[Tensor, "*batch 2"]
    """Principal point in pixels."""

    def __getitem__(self, index: int | slice | tuple | Tensor | None) -> "Camera":
        return Camera(self.translation[index], self.focal[index], self.center[index])

    def to(self, *args: torch.device | torch.dtype | str) -> "Camera":
        """The same cameras on another device or in another dtype, as `Tensor.to`."""
        return Camera(self.translation.to(*args), self.focal.to(*args), self.center.to(*args))

    def detach(self) -> "Camera":
        """The same cameras, cut from the graph of derivatives."""
        return Camera(self.translation.detach(), self.focal.detach(), self.center.detach())


def crop_camera(translation: Float[Tensor, "*batch 3"], focal: float = FOCAL) -> Camera:
    """The camera of a square crop: its principal point is the crop's centre."""
    return Camera(
        translation,
        translation.new_full(translation.shape[:-1], focal),
        translation.new_full((*translation.shape[:-1], 2), RESOLUTION / 2),
    )


def project(camera: Camera, points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 2"]:
    """Where points (metres, before the camera's translation) are seen, in pixels."""
    moved = points + camera.translation[..., None, :]
    return camera.focal[..., None, None] * moved[..., :2] / moved[..., 2:] + camera.center[..., None, :]


def from_weak(weak: Float[Tensor, "*batch 3"], focal: float = FOCAL) -> Camera:
    """The crop's camera from the regressor's (s, tx, ty): t = (tx, ty, 2 focal / (224 s)).

    s is in half crops a metre: near the origin, a metre of the body spans 112 s pixels.

    Source: SPIN, train/trainer.py; the 1e-9 that guards the division is theirs.
    """
    depth = 2 * focal / (RESOLUTION * weak[..., :1] + 1e-9)
    return crop_camera(torch.cat([weak[..., 1:], depth], dim=-1), focal)


def to_weak(camera: Camera) -> Float[Tensor, "*batch 3"]:
    """(s, tx, ty) of a crop's camera; the inverse of `from_weak`."""
    scale = 2 * camera.focal[..., None] / (RESOLUTION * camera.translation[..., 2:])
    return torch.cat([scale, camera.translation[..., :2]], dim=-1)


def solve_translation(
    points: Float[Tensor, "*batch n 3"],
    keypoints_xy: Float[Tensor, "*batch n 2"],
    confidence: Float[Tensor, "*batch n"],
    focal: Float[Tensor, "*batch"] | float = FOCAL,
    center: Float[Tensor, "*batch 2"] | None = None,
) -> Float[Tensor, "*batch 3"]:
    """The translation under which 3D points best explain their 2D keypoints, in closed form.

    Seeing a point at (u, v) is linear in the translation: f tx + (cx - u) tz = (u - cx) Z - f X, and the same
    for v. Both rows of every point are weighed by its confidence and solved for as least squares. The depth
    may come out negative where keypoints contradict the body; nothing here forbids it.

    The unknowns tx and ty are eliminated by centring, so that float32 keeps its digits: depths of 50 m make
    the full normal equations badly conditioned. What is left for tz is one division. A ridge of a millionth
    of a square pixel pulls it towards the depth at which a crop spans two metres, so that the answer is
    defined and projects to finite pixels even where all keypoints coincide or none is visible.

    Args:
        points: metres.
        keypoints_xy: pixels; need only be finite where confidence is 0.
        confidence: weights, at least 0.
        focal: pixels.
        center: principal point in pixels; the crop's centre where not given.

    Source: SPIN, utils/geometry.py::estimate_translation, which solves the same equations sample by sample.
    """
    if center is None:
        center = keypoints_xy.new_full((*keypoints_xy.shape[:-2], 2), RESOLUTION / 2)
    w = confidence[..., None]
    total = w.sum(dim=-2, keepdim=True)
    share = w / total.clamp(min=torch.finfo(w.dtype).tiny)
    focal = torch.as_tensor(focal, dtype=w.dtype, device=w.device)
    ray = (keypoints_xy - center[..., None, :]) / focal[..., None, None]
    # Per row: t_xy = ray (Z + tz) - XY. Its weighted mean gives t_xy; what is left determines tz alone.
    at_zero = ray * points[..., 2:] - points[..., :2]
    mean_ray, mean_at_zero = (share * ray).sum(dim=-2), (share * at_zero).sum(dim=-2)
    spread_ray, spread = ray - mean_ray[..., None, :], at_zero - mean_at_zero[..., None, :]
    ridge = 1e-6 / focal**2
    numerator = ridge * (2 * focal / RESOLUTION) - (share * spread_ray * spread).sum(dim=(-2, -1))
    depth = numerator / (ridge + (share * spread_ray.square()).sum(dim=(-2, -1)))
    return torch.cat([mean_at_zero + mean_ray * depth[..., None], depth[..., None]], dim=-1)


def photo_camera(crop_camera: Camera, box: Float[Tensor, "*batch 3"]) -> Camera:
    """The same view in pixels of the photo that the crop was cut from.

    A crop is the photo scaled and shifted, so the body keeps its place: only focal length and principal
    point change.

    Args:
        crop_camera: a camera of the square crop.
        box: centre x, centre y and side of the crop's box, in pixels of the photo.
    """
    zoom = box[..., 2] / RESOLUTION
    center = box[..., :2] + (crop_camera.center - RESOLUTION / 2) * zoom[..., None]
    return Camera(crop_camera.translation, crop_camera.focal * zoom, center)
