"""Light on people: a sun, a sky, and what the ground throws back."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit.people.dice import Dice
from spinkit.people.look import Rows


@dataclass(frozen=True)
class Light(Rows):
    """The light of one scene, in the camera frame (y down)."""

    direction: Float[Tensor, "*n 3"]
    """Towards the sun or lamp."""
    sun: Float[Tensor, "*n 3"]
    sky: Float[Tensor, "*n 3"]
    """On what faces up."""
    ground: Float[Tensor, "*n 3"]
    """On what faces down."""
    rim: Float[Tensor, "*n"]
    """How much surfaces darken that turn away from the camera, 0..1."""


def draw_lights(dice: Dice) -> Light:
    """A light for every scene, from overcast to low sun."""
    heading, height = dice.uniform(-math.pi, math.pi), dice.uniform(0.1, 1.3)
    direction = torch.stack([heading.sin() * height.cos(), -height.sin(), -heading.cos() * height.cos()], dim=-1)
    strength, warmth = dice.uniform(0.0, 1.1), dice.normal(0, 0.1)
    tint = torch.stack([1 + warmth, torch.ones(dice.count), 1 - warmth], dim=-1)
    ambient = dice.uniform(0.35, 0.75) * (1.25 - 0.5 * strength)
    return Light(
        direction,
        sun=strength[:, None] * tint,
        sky=ambient[:, None] * (2 - tint),
        ground=ambient[:, None] * dice.uniform(0.3, 0.8, 1) * (1 + dice.normal(0, 0.06, 3)),
        rim=dice.uniform(0.1, 0.5),
    )


def shade(light: Light, colour: Float[Tensor, "n 3"], normal: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Linear light that reaches the camera from matt surfaces; one light a point."""
    # The unit vector up is -y. Half of the sphere above lights a wall, so the blend is linear in the cosine.
    up = 0.5 - 0.5 * normal[..., 1:2]
    facing = (-normal[..., 2:]).clamp(0, 1)
    sunny = (normal * light.direction).sum(dim=-1, keepdim=True).clamp(min=0)
    ambient = torch.lerp(light.ground, light.sky, up) * (1 - light.rim[..., None] * (1 - facing))
    return colour * (ambient + light.sun * sunny)


def vertex_normals(
    vertices: Float[Tensor, "n vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "n vertices 3"]:
    """Outward unit normals, each the mean of the faces around, weighted by their areas."""
    count, points = vertices.shape[:2]
    # The people come last, so that gathering and adding move whole rows.
    rows = vertices.permute(1, 2, 0).reshape(points, -1)
    a, b, c = (rows.index_select(0, corner).view(-1, 3, count) for corner in faces.unbind(dim=1))
    flat = torch.linalg.cross(b - a, c - a, dim=1).view(len(faces), -1)
    summed = torch.zeros_like(rows)
    for corner in faces.unbind(dim=1):
        summed.index_add_(0, corner, flat)
    x, y, z = summed.view(points, 3, count).unbind(dim=1)
    length = (x * x + y * y + z * z).sqrt().clamp(min=1e-12)
    return torch.stack([x / length, y / length, z / length], dim=-1).transpose(0, 1)
