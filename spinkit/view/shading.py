"""How a body is lit: the formula of pyrender's shader, so that pictures with and without OpenGL are alike."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

LIGHTS = (((-0.9, -0.9, -0.8), 3.2), ((0.9, 0.1, -0.7), 1.0))
"""Where light comes from in the camera frame, and how strong: a key light above left, a fill at the right."""
AMBIENT = 0.10
"""Light that comes from everywhere."""
GAMMA = 2.2
"""A screen shows the square, roughly, of what it is sent."""


@dataclass(frozen=True)
class Shot:
    """A mesh in front of a camera: all that a renderer needs to know."""

    vertices: Float[Tensor, "vertices 3"]
    """Metres in the camera frame: x right, y down, z forward."""
    faces: Int[Tensor, "faces 3"]
    """Corners, counter-clockwise seen from outside."""
    colour: Float[Tensor, "vertices 3"]
    """As a screen shows it under full light, 0 to 1."""
    focal: float
    """Pixels of the picture."""
    center: tuple[float, float]
    """Principal point, pixels of the picture."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""


def vertex_normals(vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]) -> Float[Tensor, "vertices 3"]:
    """Outward unit normals, each the mean of its faces' weighed by their areas."""
    a, b, c = vertices[faces].unbind(dim=1)
    across = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), across.repeat_interleave(3, dim=0))
    return normalize(summed, dim=-1)


def shade(
    position: Float[Tensor, "points 3"], normal: Float[Tensor, "points 3"], colour: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """What a screen shows of surface points of a perfectly rough material.

    Args:
        position: metres in the camera frame.
        normal: outward, of any length.
        colour: as a screen shows it under full light, 0 to 1.

    Returns:
        0 to 1, as sent to the screen.

    Source: pyrender 0.1.45, shaders/mesh.frag, for metallic 0 and roughness 1.
    """
    n, v = normalize(normal, dim=-1), normalize(-position, dim=-1)
    light = torch.full_like(position[:, :1], AMBIENT)
    for direction, strength in LIGHTS:
        towards = normalize(position.new_tensor(direction), dim=-1)
        light = light + strength * _reflected(n, v, towards.expand_as(n))
    return (light * colour**GAMMA).clamp(0, 1) ** (1 / GAMMA)


def _reflected(
    n: Float[Tensor, "points 3"], v: Float[Tensor, "points 3"], towards: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 1"]:
    """The part of one light that a rough white surface sends towards the viewer."""
    half = normalize(towards + v, dim=-1)
    nl = (n * towards).sum(-1, keepdim=True).clamp(0.001, 1)
    nv = (n * v).sum(-1, keepdim=True).abs().clamp(0.001, 1)
    vh = (v * half).sum(-1, keepdim=True).clamp(0, 1)
    mirrored = 0.04 + 0.96 * (1 - vh) ** 5
    shadowed = nv / (0.5 * nv + 0.5) * nl / (0.5 * nl + 0.5)
    diffuse = (1 - mirrored) * 0.96
    specular = mirrored * shadowed / (4 * nl * nv + 0.001)
    return nl * (diffuse + specular) / torch.pi
