"""Keypoints of a body without its mesh, exactly, and their derivative in closed form.

A keypoint is a fixed linear mix of skinned vertices. Skinning is linear in each joint's orientation, so the
mix can be done once, before any pose is known. What is left of 6890 vertices is, for each keypoint, one vector
per joint on the way from the pelvis to it:

    x_o = x_pelvis + sum over joints j of G_j v_oj(betas, pose correctives)

G_j is the joint's orientation in space. v_oj adds up the bones that hang on joint j and lead towards the keypoint,
and the skin around it that follows j. It is linear in betas and in the pose correctives.

The derivative falls out of the same sum. Turning joint k moves everything that hangs below it about the joint:
with lever L_ok = sum over j below or at k of G_j v_oj, the keypoint moves by w x L_ok for a rotation w in space.
"""

from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit.body import chain
from spinkit.body.rotations import cross, product

FELT = 1e-4
"""Metres for one entry of a rotation matrix: pose correctives that move no keypoint farther are not felt by it."""


@dataclass(frozen=True)
class KeypointLayer:
    """The constants of the sum above, over the (keypoint, joint) pairs in which the joint moves the keypoint.

    Four pairs in five would be zeros, and are left out. What is posed has the batch last in every tensor, so that what
    is done to all bodies runs along memory.
    """

    mass: Float[Tensor, "points"]
    """Sum of the mix's weights: one, but for regressors that were saved with rounding."""
    point: Int[Tensor, "pairs"]
    """The keypoint of each pair."""
    joint: Int[Tensor, "pairs"]
    """Its joint: one on the way from the pelvis to the keypoint."""
    arm_template: Float[Tensor, "pairs 3"]
    """v_oj of the mean shape: bones and skin, without pose correctives."""
    arm_shapedirs: Float[Tensor, "pairs 3 10"]
    """Its change with each beta."""
    corrective_pair: Int[Tensor, "soft"]
    """The pairs whose skin has pose correctives: the first ones."""
    corrective_dirs: Float[Tensor, "soft 3 207"]
    """Change of v_oj with the pose features, the entries of R_1..R_23 - I."""
    pelvis_template: Float[Tensor, "3"]
    pelvis_shapedirs: Float[Tensor, "3 10"]
    sums: Float[Tensor, "sums pairs"]
    """Ones where a pair is part of a keypoint, and where it hangs below another pair's joint: positions and levers."""
    turned_shapedirs: Float[Tensor, "points*10 72"]
    """`arm_shapedirs` with zeros where there is no pair, as the matrix that takes orientations to changes."""

    def select(self, points: Int[Tensor, "n"]) -> "KeypointLayer":
        """The layer for some keypoints only, in the order given; the cost shrinks with their number."""
        pair, row = (self.point[:, None] == points[None]).nonzero(as_tuple=True)
        soft, soft_pair = (self.corrective_pair[:, None] == pair[None]).nonzero(as_tuple=True)
        return with_sums(
            mass=self.mass[points],
            point=row,
            joint=self.joint[pair],
            arm_template=self.arm_template[pair],
            arm_shapedirs=self.arm_shapedirs[pair],
            corrective_pair=soft_pair,
            corrective_dirs=self.corrective_dirs[soft],
            pelvis_template=self.pelvis_template,
            pelvis_shapedirs=self.pelvis_shapedirs,
        )

    def arrangement(self, r: int, more: int = 0) -> Int[Tensor, "cells"]:
        """Where the cells of a dense derivative, (points, r, 82 + more), lie among the `columns` of a posed layer.

        Args:
            r: rows a keypoint.
            more: columns of the caller's own, (points, r, more), laid behind the derivative's. The last row of all is
                for cells in which no joint moves the keypoint, and the caller fills it with zeros.
        """
        pairs, points, device = self.joint.shape[0], self.mass.shape[0], self.mass.device
        block = torch.arange(points * r, device=device).unflatten(0, (points, r, 1))
        table = torch.full((points, r, 82 + more), pairs * r * 3 + points * r * (10 + more), device=device)
        table[:, :, 72:82] = pairs * r * 3 + 10 * block + torch.arange(10, device=device)
        extra = torch.arange(more, device=device)
        table[:, :, 82:] = pairs * r * 3 + points * r * 10 + more * block + extra
        by_pair = torch.arange(pairs * r * 3, device=device).unflatten(0, (pairs, r, 3))
        column = 3 * self.joint[:, None, None] + torch.arange(3, device=device)
        table[self.point[:, None, None], torch.arange(r, device=device)[:, None], column] = by_pair
        return table.flatten()

    def unfelt(self) -> tuple[int, ...]:
        """The joints that may turn as they like: no keypoint moves with them, nor, beyond `FELT`, does its skin."""
        moved = torch.zeros(24, dtype=torch.bool).index_fill(0, self.joint.cpu(), True)
        change = self.corrective_dirs.abs().amax((0, 1)) if len(self.corrective_dirs) else torch.zeros(207)
        moved[1:] |= change.cpu().unflatten(0, (23, 9)).amax(1) > FELT
        return tuple((~moved).nonzero()[:, 0].tolist())

    def to(self, *args: torch.device | torch.dtype | str) -> "KeypointLayer":
        """The same layer on another device or in another floating dtype."""
        moved = {}
        for name, tensor in vars(self).items():
            # Indices follow the device but keep their dtype.
            moved[name] = tensor.to(*args) if tensor.is_floating_point() else tensor.to(_device_of(args, tensor))
        return replace(self, **moved)

    def pose(self, rotmat: Float[Tensor, "batch 24 3 3"], betas: Float[Tensor, "batch 10"]) -> "PosedKeypoints":
        """The keypoints of bodies in given poses and shapes."""
        return self.posed(rotmat.permute(1, 2, 3, 0).contiguous(), betas.T)

    def posed(self, rotmat: Float[Tensor, "24 3 3 batch"], betas: Float[Tensor, "10 batch"]) -> "PosedKeypoints":
        """The same with the batch last, as it is computed."""
        world = chain.world_rotations_batch_last(rotmat)
        arms = torch.addmm(self.arm_template.reshape(-1, 1), self.arm_shapedirs.flatten(0, 1), betas).unflatten(
            0, (-1, 3)
        )
        if self.corrective_pair.shape[0]:
            eye = torch.eye(3, dtype=rotmat.dtype, device=rotmat.device)[..., None]
            skin = self.corrective_dirs.flatten(0, 1) @ (rotmat[1:] - eye).flatten(0, 2)
            soft = self.corrective_pair.shape[0]
            arms = torch.cat([arms[:soft] + skin.unflatten(0, (-1, 3)), arms[soft:]])
        turned = (self._by_pair(world) * arms[:, None]).sum(2)
        summed = (self.sums @ turned.flatten(1)).unflatten(1, (3, -1))
        pelvis = torch.addmm(self.pelvis_template[:, None], self.pelvis_shapedirs, betas)
        return PosedKeypoints(self, rotmat, world, summed, pelvis)

    def _by_pair(self, world: Float[Tensor, "24 3 3 batch"]) -> Float[Tensor, "pairs 3 3 batch"]:
        """The orientation of each pair's joint."""
        if not world.requires_grad:
            return world.index_select(0, self.joint)
        # The gradient of a selection is added up row by row; that of a product is a product.
        chosen = (self.joint[:, None] == torch.arange(24, device=world.device)).to(world)
        return (chosen @ world.flatten(1)).reshape(len(chosen), *world.shape[1:])


def with_sums(**constants: Tensor) -> KeypointLayer:
    """A layer with the tables that follow from its pairs, those with pose correctives first."""
    soft = constants["corrective_pair"]
    hard = torch.ones_like(constants["joint"], dtype=torch.bool).index_fill(0, soft, False).nonzero()[:, 0]
    order = torch.cat([soft, hard])
    for name in ("point", "joint", "arm_template", "arm_shapedirs"):
        constants[name] = constants[name][order]
    constants["corrective_pair"] = torch.arange(len(soft), device=soft.device)
    point, joint, mass = constants["point"], constants["joint"], constants["mass"]
    shapedirs = constants["arm_shapedirs"]
    part = point[:, None] == torch.arange(mass.shape[0], device=mass.device)
    below = (point[:, None] == point) & chain.ancestry(mass.device)[joint][:, joint]
    turned_shapedirs = mass.new_zeros(mass.shape[0], 10, 24, 3)
    turned_shapedirs[point, :, joint] = shapedirs.mT
    return KeypointLayer(
        **constants,
        sums=torch.cat([part, below], dim=1).to(mass).T.contiguous(),
        turned_shapedirs=turned_shapedirs.reshape(-1, 72),
    )


def _device_of(args: tuple, tensor: Tensor) -> torch.device:
    devices = [a for a in args if isinstance(a, (str, torch.device))]
    return torch.device(devices[0]) if devices else tensor.device


@dataclass(frozen=True)
class PosedKeypoints:
    """Keypoints of posed bodies, with what their derivative needs."""

    layer: KeypointLayer
    rotmat: Float[Tensor, "24 3 3 batch"]
    world: Float[Tensor, "24 3 3 batch"]
    summed: Float[Tensor, "sums 3 batch"]
    """G_j v_oj, added up: for each keypoint over all its joints, and for each pair over those that its joint moves."""
    pelvis: Float[Tensor, "3 batch"]

    def places(self) -> Float[Tensor, "points 3 batch"]:
        """Metres; the pelvis stays where the shape puts it."""
        mass = self.layer.mass
        return self.summed[: mass.shape[0]].addcmul(mass[:, None, None], self.pelvis)

    def positions(self) -> Float[Tensor, "batch points 3"]:
        """`places`, with the batch first."""
        return self.places().permute(2, 0, 1).contiguous()

    def derivative(
        self,
        left_jacobian: Float[Tensor, "batch 24 3 3"],
        rows: Float[Tensor, "batch points r 3"],
        correctives: bool = True,
    ) -> Float[Tensor, "batch points r 82"]:
        """d(rows . x) / d(24 rotation vectors, 10 betas).

        Args:
            left_jacobian: of each rotation vector, `left_jacobian`: how a change of the vector turns
                the joint, in the parent's frame.
            rows: what to differentiate, per keypoint: the identity for x itself, or the two rows of a
                camera's derivative, which saves a third of the work and a product.
            correctives: False leaves out how the skin's pose correctives change, about a hundredth of the whole and
                half of the work; `corrective_pull` gives their share of a gradient for next to nothing.
        """
        turning, along = left_jacobian.permute(1, 2, 3, 0).contiguous(), rows.permute(1, 2, 3, 0).contiguous()
        points, r = along.shape[:2]
        stacked = torch.cat([*self.columns(turning, along), rows.new_zeros(1, rows.shape[0])])
        out = stacked.index_select(0, self.layer.arrangement(r)).T.reshape(rows.shape[0], points, r, 82)
        if correctives and len(self.layer.corrective_pair):
            out[..., 3:72] += self._by_correctives(turning, rows)
        return out

    def columns(
        self, turning: Float[Tensor, "24 3 3 batch"], rows: Float[Tensor, "points r 3 batch"]
    ) -> tuple[Float[Tensor, "rotations batch"], Float[Tensor, "shapes batch"]]:
        """What is not zero in the derivative without correctives, in the order that `arrangement` knows."""
        return self._by_rotation(turning, rows).flatten(0, 2), self._by_betas(rows).flatten(0, 2)

    def _by_rotation(self, turning: Tensor, rows: Tensor) -> Float[Tensor, "pairs r 3 batch"]:
        layer, points = self.layer, rows.shape[0]
        above = self.world.index_select(0, chain.tables(rows.device).parents)
        axes = torch.cat([turning[:1], product(above, turning[1:])]).index_select(0, layer.joint)
        # row . (w x L) = w . (L x row), so the cross product is taken once for all three axes.
        moments = cross(self.summed[points:, None], rows.index_select(0, layer.point))
        return product(moments, axes)

    def _by_betas(self, rows: Tensor) -> Float[Tensor, "points r 10 batch"]:
        layer, points = self.layer, rows.shape[0]
        batch = self.world.shape[-1]
        world = self.world.transpose(1, 2).reshape(72, 3 * batch)
        change = (layer.turned_shapedirs @ world).reshape(points, 10, 3, batch)
        change = change.addcmul(layer.mass[:, None, None, None], layer.pelvis_shapedirs.T[..., None])
        return product(rows, change.transpose(1, 2))

    def _by_correctives(self, turning: Tensor, rows: Tensor) -> Float[Tensor, "batch points r 69"]:
        """The part that comes from pose correctives: the skin's own change with the pose features."""
        layer = self.layer
        pair, dirs = layer.corrective_pair, layer.corrective_dirs
        point, joint = layer.point[pair], layer.joint[pair]
        local = torch.einsum("bqrx,qxyb->bqry", rows[:, point], self.world[joint])
        felt = torch.einsum("bqry,qyf->bqrf", local, dirs).unflatten(3, (23, 9))
        # A turn by w takes R to hat(w) R: its nine entries change by w x (columns of R).
        columns = self.rotmat[1:].permute(3, 0, 2, 1)[:, :, None]
        spin = torch.linalg.cross(turning[1:].permute(3, 0, 2, 1)[:, :, :, None], columns).mT.flatten(3)
        change = torch.einsum("bqrkf,bkif->bqrki", felt, spin).flatten(3)
        return change.new_zeros(*rows.shape[:3], 69).index_add(1, point, change)

    def corrective_pull(
        self, turning: Float[Tensor, "24 3 3 batch"], force: Float[Tensor, "points 3 batch"]
    ) -> Float[Tensor, "69 batch"]:
        """The pose correctives' share of the gradient that forces on the keypoints have in the 23 body rotations.

        Args:
            turning: `left_jacobian` of the rotation vectors, with the batch last.
        """
        layer = self.layer
        pair = layer.corrective_pair
        world = self.world.index_select(0, layer.joint[pair])
        local = (force.index_select(0, layer.point[pair])[:, :, None] * world).sum(1)
        felt = (layer.corrective_dirs.flatten(0, 1).T @ local.flatten(0, 1)).reshape(23, 3, 3, force.shape[-1])
        # R changes to hat(w) R, and felt . hat(w) R is w times the asymmetry of felt R'.
        moment = (felt[:, :, None] * self.rotmat[1:, None]).sum(3).flatten(1, 2)
        plus, minus = _asymmetry(moment.device)
        turn = moment.index_select(1, plus) - moment.index_select(1, minus)
        return (turning[1:] * turn[:, :, None]).sum(1).flatten(0, 1)


@cache
@torch.inference_mode(False)
def _asymmetry(device: torch.device) -> tuple[Int[Tensor, "3"], Int[Tensor, "3"]]:
    """Entries of a 3x3 matrix M whose differences are those of M - M' about x, y and z."""
    return torch.tensor([7, 2, 3], device=device), torch.tensor([5, 6, 1], device=device)
