"""Colours of skin, hair and cloth. All colours in this room are linear light in 0..1, ready to be lit."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.people.dice import Dice

GAMMA = 2.2
# Screen colours in 0..1, to be made linear; typed from general knowledge, dark to light.
SKIN = (
    *((0.24, 0.15, 0.11), (0.38, 0.24, 0.16), (0.55, 0.36, 0.24), (0.72, 0.50, 0.36)),
    *((0.84, 0.64, 0.50), (0.92, 0.74, 0.62), (0.96, 0.82, 0.73)),
)
# Black, dark brown, brown, red, blond, grey, white.
HAIR = (
    *((0.07, 0.06, 0.06), (0.15, 0.10, 0.08), (0.30, 0.20, 0.13), (0.46, 0.23, 0.12)),
    *((0.72, 0.57, 0.36), (0.52, 0.52, 0.52), (0.82, 0.81, 0.78)),
)
HAIR_WEIGHTS = [6, 6, 4, 0.7, 2.5, 1.5, 0.5]


def linear(screen: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Linear light of screen colours in 0..1."""
    return screen.clamp(0, 1) ** GAMMA


def from_hsv(
    hue: Float[Tensor, "*n"], saturation: Float[Tensor, "*n"], value: Float[Tensor, "*n"]
) -> Float[Tensor, "*n 3"]:
    """Screen colours from hue (turns), saturation and value, each in 0..1."""
    sector = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[..., None]) % 6
    ramp = torch.minimum(sector, 4 - sector).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * ramp)


def skin(dice: Dice) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, "n"]]:
    """A skin tone, and whether it is a dark one."""
    place = dice.uniform(0, len(SKIN) - 1.001)
    index, palette = place.long(), torch.tensor(SKIN)
    tone = torch.lerp(palette[index], palette[index + 1], (place - index)[:, None])
    return linear(tone + dice.normal(0, 0.015, 3)), place < 2.5


def hair(dice: Dice, dark: Bool[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """A hair colour; people of dark skin have dark hair."""
    anyone, few = dice.choice(HAIR_WEIGHTS), dice.choice([3.0, 1.0])
    return linear(torch.tensor(HAIR)[torch.where(dark, few, anyone)] * dice.uniform(0.8, 1.2, 1))


def cloth(dice: Dice, weights: list[float | int]) -> Float[Tensor, "n 3"]:
    """The colour of a garment.

    Args:
        weights: of four kinds: from black to white, denim and navy, earth tones, anything vivid.
    """
    grey = from_hsv(dice.uniform(0, 1), dice.uniform(0, 0.08), dice.uniform(0.08, 0.97))
    denim = from_hsv(dice.uniform(0.58, 0.65), dice.uniform(0.25, 0.65), dice.uniform(0.15, 0.65))
    earth = from_hsv(dice.uniform(0.04, 0.16), dice.uniform(0.15, 0.55), dice.uniform(0.2, 0.8))
    vivid = from_hsv(dice.uniform(0, 1), dice.uniform(0.4, 0.95), dice.uniform(0.25, 0.95))
    kinds = torch.stack([grey, denim, earth, vivid])
    return linear(kinds[dice.choice(weights), torch.arange(dice.count)])
