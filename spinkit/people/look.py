"""What people wear: garments, hair and colours, drawn at random and measured on the body at rest."""

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import keypoints
from spinkit.body import Body
from spinkit.people import colours
from spinkit.people.dice import Dice

Kind = TypeVar("Kind", bound="Rows")
PATTERNS = ("plain", "hoops", "stripes", "check", "blocks", "print")


class Rows:
    """Records of one entry a person, also where a field is itself such a record."""

    def __getitem__(self: Kind, index: Int[Tensor, "n"] | slice | tuple) -> Kind:
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
    """Where hair begins, in skulls behind and above a line over the ears; see `paint.worn`."""
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


def draw_fabric(dice: Dice, colour_weights: list[float | int], pattern_weights: list[float | int]) -> Fabric:
    """Cloth for one kind of garment; the weights are those of `colours.cloth` and of the patterns."""
    return Fabric(
        first=colours.cloth(dice, colour_weights),
        second=colours.cloth(dice, [2, 1, 1, 2]),
        pattern=dice.choice(pattern_weights),
        frequency=dice.uniform(8, 22),
        phase=dice.uniform(0, 2 * math.pi),
        width=dice.uniform(-0.5, 0.6),
    )


def draw_outfits(dice: Dice, at: Landmarks, kit: float = 0.0) -> Outfit:
    """Dress as many people as there are dice for.

    Args:
        at: where clothes are fixed.
        kit: fraction of people who wear the team's kit; see `in_kit`.
    """
    own = _draw_own(dice, at)
    return in_kit(own, at, dice.chance(kit))


def in_kit(own: Outfit, at: Landmarks, worn: Bool[Tensor, "n"]) -> Outfit:
    """Some people's clothes changed for the kit of one team: blue shirt, light trousers, dark shoes and hair.

    Shades still differ a little from person to person, as washing and dye do.
    """

    def dye(colour: Tensor, target: tuple[float, float, float], own_share: float) -> Tensor:
        return torch.lerp(colour.new_tensor(target), colour, own_share)

    def plain(fabric: Fabric, target: tuple[float, float, float]) -> Fabric:
        return replace(fabric, first=dye(fabric.first, target, 0.12), pattern=torch.zeros_like(fabric.pattern))

    def all_at(like: Tensor, value: float) -> Tensor:
        return torch.full_like(like, value)

    kit = replace(
        own,
        skin=dye(own.skin, (0.5, 0.3, 0.2), 0.4),
        shirt=plain(own.shirt, (0.03, 0.1, 0.5)),
        sleeve=all_at(own.sleeve, 0.5 * (at.shoulder + at.elbow)),
        hem=all_at(own.hem, at.hip),
        opening=all_at(own.opening, 0.0),
        trousers=plain(own.trousers, (0.4, 0.28, 0.16)),
        cuff=all_at(own.cuff, at.ankle),
        shoe=dye(own.shoe, (0.02, 0.02, 0.02), 0.1),
        rim=dye(own.rim, (0.05, 0.05, 0.05), 0.1),
        hair=dye(own.hair, (0.02, 0.012, 0.008), 0.15),
        hairline=all_at(own.hairline, -0.05),
        hair_length=all_at(own.hair_length, 0.5),
        beard=all_at(own.beard, 0.0),
    )
    return _where(worn, kit, own)


def _where(mask: Bool[Tensor, "n"], chosen: Kind, other: Kind) -> Kind:
    """Row by row one of two records, also within the records that they hold."""

    def pick(first: "Tensor | Rows", second: "Tensor | Rows") -> "Tensor | Rows":
        if isinstance(first, Rows):
            return _where(mask, first, second)
        return torch.where(mask.view(-1, *[1] * (first.dim() - 1)), first, second)

    return type(chosen)(*(pick(getattr(chosen, f.name), getattr(other, f.name)) for f in fields(chosen)))


def _draw_own(dice: Dice, at: Landmarks) -> Outfit:
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
