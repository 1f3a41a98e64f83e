"""From a photo to the square crop, and what augmentation does to image, points and body.

A box is a centre and a side in pixels of the photo; the crop shows it at 224 x 224 (`camera.RESOLUTION`).
Positions are continuous: the first pixel reaches from 0 to 1, so mirroring takes x to 224 - x.

A `Change` turns and scales the crop about its centre and then mirrors it. Images are stored with a margin
around the box, so that a changed crop finds real pixels where it looks beyond the box.
"""

import math
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from spinkit.camera import RESOLUTION
from spinkit.keypoints import JOINT_MIRROR, MIRROR, Keypoints

HALF = RESOLUTION / 2
LARGEST_BOX = 4.0
"""Of its photo's longer side: what a larger square shows is black, and would fill the memory before it is shrunk."""


@dataclass(frozen=True)
class Augmentation:
    """How crops are varied in training. Defaults are those of SPIN's released code."""

    mirror_probability: float = 0.5
    turn_probability: float = 0.4
    """The other crops stay upright."""
    turn_deviation: float = math.radians(30)
    """Standard deviation of the turn in radians."""
    turn_limit: float = math.radians(60)
    scale_deviation: float = 0.25
    scale_limit: float = 0.25
    """Scales stay within 1 +- this."""
    colour_limit: float = 0.4
    """Each colour channel is multiplied by a factor within 1 +- this."""

    def __post_init__(self):
        for name in ("mirror_probability", "turn_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        for name in ("scale_limit", "colour_limit"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        for name in ("turn_deviation", "turn_limit", "scale_deviation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Change:
    """How each crop is varied: turned and scaled about its centre, then mirrored, then coloured."""

    mirror: Bool[Tensor, "*batch"]
    turn: Float[Tensor, "*batch"]
    """Radians; positive turns the picture counter-clockwise as displayed."""
    scale: Float[Tensor, "*batch"]
    """Multiplies the side of the box: above 1 the person appears smaller."""
    colour: Float[Tensor, "*batch 3"]
    """Factor of each colour channel."""

    @classmethod
    def none(cls, n: int, device: torch.device | str | None = None) -> "Change":
        """Leave n crops as they are."""
        ones = torch.ones(n, device=device)
        return cls(ones < 0, ones * 0, ones, ones[:, None].expand(n, 3))

    @classmethod
    def random(cls, n: int, generator: torch.Generator, settings: Augmentation | None = None) -> "Change":
        """Draw n changes. The generator's device is theirs; the same seed gives the same changes."""
        s = Augmentation() if settings is None else settings
        uniform = torch.rand(n, 5, generator=generator, device=generator.device)
        normal = torch.randn(n, 2, generator=generator, device=generator.device)
        turn = (s.turn_deviation * normal[:, 0]).clamp(-s.turn_limit, s.turn_limit)
        return cls(
            mirror=uniform[:, 0] < s.mirror_probability,
            turn=torch.where(uniform[:, 1] < s.turn_probability, turn, torch.zeros_like(turn)),
            scale=1 + (s.scale_deviation * normal[:, 1]).clamp(-s.scale_limit, s.scale_limit),
            colour=1 + s.colour_limit * (2 * uniform[:, 2:] - 1),
        )

    def __getitem__(self, index: int | slice | tuple | Tensor | None) -> "Change":
        return Change(self.mirror[index], self.turn[index], self.scale[index], self.colour[index])

    def to(self, device: torch.device | str) -> "Change":
        """The same changes on another device."""
        return Change(*(x.to(device) for x in (self.mirror, self.turn, self.scale, self.colour)))


def box_around(xy: Float[Tensor, "n 2"], confidence: Float[Tensor, "n"], margin: float = 1.2) -> Float[Tensor, "3"]:
    """The square box (centre x, centre y, side) around the visible points, `margin` times the tight one.

    Raises:
        ValueError: when the visible points span nothing, so that there is no box.
    """
    visible = xy[confidence > 0]
    if len(visible) == 0:
        raise ValueError("no visible keypoint to put a box around; leave this person out")
    low, high = visible.amin(dim=0), visible.amax(dim=0)
    side = margin * (high - low).max()
    if not (torch.isfinite(side) and side > 0):
        raise ValueError(f"the visible keypoints span {side / margin:g} pixels; a box needs two apart")
    return torch.cat([(low + high) / 2, side[None]])


def crop_from_photo(box: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2 3"]:
    """The affine map from pixels of the photo to pixels of the crop."""
    zoom = RESOLUTION / box[..., 2]
    turn_free = zoom[..., None, None] * torch.eye(2, device=box.device, dtype=box.dtype)
    return torch.cat([turn_free, (HALF - zoom[..., None] * box[..., :2])[..., None]], dim=-1)


def apply_affine(
    affine: Float[Tensor, "*batch 2 3"], points: Float[Tensor, "*batch n 2"]
) -> Float[Tensor, "*batch n 2"]:
    """Points, one a row, under an affine map."""
    return points @ affine[..., :2].mT + affine[..., None, :, 2]


def crop_keypoints(keypoints: Keypoints, box: Float[Tensor, "*batch 3"]) -> Keypoints:
    """Keypoints of the photo as keypoints of the crop; missing ones lie at zero."""
    xy = apply_affine(crop_from_photo(box), keypoints.xy)
    return Keypoints(torch.where(keypoints.visible[..., None], xy, torch.zeros_like(xy)), keypoints.confidence)


def box_fault(box: Float[Tensor, "3"], photo_size: tuple[int, int], margin: float = 1.0) -> str:
    """Why a box cannot be cut out of a photo of this width and height; empty where it can."""
    x, y, side = box.tolist()
    width, height = photo_size
    if not (math.isfinite(x + y + side) and side > 0):
        return "a box needs finite numbers and a positive side"
    if margin * side > LARGEST_BOX * max(photo_size):
        return f"a box is more than {LARGEST_BOX:g} times as large as its photo"
    if max(abs(x - width / 2) - width / 2, abs(y - height / 2) - height / 2) >= margin * side / 2:
        return "a box lies outside its photo"
    return ""


def square(
    photo: UInt8[Tensor, "h w 3"], box: Float[Tensor, "3"], size: int, margin: float = 1.0
) -> UInt8[Tensor, "3 size size"]:
    """The box of a photo as a square image of `size` pixels, black beyond the photo's edge.

    Shrinking averages over all pixels that fall together, so that fine patterns do not alias.

    Args:
        margin: the image covers a square of `margin` times the box's side.

    Raises:
        ValueError: for a box that no person can be in, as `box_fault` says.
    """
    fault = box_fault(box, (photo.shape[1], photo.shape[0]), margin)
    if fault:
        raise ValueError(f"{fault}, got {box.tolist()}; repair its record")
    x, y, side = box.tolist()
    half = margin * side / 2
    edges = (x - half, y - half, x + half, y + half)
    # The filter of a shrinking resize reaches beyond the box; it should meet the photo's pixels there.
    reach = 2 + math.ceil(margin * side / size)
    left, top = math.floor(edges[0]) - reach, math.floor(edges[1]) - reach
    right, bottom = math.ceil(edges[2]) + reach, math.ceil(edges[3]) + reach
    around = Image.fromarray(photo.cpu().numpy()).crop((left, top, right, bottom))
    within = (edges[0] - left, edges[1] - top, edges[2] - left, edges[3] - top)
    resized = around.resize((size, size), Image.Resampling.BILINEAR, box=within)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _about_centre(change: Change) -> Float[Tensor, "*batch 2 2"]:
    """The turn, then the mirror, of offsets from the centre, x right and y down."""
    cos, sin = change.turn.cos(), change.turn.sin()
    sign = 1 - 2 * change.mirror.to(cos.dtype)
    return torch.stack([torch.stack([sign * cos, sign * sin], -1), torch.stack([-sin, cos], -1)], dim=-2)


def change_points(change: Change, xy: Float[Tensor, "*batch n 2"]) -> Float[Tensor, "*batch n 2"]:
    """Where points of the crop (pixels) lie in the changed crop. Left stays left: see `change_keypoints`."""
    linear = _about_centre(change).to(xy) / change.scale.to(xy)[..., None, None]
    return HALF + (xy - HALF) @ linear.mT


def change_keypoints(change: Change, keypoints: Keypoints) -> Keypoints:
    """The keypoints of the changed crop. A mirrored left wrist is a right wrist.

    Points that leave the crop keep their confidence, for they are as true as before; missing ones stay
    missing.
    """
    xy, mirror = change_points(change, keypoints.xy), change.mirror[..., None]
    order = torch.tensor(MIRROR, device=xy.device)
    return Keypoints(
        torch.where(mirror[..., None], xy[..., order, :], xy),
        torch.where(mirror, keypoints.confidence[..., order], keypoints.confidence),
    )


def change_keypoints_3d(
    change: Change, points: Float[Tensor, "*batch n 3"], mirror_order: Int[Tensor, "n"] | None = None
) -> Float[Tensor, "*batch n 3"]:
    """3D points in the camera frame, as the changed crop shows them: turned about z and mirrored in x.

    The scale is left to the camera.

    Args:
        points: metres, relative to a root on the line of sight.
        mirror_order: the point that each one becomes in a mirror, such as `keypoints.MIRROR`; without it
            the points keep their order.
    """
    flat = points[..., :2] @ _about_centre(change).to(points).mT
    changed = torch.cat([flat, points[..., 2:]], dim=-1)
    if mirror_order is None:
        return changed
    return torch.where(change.mirror[..., None, None], changed[..., mirror_order, :], changed)


def change_image(
    change: Change,
    image: UInt8[Tensor, "b 3 side side"] | Float[Tensor, "b 3 side side"],
    size: int,
    margin: float,
) -> Float[Tensor, "b 3 size size"]:
    """Cut the changed crops, `size` pixels on a side, out of stored images. Black where those end.

    Args:
        image: stored crops with colours in 0..255 (uint8) or 0..1 (float).
        size: pixels of the side that is returned.
        margin: how many times the box's side the stored image covers.

    Returns:
        Colours in 0..1, in the dtype of a float image or else float32.
    """
    colours = image if image.is_floating_point() else image.float() / 255
    if not len(colours):
        return colours.new_zeros(0, 3, size, size)
    wanted = round(margin * size)
    if colours.shape[-1] >= 1.5 * wanted:
        # Sampling points of an image much finer than the crop would alias.
        colours = F.interpolate(colours, size=(wanted, wanted), mode="bilinear", antialias=True)
    # The grid asks where each pixel of the changed crop comes from, hence the inverse: of a turn and
    # a mirror it is the transpose.
    linear = (change.scale / margin)[:, None, None] * _about_centre(change).mT
    affine = torch.cat([linear, torch.zeros_like(linear[..., :1])], dim=-1).to(colours)
    grid = F.affine_grid(affine, [len(colours), 3, size, size], align_corners=False)
    cut = F.grid_sample(colours, grid, align_corners=False)
    return (cut * change.colour.to(cut)[..., None, None]).clamp(0, 1)


def change_rotvec(change: Change, rotvec: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3"]:
    """The pose that the changed crop shows: the root turned about the line of sight, then all mirrored."""
    return _mirror_rotvec(change.mirror, _turn_root(-change.turn, rotvec))


def restore_rotvec(change: Change, rotvec: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3"]:
    """The pose in the unchanged crop; the inverse of `change_rotvec`."""
    return _turn_root(change.turn, _mirror_rotvec(change.mirror, rotvec))


def _turn_root(angle: Float[Tensor, "*batch"], rotvec: Float[Tensor, "*batch 24 3"]) -> Tensor:
    """Premultiply the root's rotation by a rotation about z; bodies with angle 0 keep their exact numbers."""
    zero = torch.zeros_like(angle)
    about_z = torch.stack([zero, zero, angle], dim=-1).to(rotvec)
    turned = roma.rotvec_composition([about_z, rotvec[..., 0, :]])
    root = torch.where((angle == 0)[..., None], rotvec[..., 0, :], turned)
    return torch.cat([root[..., None, :], rotvec[..., 1:, :]], dim=-2)


def _mirror_rotvec(mirror: Bool[Tensor, "*batch"], rotvec: Float[Tensor, "*batch 24 3"]) -> Tensor:
    """Left limbs take the rotations of right ones, reflected: of an axis only x keeps its sign."""
    order = torch.tensor(JOINT_MIRROR, device=rotvec.device)
    mirrored = rotvec[..., order, :] * rotvec.new_tensor([1.0, -1.0, -1.0])
    return torch.where(mirror[..., None, None], mirrored, rotvec)
