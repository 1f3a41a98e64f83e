"""The body: constants of an SMPL-format model, and the three stages from shape to skin."""

from dataclasses import dataclass, fields, replace

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

    def shaped(self, betas: Float[Tensor, "*batch 10"]) -> "Shaped":
        """First stage: the body at rest in a given shape."""
        vertices = self.v_template + torch.einsum("vck,...k->...vc", self.shapedirs, betas)
        return Shaped(self, vertices, self.joint_regressor @ vertices)

    def vertices(
        self, rotmat: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*batch 10"]
    ) -> Float[Tensor, "*batch vertices 3"]:
        """Skinned vertices, metres, through all three stages."""
        return self.shaped(betas).posed(rotmat).vertices()

    def joints(
        self, rotmat: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*batch 10"]
    ) -> Float[Tensor, "*batch 24 3"]:
        """The 24 joints, metres, without the mesh."""
        template = self.joint_regressor @ self.v_template
        shapedirs = torch.einsum("jv,vck->jck", self.joint_regressor, self.shapedirs)
        rest = template + torch.einsum("jck,...k->...jc", shapedirs, betas)
        return chain.place_joints(chain.world_rotations(rotmat), rest)

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
    rest_vertices: Float[Tensor, "*batch vertices 3"]
    rest_joints: Float[Tensor, "*batch 24 3"]

    def posed(self, rotmat: Float[Tensor, "*batch 24 3 3"]) -> "Posed":
        """Second stage: joints in space. `rotmat[..., 0]` turns the whole body, the others relative to the parent."""
        world = chain.world_rotations(rotmat)
        return Posed(self, rotmat, world, chain.place_joints(world, self.rest_joints))


@dataclass(frozen=True)
class Posed:
    """A body whose joints are in place and whose skin is yet to follow."""

    shaped: Shaped
    rotmat: Float[Tensor, "*batch 24 3 3"]
    world: Float[Tensor, "*batch 24 3 3"]
    joints: Float[Tensor, "*batch 24 3"]

    def correctives(self) -> Float[Tensor, "*batch vertices 3"]:
        """What the pose adds to the skin at rest, metres: muscles bulge, elbows keep their volume."""
        eye = torch.eye(3, dtype=self.rotmat.dtype, device=self.rotmat.device)
        feature = (self.rotmat[..., 1:, :, :] - eye).flatten(-3)
        posedirs = self.shaped.body.posedirs
        return (feature @ posedirs.reshape(-1, 207).T).unflatten(-1, (len(posedirs), 3))

    def vertices(self) -> Float[Tensor, "*batch vertices 3"]:
        """Third stage: linear blend skinning, metres."""
        rest = self.shaped.rest_vertices + self.correctives()
        shift = self.joints - (self.world @ self.shaped.rest_joints[..., None])[..., 0]
        motion = torch.cat([self.world, shift[..., None]], dim=-1).flatten(-2)
        blended = (self.shaped.body.weights @ motion).unflatten(-1, (3, 4))
        return (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]
