"""What people wear. Clothes, hair and face are painted on the skin by where a point lies on the body at rest.

A garment is a region of the T-pose: a sleeve ends at a distance from the middle, a trouser leg at a height.
So any SMPL-format body can be dressed, whatever its topology, and edges are as sharp as the picture.
"""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import keypoints
from spinkit.body import Body
from spinkit.people import colours
from spinkit.people.dice import Dice

PLAIN, HOOPS, STRIPES, CHECK, BLOCKS, PRINT = range(6)


class Rows:
    """Records of one entry a person, also where a field is itself such a record."""

    def __getitem__(self, index: Int[Tensor, "n"] | slice | tuple) -> Self:
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Landmarks:
    """Where the parts of a body lie at rest, in metres; x outward, y up, z forward."""

    shoulder: float
    elbow: float
    wrist: float
    neck: tuple[float, float]
    """y and z."""
    hip: float
    knee: float
    ankle: float
    sole: float
    eye: tuple[float, float, float]
    nose: tuple[float, float, float]
    ear: tuple[float, float, float]
    top: float

    @property
    def armpit(self) -> float:
        """Height under the arms."""
        return self.neck[0] - 0.35 * (self.neck[0] - self.hip)

    @property
    def skull(self) -> float:
        """From the ears to the top of the head."""
        return self.top - self.ear[1]


def landmarks(human: Body) -> Landmarks:
    """Measure a body at rest in its mean shape."""
    rest, mean = torch.eye(3).expand(24, 3, 3), torch.zeros(10)
    joint = dict(zip(keypoints.JOINT_NAMES, human.joints(rest, mean).tolist(), strict=True))
    point = dict(zip(keypoints.NAMES, human.keypoints(rest, mean).tolist(), strict=True))
    return Landmarks(
        *(joint[f"Left {name}"][0] for name in ("Shoulder", "Elbow", "Wrist")),
        neck=tuple(joint["Neck"][1:]),
        **{name.lower(): joint[f"Left {name}"][1] for name in ("Hip", "Knee", "Ankle")},
        sole=human.v_template[:, 1].min().item(),
        **{name.lower(): tuple(point[f"Left {name}"]) for name in ("Eye", "Ear")},
        nose=tuple(point["Nose"]),
        top=human.v_template[:, 1].max().item(),
    )


@dataclass(frozen=True)
class Fabric(Rows):
    """The cloth of one garment."""

    first: Float[Tensor, "*n 3"]
    second: Float[Tensor, "*n 3"]
    pattern: Int[Tensor, "*n"]
    frequency: Float[Tensor, "*n"]
    """Stripes a metre."""
    phase: Float[Tensor, "*n"]
    width: Float[Tensor, "*n"]
    """Share of the second colour in stripes; place of the step between blocks of colour, -1..1."""


@dataclass(frozen=True)
class Outfit(Rows):
    """One person's clothes, hair and skin. Heights and distances are metres of the body at rest."""

    skin: Float[Tensor, "*n 3"]
    shirt: Fabric
    sleeve: Float[Tensor, "*n"]
    """Where sleeves end, from the middle of the body; before the shoulders if there are none."""
    hem: Float[Tensor, "*n"]
    collar: Float[Tensor, "*n"]
    """Height of the neckline over the neck joint."""
    notch: Float[Tensor, "*n"]
    """Depth of its cut in front."""
    opening: Float[Tensor, "*n"]
    """Half the width of what an open jacket shows of the shirt's second colour."""
    trousers: Fabric
    waist: Float[Tensor, "*n"]
    cuff: Float[Tensor, "*n"]
    shoe: Float[Tensor, "*n 3"]
    rim: Float[Tensor, "*n 3"]
    """Colour of soles and socks."""
    shoe_top: Float[Tensor, "*n"]
    sock_top: Float[Tensor, "*n"]
    hair: Float[Tensor, "*n 3"]
    hairline: Float[Tensor, "*n"]
    """Where hair begins, in skulls behind and above a line over the ears; see `_behind_hairline`."""
    hair_length: Float[Tensor, "*n"]
    """How far it falls below the ears behind, in skulls."""
    beard: Float[Tensor, "*n"]
    """How much a beard covers the skin, 0..1."""
    lips: Float[Tensor, "*n 3"]
    wave: Float[Tensor, "*n 3 3"]
    """Three directions in which cloth is creased, radians a metre."""
    crease: Float[Tensor, "*n"]
    """Strength of the creases."""
    thickness: Float[Tensor, "*n 3"]
    """Metres that shirt, trousers and hair stand off the skin."""


def draw_fabric(dice: Dice, colour_weights: list[float], pattern_weights: list[float]) -> Fabric:
    """Cloth for one kind of garment; the weights are those of `colours.cloth` and of the patterns."""
    return Fabric(
        first=colours.cloth(dice, colour_weights),
        second=colours.cloth(dice, [2, 1, 1, 2]),
        pattern=dice.choice(pattern_weights),
        frequency=dice.uniform(8, 22),
        phase=dice.uniform(0, 2 * math.pi),
        width=dice.uniform(-0.5, 0.6),
    )


def draw_outfits(dice: Dice, at: Landmarks) -> Outfit:
    """Dress as many people as there are dice for."""
    skin, dark = colours.skin(dice)
    trunk = at.neck[0] - at.hip
    sleeve_ends = torch.tensor([0.93 * at.shoulder, 0.5 * (at.shoulder + at.elbow), at.elbow, at.wrist])
    sleeve = sleeve_ends[dice.choice([0.7, 4, 0.8, 3.5])]
    cuff_ends = torch.tensor([at.ankle, 0.5 * (at.knee + at.ankle), at.knee, 0.6 * at.knee + 0.4 * at.hip])
    jacket = (sleeve > 0.99 * at.wrist) & dice.chance(0.45)
    bare_chest, bald, hat = dice.chance(0.03), dice.chance(0.06), dice.chance(0.1)
    hair = colours.hair(dice, dark)
    beard = dice.uniform(0.3, 0.95) * dice.chance(0.22)
    shoe_top = at.ankle + dice.uniform(-0.035, 0.06)
    long_hair = dice.chance(0.35)
    return Outfit(
        skin=skin,
        shirt=draw_fabric(dice, [4, 1.2, 1, 4], [10, 1.6, 0.6, 0.8, 1.4, 2]),
        sleeve=torch.where(bare_chest, torch.tensor(-1.0), sleeve + dice.normal(0, 0.02)),
        hem=at.hip + dice.uniform(-0.09, 0.1),
        collar=torch.where(dice.chance(0.12), 0.045, dice.uniform(-0.03, 0.0)),
        notch=dice.uniform(0, 0.11) * dice.chance(0.5),
        opening=dice.uniform(0.02, 0.07) * jacket,
        trousers=draw_fabric(dice, [3, 5, 2.5, 1], [14, 0.2, 0.5, 0.6, 0.0, 0.0]),
        waist=at.hip + trunk * dice.uniform(0.12, 0.28),
        cuff=cuff_ends[dice.choice([6, 0.6, 1.6, 1.0])] + dice.normal(0, 0.02),
        shoe=colours.cloth(dice, [5, 0.5, 2, 1]),
        rim=colours.cloth(dice, [8, 0.3, 0.6, 0.5]),
        shoe_top=torch.where(dice.chance(0.06), torch.tensor(at.sole - 1), shoe_top),
        sock_top=shoe_top + dice.uniform(-0.02, 0.14) * dice.chance(0.6),
        hair=torch.where(hat[:, None], colours.cloth(dice, [3, 1, 1, 3]), hair),
        hairline=torch.where(bald, 9.0, dice.uniform(-0.22, 0.12)) + 0.25 * hat,
        hair_length=torch.where(long_hair & ~bald, dice.uniform(0.9, 2.6), dice.uniform(0.0, 0.6)),
        beard=beard,
        lips=skin * torch.tensor([0.85, 0.55, 0.55]),
        wave=dice.normal(0, 1, 3, 3) * torch.tensor([25.0, 45.0, 80.0])[:, None] / math.sqrt(3),
        crease=dice.uniform(0.0, 0.22),
        thickness=torch.stack(
            [dice.uniform(0.003, 0.018), dice.uniform(0.003, 0.016), dice.uniform(0.006, 0.028)], dim=-1
        ),
    )


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


def thickness(
    outfit: Outfit, at: Landmarks, rest: Float[Tensor, "vertices 3"]
) -> Float[Tensor, "n vertices"]:
    """How far clothes and hair stand off the skin at each vertex, metres."""
    each = outfit[:, None]
    on = worn(each, at, rest)
    shirt, trousers, hair = each.thickness.unbind(dim=-1)
    off = shirt * on.shirt + trousers * on.trousers + 0.008 * on.shoe
    return torch.where(on.hair, hair, off)


def paint(outfit: Outfit, at: Landmarks, rest: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
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
    colour = _face(outfit, at, rest)
    for inside, layer in layers:
        colour = torch.where(inside[..., None], layer, colour)
    return colour


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
    print_ = ((x / size) ** 2 + ((y - chest + 0.03) / (0.6 * size)) ** 2 < 1) & (z > at.neck[1])
    kinds = torch.stack([torch.zeros_like(arm), hoops, stripes, hoops ^ stripes, blocks, print_])
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
    mouth = spot(0, at.nose[1] - 0.3 * unit, 0.2, 0.06)
    shadow = spot(0, at.nose[1] - 0.1 * unit, 0.13, 0.05)
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
