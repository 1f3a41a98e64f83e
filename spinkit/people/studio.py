"""The photograph: dressed people under their light, before a background, through an imperfect camera."""

from dataclasses import dataclass
from functools import cached_property

import roma
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from spinkit import camera, raster
from spinkit.body import Body
from spinkit.people import backdrop, light, look, paint
from spinkit.people.backdrop import Shapes
from spinkit.people.cast import Cast
from spinkit.people.colours import GAMMA
from spinkit.people.dice import Dice
from spinkit.people.light import Light
from spinkit.people.look import Landmarks, Outfit
from spinkit.people.settings import PeopleSettings
from spinkit.raster import Raster

FEET = slice(19, 25)
"""OpenPose's toes and heels among the 49 keypoints."""


@dataclass(frozen=True)
class Studio:
    """A body model, measured once, and the wishes of whoever orders the pictures."""

    human: Body
    settings: PeopleSettings

    @cached_property
    def landmarks(self) -> Landmarks:
        """Where clothes and hair are fixed."""
        return look.landmarks(self.human)

    def photograph(self, cast: Cast, occluders: Shapes, dice: Dice) -> UInt8[Tensor, "n 3 side side"]:
        """Pictures of people as stored, `settings.stored_size` pixels on a side.

        Args:
            cast: who, and where.
            occluders: what stands before them, in sides of the stored picture.
            dice: for clothes, light, background and the camera's faults.
        """
        outfits, lights = look.draw_outfits(dice, self.landmarks, self.settings.kit), light.draw_lights(dice)
        scene = backdrop.draw_backdrop(dice, self.settings.stored_size, self.settings.studio)
        scene = self._shadowed(scene, cast, dice)
        figure, cover = self.figure(cast, outfits, lights)
        picture = backdrop.put(scene * (1 - cover) + figure, occluders)
        return develop(picture, dice)

    def figure(
        self, cast: Cast, outfits: Outfit, lights: Light
    ) -> tuple[Float[Tensor, "n 3 side side"], Float[Tensor, "n 1 side side"]]:
        """People alone, in linear light on black, and the share of each pixel that they cover."""
        human, fine = self.human, self.settings.supersample
        vertices = human.vertices(roma.rotvec_to_rotmat(cast.rotvec), cast.betas)
        normals = light.vertex_normals(vertices, human.faces)
        padded = vertices + normals * paint.thickness(outfits, self.landmarks, human.v_template)[..., None]
        focal = camera.FOCAL * fine * self.settings.image_size / camera.RESOLUTION
        side = fine * self.settings.stored_size
        drawn = raster.rasterize(
            padded + cast.translation[:, None],
            human.faces,
            focal=torch.full((len(vertices),), focal),
            center=torch.full((len(vertices), 2), side / 2),
            size=side,
            cull=True,
        )
        person, row, column = drawn.mask.nonzero().unbind(dim=-1)
        rest, normal = self._seen_points(drawn, normals)
        colour = paint.colour(outfits[person], self.landmarks, rest)
        lit = light.shade(lights[person], colour, normal)

        # Every fine pixel gives its share to the stored pixel that holds it.
        stored = self.settings.stored_size
        pixel = (person * stored + row // fine) * stored + column // fine
        share = torch.cat([lit, torch.ones_like(lit[:, :1])], dim=-1) / fine**2
        canvas = torch.zeros(len(vertices) * stored**2, 4).index_add(0, pixel, share)
        picture = canvas.view(-1, stored, stored, 4).permute(0, 3, 1, 2)
        return picture[:, :3], picture[:, 3:]

    def _seen_points(
        self, drawn: Raster, normals: Float[Tensor, "n vertices 3"]
    ) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, "pixels 3"]]:
        """Of every pixel that shows somebody: the point on the body at rest, and the skin's direction now."""
        seen = drawn.mask.flatten().nonzero()[:, 0]
        person = seen // drawn.face[0].numel()
        corner = self.human.faces.index_select(0, drawn.face.flatten()[seen])
        weight = drawn.barycentric.view(-1, 3).index_select(0, seen)[..., None]
        rest = (weight * self.human.v_template[corner]).sum(dim=1)
        row = (corner + normals.shape[1] * person[:, None]).flatten()
        normal = (weight * normals.reshape(-1, 3).index_select(0, row).view(-1, 3, 3)).sum(dim=1)
        return rest, F.normalize(normal, dim=-1)

    def covered(self, cast: Cast, occluders: Shapes) -> Bool[Tensor, "n 49"]:
        """Which keypoints an occluder hides."""
        depth, _ = backdrop.inside(occluders, self._in_picture(cast))
        return (depth > 0).any(dim=1)

    def _in_picture(self, cast: Cast) -> Float[Tensor, "n 49 2"]:
        """Keypoints in sides of the stored picture."""
        xy = camera.project(cast.camera, cast.points) / camera.RESOLUTION
        return 0.5 + (xy - 0.5) / self.settings.stored_margin

    def _shadowed(
        self, scene: Float[Tensor, "n 3 side side"], cast: Cast, dice: Dice
    ) -> Float[Tensor, "n 3 side side"]:
        """Darken the ground under the feet, which ties people to the place where they stand."""
        feet = self._in_picture(cast)[:, FEET]
        left, right = feet[..., 0].amin(dim=1), feet[..., 0].amax(dim=1)
        centre = torch.stack([(left + right) / 2, feet[..., 1].amax(dim=1)], dim=-1)
        width = 0.6 * (right - left) + 0.05
        radius = torch.stack([width, 0.25 * width], dim=-1)
        away = (backdrop.grid(scene.shape[-1]) - centre[:, None]) / radius[:, None]
        dark = dice.uniform(0, 0.7, 1) * torch.exp(-away.square().sum(dim=-1))
        return scene * (1 - dark).view(len(scene), 1, *scene.shape[2:])


def develop(picture: Float[Tensor, "n 3 s s"], dice: Dice) -> UInt8[Tensor, "n 3 s s"]:
    """From linear light to a photograph: exposure, white balance, blur, tone and noise."""
    exposure = torch.exp(dice.normal(0.1, 0.25, 1, 1, 1)) * (1 + dice.normal(0, 0.05, 3, 1, 1))
    softness = dice.uniform(0, 1, 1, 1, 1) ** 2
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    picture = torch.lerp(picture, F.conv2d(padded, kernel, groups=3), softness)
    tone = (1 / GAMMA) * torch.exp(dice.normal(0, 0.08, 1, 1, 1))
    screen = (picture * exposure).clamp(0, 1) ** tone
    grain = torch.randn(screen.shape, generator=dice.generator) * dice.uniform(0, 1, 1, 1, 1) ** 2 * 0.035
    return ((screen + grain).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
