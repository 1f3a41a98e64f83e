"""Clothes, hair and face, painted on the skin by where a point lies on the body at rest.

A garment is a region of the T-pose: a sleeve ends at a distance from the middle, a trouser leg at a height.
So any SMPL-format body can be dressed, whatever its topology, and edges are as sharp as the picture.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.people.look import PATTERNS, Fabric, Landmarks, Outfit


@dataclass(frozen=True)
class Worn:
    """Which garments cover a point; what lies on top hides what is below."""

    shirt: Bool[Tensor, "*n"]
    trousers: Bool[Tensor, "*n"]
    sock: Bool[Tensor, "*n"]
    shoe: Bool[Tensor, "*n"]
    hair: Bool[Tensor, "*n"]


def worn(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "*m 3"]) -> Worn:
    """Find what covers points of the body; outfit and points broadcast.

    Args:
        rest: where the points lie on the body at rest, metres.
    """
    x, y, z = rest.unbind(dim=-1)
    side = x.abs()
    front = (z - at.neck[1]).clamp(min=0)
    # The neckline hangs lower in front, and its cut narrows downwards.
    neckline = at.neck[0] + outfit.collar - 0.33 * (z - at.neck[1])
    cut = (front > 0.02) & (y > neckline - outfit.notch + 1.1 * side)
    # Below the arms, the sides of the trunk are covered even where there are no sleeves.
    trunk = (y < at.armpit) & (side < 1.5 * at.shoulder) & (outfit.sleeve > 0)
    shirt = ((side < outfit.sleeve) | trunk) & (y > outfit.hem) & (y < neckline) & ~cut
    trousers = (y < outfit.waist) & (y > outfit.cuff) & ~shirt
    shoe = y < outfit.shoe_top
    return Worn(shirt, trousers, (y < outfit.sock_top) & ~shoe, shoe, _hair(outfit, at, rest))


def _hair(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "*m 3"]) -> Bool[Tensor, "*n"]:
    """The scalp, and what falls from it over neck and back."""
    x, y, z = rest.unbind(dim=-1)
    up, forward = (y - at.ear[1]) / at.skull, (z - at.ear[2]) / at.skull
    ragged = 0.04 * torch.sin(11 * x / at.skull) + 0.03 * torch.sin(29 * x / at.skull + 1)
    scalp = (up - 0.87 * forward > outfit.hairline + ragged) & (up > -outfit.hair_length.clamp(max=0.55))
    # A curtain that hangs beside and behind the face, ever narrower than the shoulders.
    curtain = (up < 0.3) & (up > -outfit.hair_length) & (forward < 0.12 + 0.2 * up)
    falls = curtain & (outfit.hair_length > 0.8) & (x.abs() < 0.85 * at.skull) & (outfit.hairline < 1)
    return (scalp | falls) & (y > at.hip)


def thickness(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "vertices 3"]) -> Float[Tensor, "n vertices"]:
    """How far clothes and hair stand off the skin at each vertex, metres."""
    each = outfit[:, None]
    on = worn(each, at, rest)
    shirt, trousers, hair = each.thickness.unbind(dim=-1)
    off = shirt * on.shirt + trousers * on.trousers + 0.008 * on.shoe
    return torch.where(on.hair, hair, off)


def colour(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Colours (linear, unlit) of points on dressed people, one outfit a point."""
    on = worn(outfit, at, rest)
    folds = torch.sin((outfit.wave @ rest[..., None])[..., 0] * math.sqrt(3)).sum(dim=-1)
    folds = (1 + outfit.crease * folds / 2)[..., None]
    jacket_open = (rest[..., 0].abs() < outfit.opening) & (rest[..., 2] > at.neck[1])
    shirt = torch.where(
        jacket_open[..., None], outfit.shirt.second, _pattern(outfit.shirt, at, rest, outfit.opening > 0)
    )
    sole = rest[..., 1] < at.sole + 0.018
    layers = (
        (on.trousers, _pattern(outfit.trousers, at, rest) * folds),
        (on.shirt, shirt * folds),
        (on.sock | (on.shoe & sole), outfit.rim),
        (on.shoe & ~sole, outfit.shoe),
        (on.hair, outfit.hair * (0.85 + 0.15 * folds)),
    )
    seen = _face(outfit, at, rest)
    for inside, layer in layers:
        seen = torch.where(inside[..., None], layer, seen)
    return seen


def _pattern(
    fabric: Fabric, at: Landmarks, rest: Float[Tensor, "n 3"], plain: Bool[Tensor, "n"] | None = None
) -> Float[Tensor, "n 3"]:
    """Colours of patterned cloth; hoops run round the trunk, the arms and the legs."""
    x, y, z = rest.unbind(dim=-1)
    arm = (x.abs() > at.shoulder) & (y > at.armpit)
    along, across = torch.where(arm, x.abs(), y), torch.where(arm, y, x)
    angle = 2 * math.pi * fabric.frequency
    hoops = torch.sin(angle * along + fabric.phase) < fabric.width
    stripes = torch.sin(angle * across + fabric.phase) < fabric.width
    chest = at.neck[0] - 0.35 * (at.neck[0] - at.hip)
    blocks = torch.where(arm, torch.full_like(y, at.neck[0]), y) > chest + 0.12 * fabric.width
    size = 0.05 + 0.04 * fabric.width.abs()
    badge = ((x / size) ** 2 + ((y - chest + 0.03) / (0.6 * size)) ** 2 < 1) & (z > at.neck[1])
    by_name = {"hoops": hoops, "stripes": stripes, "check": hoops ^ stripes, "blocks": blocks, "print": badge}
    kinds = torch.stack([by_name.get(name, torch.zeros_like(arm)) for name in PATTERNS])
    second = kinds.gather(0, fabric.pattern[None])[0]
    if plain is not None:
        second = second & ~plain
    return torch.where(second[..., None], fabric.second, fabric.first)


def _face(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Skin with eyes, brows, mouth and beard: at 64 pixels, what tells the face from the back of the head."""
    x, y, z = rest.unbind(dim=-1)
    side, unit = x.abs(), at.skull
    front = z > at.ear[2] + 0.45 * unit

    def spot(centre_x: float, centre_y: float, width: float, height: float) -> Bool[Tensor, "n"]:
        across, up = (side - centre_x) / (width * unit), (y - centre_y) / (height * unit)
        return front & (across.square() + up.square() < 1)

    eyes = spot(at.eye[0], at.eye[1], 0.15, 0.07)
    brows = spot(at.eye[0], at.eye[1] + 0.19 * unit, 0.2, 0.045)
    mouth = spot(0.0, at.nose[1] - 0.3 * unit, 0.2, 0.06)
    shadow = spot(0.0, at.nose[1] - 0.1 * unit, 0.13, 0.05)
    jaw = (y < at.nose[1] - 0.08 * unit) & (z > at.ear[2]) & (y > at.neck[0] + 0.01 + 0.2 * (at.ear[2] - z))
    skin = outfit.skin
    hairy = torch.lerp(skin, outfit.hair, (outfit.beard * jaw)[..., None])
    for inside, colour in (
        (mouth, outfit.lips),
        (shadow, 0.6 * hairy),
        (brows, 0.4 * skin),
        (eyes, 0.12 * skin + 0.01),
    ):
        hairy = torch.where(inside[..., None], colour, hairy)
    return hairy
