"""The body: constants of an SMPL-format model, and the three stages from shape to skin."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit.body import chain
from spinkit.body.keypoint_layer import KeypointLayer


@dataclass(frozen=True)
class Body:
    """An SMPL-format body model: values only; shapes and poses are arguments.

    Metres. At rest it stands in a T-pose, y up, z forward, +x to its own left. Any batch shape will do.
    """

    v_template: Float[Tensor, "vertices 3"]
    shapedirs: Float[Tensor, "vertices 3 10"]
    """Metres per standard deviation of each beta."""
    posedirs: Float[Tensor, "vertices 3 207"]
    """Pose correctives: metres per entry of R_1..R_23 - I, row by row."""
    joint_regressor: Float[Tensor, "24 vertices"]
    weights: Float[Tensor, "vertices 24"]
    faces: Int[Tensor, "faces 3"]
    part6: Int[Tensor, "vertices"]
    """One of the six parts of LSP's segmentation, by `part6_names`."""
    part6_names: tuple[str, ...]
    vertex_mirror: Int[Tensor, "vertices"] | None
    """The vertex that each one becomes when left and right change places, where the model is symmetric."""
    h36m_regressor: Float[Tensor, "17 vertices"] | None
    keypoint_layer: KeypointLayer | None
    name: str
    """Where the model came from; checkpoints remember it."""

    def to(self, *args: torch.device | torch.dtype | str) -> "Body":
        """The same body on another device or in another floating dtype."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, KeypointLayer):
                moved[field.name] = value.to(*args)
            elif isinstance(value, Tensor):
                keep = [a for a in args if value.is_floating_point() or not isinstance(a, torch.dtype)]
                moved[field.name] = value.to(*keep) if keep else value
        return replace(self, **moved)

    @property
    def part24(self) -> Int[Tensor, "vertices"]:
        """The joint that each vertex follows most."""
        return self.weights.argmax(dim=1)

    # What follows from the constants alone is computed when it is first asked for, and kept.

    @cached_property
    def _joint_template(self) -> Float[Tensor, "24 3"]:
        return self.joint_regressor @ self.v_template

    @cached_property
    def _joint_shapedirs(self) -> Float[Tensor, "24 3 10"]:
        return torch.einsum("jv,vck->jck", self.joint_regressor, self.shapedirs)

    @cached_property
    def _offsets(self) -> Float[Tensor, "217 coordinates"]:
        """Shape and pose correctives as one matrix: all x, all y, all z, so that skinning runs along memory."""
        return torch.cat([dirs.permute(2, 1, 0).flatten(1) for dirs in (self.shapedirs, self.posedirs)])

    def shaped(self, betas: Float[Tensor, "*batch 10"]) -> "Shaped":
        """First stage: the body at rest in a given shape."""
        joints = self._joint_template + torch.einsum("jck,...k->...jc", self._joint_shapedirs, betas)
        return Shaped(self, betas, joints)

    def vertices(
        self, rotmat: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*batch 10"]
    ) -> Float[Tensor, "*batch vertices 3"]:
        """Skinned vertices, metres, through all three stages."""
        return self.shaped(betas).posed(rotmat).vertices()

    def joints(
        self, rotmat: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*batch 10"]
    ) -> Float[Tensor, "*batch 24 3"]:
        """The 24 joints, metres, without the mesh."""
        return self.shaped(betas).posed(rotmat).joints

    def keypoints(
        self, rotmat: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*batch 10"]
    ) -> Float[Tensor, "*batch 49 3"]:
        """SPIN's 49 keypoints, metres, without the mesh, equal to those of the skinned mesh.

        Raises:
            ValueError: the model came without the regressor of the annotated keypoints.
        """
        batch = rotmat.shape[:-3]
        posed = self.keypoints_only().pose(rotmat.reshape(-1, 24, 3, 3), betas.reshape(-1, 10))
        return posed.positions().reshape(*batch, 49, 3)

    def keypoints_only(self) -> KeypointLayer:
        """The layer that knows keypoints and nothing else of the body.

        Raises:
            ValueError: the model came without the regressor of the annotated keypoints.
        """
        if self.keypoint_layer is None:
            raise ValueError(
                f"{self.name}: no regressor for the annotated keypoints. Put SPIN's J_regressor_extra.npy (9,V) "
                "beside the model file and load it again, or use the default body: body.load()."
            )
        return self.keypoint_layer


@dataclass(frozen=True)
class Shaped:
    """A body at rest in its own shape."""

    body: Body
    betas: Float[Tensor, "*batch 10"]
    rest_joints: Float[Tensor, "*batch 24 3"]

    @property
    def rest_vertices(self) -> Float[Tensor, "*batch vertices 3"]:
        """The skin at rest, metres, before any pose corrects it."""
        return self.body.v_template + torch.einsum("vck,...k->...vc", self.body.shapedirs, self.betas)

    def posed(self, rotmat: Float[Tensor, "*batch 24 3 3"]) -> "Posed":
        """Second stage: joints in space. `rotmat[..., 0]` turns the whole body, the others relative to the parent."""
        world = chain.world_rotations(rotmat)
        return Posed(self, rotmat, world, chain.place_joints(world, self.rest_joints))


SKINNED_AT_ONCE = 8
"""Bodies whose skin is moved at a time, so that their motions, 12 numbers a vertex, stay in the processor's cache."""


@dataclass(frozen=True)
class Posed:
    """A body whose joints are in place and whose skin is yet to follow."""

    shaped: Shaped
    rotmat: Float[Tensor, "*batch 24 3 3"]
    world: Float[Tensor, "*batch 24 3 3"]
    joints: Float[Tensor, "*batch 24 3"]

    def correctives(self) -> Float[Tensor, "*batch vertices 3"]:
        """What the pose adds to the skin at rest, metres: muscles bulge, elbows keep their volume."""
        posedirs = self.shaped.body.posedirs
        return (self._feature() @ posedirs.reshape(-1, 207).T).unflatten(-1, (len(posedirs), 3))

    def _feature(self) -> Float[Tensor, "*batch 207"]:
        eye = torch.eye(3, dtype=self.rotmat.dtype, device=self.rotmat.device)
        return (self.rotmat[..., 1:, :, :] - eye).flatten(-3)

    def vertices(self) -> Float[Tensor, "*batch vertices 3"]:
        """Third stage: linear blend skinning, metres."""
        body, batch = self.shaped.body, self.rotmat.shape[:-3]
        shift = self.joints - (self.world * self.shaped.rest_joints[..., None, :]).sum(-1)
        motion = torch.cat([self.world, shift[..., None]], dim=-1).reshape(-1, 24, 3, 4).permute(0, 2, 3, 1)
        betas = self.shaped.betas.expand(*batch, 10)
        change = torch.cat([betas, self._feature()], dim=-1).reshape(-1, len(body._offsets))
        rest = (body.v_template.T.flatten() + change @ body._offsets).unflatten(1, (3, -1))
        parts = zip(motion.split(SKINNED_AT_ONCE), rest.split(SKINNED_AT_ONCE), strict=True)
        skin = torch.cat([_moved(some, body.weights, points) for some, points in parts])
        return skin.mT.reshape(*batch, len(body.v_template), 3)


def _moved(
    motion: Float[Tensor, "bodies 3 4 24"],
    weights: Float[Tensor, "vertices 24"],
    rest: Float[Tensor, "bodies 3 vertices"],
) -> Float[Tensor, "bodies 3 vertices"]:
    """Every vertex moved as its joints move, by their weights."""
    blended = motion @ weights.T
    moved = blended[:, :, 3]
    for axis in range(3):
        moved = moved.addcmul(blended[:, :, axis], rest[:, None, axis])
    return moved
