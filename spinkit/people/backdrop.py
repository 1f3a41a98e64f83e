"""What is behind people and what is before them: rooms, streets, meadows and things, all made of noise."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.people import colours
from spinkit.people.dice import Dice
from spinkit.people.look import Rows

# Screen hue range (turns), saturation range and value range of what fills the upper and the lower part.
UPPER = (
    ((0.05, 0.14), (0.02, 0.25), (0.45, 0.95)),  # a painted wall
    ((0.55, 0.62), (0.05, 0.55), (0.60, 1.00)),  # the sky
    ((0.20, 0.36), (0.20, 0.55), (0.15, 0.50)),  # trees
    ((0.02, 0.10), (0.20, 0.55), (0.25, 0.65)),  # bricks, wood
    ((0.00, 1.00), (0.00, 0.35), (0.10, 0.85)),  # anything
)
LOWER = (
    ((0.05, 0.11), (0.15, 0.50), (0.25, 0.75)),  # a wooden floor, sand, earth
    ((0.18, 0.33), (0.25, 0.60), (0.25, 0.60)),  # grass
    ((0.00, 1.00), (0.00, 0.08), (0.20, 0.75)),  # asphalt, concrete
    ((0.00, 1.00), (0.00, 0.30), (0.15, 0.80)),  # anything
)


@dataclass(frozen=True)
class Shapes(Rows):
    """Rectangles and ellipses in the picture; lengths in sides of the picture, its corner is the origin."""

    centre: Float[Tensor, "n k 2"]
    half: Float[Tensor, "n k 2"]
    """Half the width and height before turning."""
    turn: Float[Tensor, "n k"]
    """Radians."""
    round: Bool[Tensor, "n k"]
    """An ellipse instead of a rectangle."""
    present: Bool[Tensor, "n k"]
    colour: Float[Tensor, "n k 3"]
    other: Float[Tensor, "n k 3"]
    """The colour towards the lower end."""
    stripes: Float[Tensor, "n k"]
    """How often the colours alternate; zero for a smooth change from one to the other."""


def draw_things(dice: Dice, count: int, chance: float) -> Shapes:
    """Things that stand about in the background: windows, doors, cars, boxes, bushes."""
    size = 0.03 * (0.45 / 0.03) ** dice.uniform(0, 1, count, 1)
    aspect = torch.exp(dice.normal(0, 0.7, count))
    proportions = torch.stack([aspect.sqrt(), 1 / aspect.sqrt()], dim=-1)
    tilted = dice.chance(0.2, count)
    return Shapes(
        centre=dice.uniform(-0.05, 1.05, count, 2),
        half=size * proportions,
        turn=dice.normal(0, 0.03, count) + dice.uniform(-1.5, 1.5, count) * tilted,
        round=dice.chance(0.35, count),
        present=dice.chance(chance, count),
        **_two_colours(dice, count),
    )


def draw_occluders(dice: Dice, chance: float) -> Shapes:
    """At most one thing before each person: a ball, a board, a post, a railing."""
    kind = dice.choice([2, 2, 1.5, 1], 1)
    small, long = dice.uniform(0.05, 0.17, 1, 2), dice.uniform(0.02, 0.05, 1)
    reach = torch.full_like(long, 1.5)
    half = torch.stack([small, small, torch.stack([long, reach], -1), torch.stack([reach, long], -1)], dim=0).gather(
        0, kind[None, ..., None].expand(1, -1, -1, 2)
    )[0]
    thin = (kind >= 2)[..., 0]
    turn = torch.where(thin[:, None], dice.normal(0, 0.1, 1), dice.uniform(-1.5, 1.5, 1))
    # Somewhere on the body, more often near its middle; posts and railings cross the whole picture.
    spread = dice.normal(0, 1, 1, 2) * torch.tensor([0.13, 0.2])
    return Shapes(0.5 + spread, half, turn, kind == 0, dice.chance(chance, 1), **_two_colours(dice, 1))


def _two_colours(dice: Dice, count: int) -> dict[str, Tensor]:
    first = colours.from_hsv(
        dice.uniform(0, 1, count), dice.uniform(0, 1, count) ** 2 * 0.8, dice.uniform(0.08, 0.95, count)
    )
    change = dice.normal(0, 0.12, count, 1) + dice.normal(0, 0.05, count, 3)
    alternating = dice.uniform(2, 9, count) * dice.chance(0.25, count)
    return {
        "colour": colours.linear(first),
        "other": colours.linear(first + change),
        "stripes": alternating,
    }


def inside(
    shapes: Shapes, points: Float[Tensor, "#n points 2"]
) -> tuple[Float[Tensor, "n k points"], Float[Tensor, "n k points"]]:
    """Where points lie in each shape.

    Args:
        points: in sides of the picture.

    Returns:
        How deep inside, in sides of the picture, negative outside, minus infinity in what is not present;
        and how far along the shape's own vertical, -1 at its upper end to 1 at its lower.
    """
    x, y = (points[:, None] - shapes.centre[:, :, None]).unbind(dim=-1)
    cos, sin = shapes.turn.cos()[..., None], shapes.turn.sin()[..., None]
    half = shapes.half[:, :, None]
    across = (cos * x + sin * y) / half[..., 0]
    along = (cos * y - sin * x) / half[..., 1]
    reach = torch.where(shapes.round[..., None], across.hypot(along), torch.maximum(across.abs(), along.abs()))
    depth = (1 - reach) * half.amin(dim=-1)
    return depth.masked_fill(~shapes.present[..., None], -torch.inf), along


def grid(size: int) -> Float[Tensor, "1 points 2"]:
    """Pixel centres in sides of the picture, row by row."""
    line = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).view(1, -1, 2)


def put(picture: Float[Tensor, "n 3 s s"], shapes: Shapes) -> Float[Tensor, "n 3 s s"]:
    """Paint shapes over a picture, in their order, with soft edges one pixel wide."""
    size = picture.shape[-1]
    depth, along = inside(shapes, grid(size))
    cover = (depth * size + 0.5).clamp(0, 1)
    waves = 0.5 + 0.5 * torch.sin(shapes.stripes[..., None] * math.pi * along).sign()
    blend = torch.where(shapes.stripes[..., None] > 0, waves, 0.5 + 0.5 * along.clamp(-1, 1))
    flat = picture.flatten(2)
    for k in range(shapes.present.shape[1]):
        tint = torch.lerp(shapes.colour[:, k, :, None], shapes.other[:, k, :, None], blend[:, None, k])
        flat = torch.lerp(flat, tint, cover[:, None, k])
    return flat.view_as(picture)


def noise(dice: Dice, size: int, coarsest: int, finest: int, channels: int = 1) -> Float[Tensor, "n c s s"]:
    """Clouds of noise, each octave a little weaker than the coarser one, of deviation about one.

    Args:
        size: pixels of the picture's side.
        coarsest, finest: numbers of cells along the picture's side, in powers of two.
    """
    total, weight, cells = torch.zeros(dice.count, channels, size, size), 1.0, coarsest
    while cells <= min(finest, size):
        octave = F.interpolate(
            dice.normal(0, 1, channels, cells + 1, cells + 1), size=size, mode="bilinear", align_corners=True
        )
        total, weight, cells = total + weight * octave, 0.75 * weight, 2 * cells
    return total


def _fill(dice: Dice, kinds: tuple, weights: list[float | int]) -> Float[Tensor, "n 3"]:
    """A linear colour of one of several kinds."""
    ranges = torch.tensor(kinds)[dice.choice(weights)]
    low, high = ranges.unbind(dim=-1)
    hue, saturation, value = (low + (high - low) * dice.uniform(0, 1, 3)).unbind(dim=-1)
    return colours.linear(colours.from_hsv(hue, saturation, value))


def _ramp(dice: Dice, colour: Float[Tensor, "n 3"], place: Float[Tensor, "n size"]) -> Float[Tensor, "n 3 size"]:
    """A colour that brightens or darkens along `place`, which runs over about 0..1."""
    slope, tint = dice.normal(0, 0.5), dice.normal(0, 0.08, 3)
    steps = (slope[:, None] + tint)[..., None] * (place - 0.5)[:, None]
    return colour[..., None] * torch.exp(steps)


def draw_backdrop(dice: Dice, size: int, studio: float = 0.0) -> Float[Tensor, "n 3 size size"]:
    """A background for every person, in linear light: two fields at a horizon, things, and grain over all.

    Args:
        size: pixels of the picture's side.
        studio: fraction of pictures before a plain wall instead, with soft shades and nothing on it.
    """
    scene = _draw_scene(dice, size)
    wall = _fill(dice, UPPER[:1], [1])[..., None, None] * torch.exp(0.12 * noise(dice, size, 1, 4))
    return torch.where(dice.chance(studio)[:, None, None, None], wall, scene)


def _draw_scene(dice: Dice, size: int) -> Float[Tensor, "n 3 size size"]:
    line = ((torch.arange(size) + 0.5) / size).expand(dice.count, size)
    plain = dice.chance(0.15)
    horizon = torch.where(plain, 2.0, dice.uniform(0.3, 0.95))[:, None]
    above = _ramp(dice, _fill(dice, UPPER, [4, 3, 1.5, 1.5, 2]), line / horizon.clamp(max=1))
    below = _ramp(dice, _fill(dice, LOWER, [3, 2.5, 3, 1.5]), (line - horizon) / (1 - horizon).clamp(min=0.1))
    sharpness = size * dice.uniform(0.1, 1.0, 1)
    lower = ((line - horizon) * sharpness + 0.5).clamp(0, 1)
    picture = torch.lerp(above, below, lower[:, None])[..., None].expand(-1, -1, -1, size)

    picture = put(_with_trees(dice, picture, horizon), draw_things(dice, 6, 0.45))
    strength = torch.lerp(dice.uniform(0, 1, 1).square() * 0.25, dice.uniform(0.02, 0.22, 1), lower)
    grain = noise(dice, size, 4, 64)[:, 0] * strength[..., None]
    tint = noise(dice, size, 2, 8, channels=3) * dice.uniform(0, 0.06, 1, 1, 1)
    return picture * torch.exp(grain[:, None] + tint)


def _with_trees(
    dice: Dice, picture: Float[Tensor, "n 3 s s"], horizon: Float[Tensor, "n 1"]
) -> Float[Tensor, "n 3 s s"]:
    """Bushes, trees or a skyline that rise from the horizon of some pictures, with a ragged outline."""
    size = picture.shape[-1]
    line = (torch.arange(size) + 0.5) / size
    height = dice.uniform(0.05, 0.4, 1) * dice.chance(0.4, 1)
    outline = noise(dice, size, 4, 32)[:, 0] * 0.3 + 1
    over = horizon[..., None] - line[None, :, None]
    cover = ((height[..., None] * outline - over) * size).clamp(0, 1) * (over > 0)
    cover = cover * (height[..., None] > 0)
    leaves = _fill(dice, UPPER, [0.5, 0, 4, 1.5, 0.5])[..., None, None] * torch.exp(0.5 * noise(dice, size, 8, 64))
    return torch.lerp(picture, leaves, cover[:, None])
