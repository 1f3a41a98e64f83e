"""Cameras: projection, and every way from one camera to another that shows the same picture.

The camera frame has x to the right, y down and z forward, in metres. A camera never turns: the orientation
of a body is part of its pose. Pixels are those of the square crop, `RESOLUTION` on a side, unless a camera
was carried to its photo.

    from_weak, to_weak            the regressor's (s, tx, ty) <-> the crop's camera            exact
    photo_camera, cropped_camera  the crop's pixels <-> the photo's                            exact
    with_intrinsics               another focal length and principal point, of the real lens   exact at the body's depth
    solve_translation             the camera that best explains keypoints                      least squares
    focal_from_view, view_angle   a field of view <-> a focal length                           exact
    focal_from_35mm, exif_focal   what a photographer or a photo's file says -> a focal length
"""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

FOCAL = 5000.0
"""SPIN's preset for crops, in their pixels: so long that a person is seen almost without perspective. No lens has it;
where the real one is known, `with_intrinsics` takes it. Source: HMR, SPIN."""
RESOLUTION = 224
"""Side of the square crop in pixels."""
FILM_DIAGONAL = math.hypot(36, 24)
"""Millimetres; what makes a lens "28 mm" in the terms of 35 mm film. Source: CIPA DC-008, FocalLengthIn35mmFilm."""

Along = Literal["vertical", "horizontal", "diagonal"]
"""What a field of view is measured along."""


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


REWEIGHTINGS = 4
"""Rounds in which a camera lets go of outliers; the error changes by less than 1 % after the third."""


def solve_translation_robustly(
    points: Float[Tensor, "batch n 3"],
    keypoints_xy: Float[Tensor, "batch n 2"],
    confidence: Float[Tensor, "batch n"],
    scale: float | Float[Tensor, "batch 1"],
    camera: Camera,
) -> Float[Tensor, "batch 3"]:
    """`solve_translation` again and again, with less trust in keypoints that the last camera missed by far.

    Args:
        points: metres.
        keypoints_xy: pixels; need only be finite where confidence is 0.
        confidence: weights of the first round, at least 0.
        scale: pixels beyond which a keypoint counts as an outlier, as Geman and McClure bend their squares.
        camera: whose focal length and principal point are taken.

    Source: Holland & Welsch 1977, iteratively reweighted least squares.
    """
    focal, flat, depth = camera.focal[:, None], points[..., :2], points[..., 2:]
    ray = (keypoints_xy - camera.center[:, None]) / focal[..., None]
    share = confidence / confidence.sum(1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny)
    # Sums of moments, about the first round's means: so that few digits cancel, and each round is one product.
    both = torch.cat([ray, ray * depth - flat], dim=-1)
    mean = (share[..., None] * both).sum(1, keepdim=True)
    around = both - mean
    spread = torch.cat([around[..., :2].square(), around[..., :2] * around[..., 2:]], dim=-1)
    moments = torch.cat([around, spread.unflatten(-1, (2, 2)).sum(-1)], dim=-1).mT.contiguous()
    ridge = 1e-6 / focal.square()
    bend = torch.ones_like(share)
    for _ in range(REWEIGHTINGS):
        weight = confidence * bend
        weight = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny)
        found = (moments * weight[:, None]).sum(2)
        ray_mean, zero_mean = found[:, :2], found[:, 2:4]
        variance = found[:, 4:5] - ray_mean.square().sum(1, keepdim=True)
        covariance = found[:, 5:6] - (ray_mean * zero_mean).sum(1, keepdim=True)
        away = (ridge * (2 * focal / RESOLUTION) - covariance) / (ridge + variance.clamp(min=0))
        side = mean[:, 0, 2:] + zero_mean + (mean[:, 0, :2] + ray_mean) * away
        missed = (flat + side[:, None]) / (depth + away[..., None]) - ray
        square = missed.square().sum(2) * focal.square()
        bend = (scale**2 / (scale**2 + square)).square()
    return torch.cat([side, away], dim=1)


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


def cropped_camera(photo_camera: Camera, box: Float[Tensor, "*batch 3"]) -> Camera:
    """The same view in pixels of the crop; the inverse of the function `photo_camera`.

    A camera whose principal point is the photo's centre becomes one whose principal point is not the crop's.

    Args:
        photo_camera: a camera of the photo.
        box: centre x, centre y and side of the crop's box, in pixels of the photo.
    """
    zoom = RESOLUTION / box[..., 2]
    center = RESOLUTION / 2 + (photo_camera.center - box[..., :2]) * zoom[..., None]
    return Camera(photo_camera.translation, photo_camera.focal * zoom, center)


def with_intrinsics(
    camera: Camera, focal: int | float | Float[Tensor, "*batch"], center: Float[Tensor, "*#batch 2"] | None = None
) -> Camera:
    """Another lens, moved to where the body keeps its size and place: weak -> perspective, among others.

    Points at the depth of the body's origin are seen at the same pixels, exactly. One that lies Z metres behind it
    and that the cameras see r and r' pixels off their principal points (were it at the origin's depth) moves by
    Z (r / (t_z + Z) - r' / (t_z' + Z)): what was far away comes nearer, and perspective with it. A body fitted
    under one camera is therefore only a start under another; fit again, or at least `solve_translation`.

    Args:
        camera: of the crop or the photo; its pixels stay the unit.
        focal: of the new lens in those pixels.
        center: principal point of the new lens in those pixels; the old one where not given.

    Raises:
        ValueError: for a focal length that is not positive.
    """
    new = torch.as_tensor(focal, dtype=camera.focal.dtype, device=camera.focal.device).expand_as(camera.focal)
    if not bool((new > 0).all()):
        raise ValueError(f"a focal length must be positive, got {float(new.min()):g} pixels")
    center = camera.center if center is None else center.expand_as(camera.center)
    depth = camera.translation[..., 2:] * (new / camera.focal)[..., None]
    aside = camera.translation[..., :2] + (camera.center - center) * depth / new[..., None]
    return Camera(torch.cat([aside, depth], dim=-1), new, center)


def _extent(size: tuple[int, int], along: Along) -> int | float:
    """Pixels of a picture of (height, width), along one of the three."""
    height, width = size
    extents = {"vertical": height, "horizontal": width, "diagonal": math.hypot(height, width)}
    if along not in extents:
        raise ValueError(f"a field of view is measured along one of {', '.join(extents)}; got {along!r}")
    if not min(size) > 0:
        raise ValueError(f"a picture needs a positive height and width, got {size}")
    return extents[along]


def focal_from_view(angle: int | float, size: tuple[int, int], along: Along = "diagonal") -> float:
    """The focal length in pixels of a lens with a given field of view.

    Args:
        angle: from edge to edge (or corner to corner) of the picture, in radians.
        size: height and width of the picture in pixels. It must be all that the lens saw: a crop saw less.
        along: what the angle is measured along. Makers of cameras tell the diagonal, renderers mostly the vertical.

    Raises:
        ValueError: for an angle that is not between 0 and pi, or an unknown direction.
    """
    if not 0 < angle < math.pi:
        raise ValueError(f"a field of view lies between 0 and pi radians, got {angle:g}; are these degrees?")
    return _extent(size, along) / (2 * math.tan(angle / 2))


def view_angle(focal: int | float, size: tuple[int, int], along: Along = "diagonal") -> float:
    """The field of view in radians of a focal length in pixels; the inverse of `focal_from_view`.

    Raises:
        ValueError: for a focal length that is not positive, or an unknown direction.
    """
    if not focal > 0:
        raise ValueError(f"a focal length must be positive, got {focal:g} pixels")
    return 2 * math.atan(_extent(size, along) / (2 * focal))


def focal_from_35mm(millimetres: int | float, size: tuple[int, int]) -> float:
    """The focal length in pixels of a lens as photographers name it: by the one that sees as much on 35 mm film.

    The two are compared by their diagonals, since film and sensors differ in shape.

    Args:
        millimetres: 24 to 28 for most phones; 50 sees about 47 degrees.
        size: height and width in pixels of the whole photo, in either orientation.

    Raises:
        ValueError: for a length that is not positive.
    """
    if not millimetres > 0:
        raise ValueError(f"a focal length must be positive, got {millimetres:g} mm")
    return millimetres * _extent(size, "diagonal") / FILM_DIAGONAL


def exif_focal(photo: str | PathLike[str]) -> float | None:
    """The focal length in pixels that a photo's own file tells, by its field FocalLengthIn35mmFilm.

    It is wrong for a photo that was cropped after it was taken, and nothing in the file says so.

    Returns:
        Pixels of the photo, or None where the file does not tell: then take a field of view, or a guess.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is no photo.
    """
    path = Path(photo)
    if not path.is_file():
        raise FileNotFoundError(f"no photo at {path}; correct the path")
    try:
        with Image.open(path) as opened:
            told = opened.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
            width, height = opened.size
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no photo that can be read ({error}); convert it to JPEG or PNG") from error
    # Zero is how the field says that it does not know.
    known = isinstance(told, int | float) and told > 0
    return focal_from_35mm(told, (height, width)) if known else None
