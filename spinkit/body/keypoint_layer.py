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

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit.body import chain


def left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """How a change of a rotation vector turns the rotation: R(a + da) = R(J da) R(a), to first order.

    Not in roma; with A the cross-product matrix of a and t its length, J = I + (1-cos t)/t^2 A + (t-sin t)/t^3 A^2.
    R itself is I + A J.
    """
    square = (rotvec * rotvec).sum(-1)
    # Below a quarter of a radian the quotients lose digits and their series has them all.
    small = square < 0.0625
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    first = torch.where(small, 0.5 - square / 24 + square**2 / 720 - square**3 / 40320, (1 - angle.cos()) / angle**2)
    second = torch.where(
        small, 1 / 6 - square / 120 + square**2 / 5040 - square**3 / 362880, (angle - angle.sin()) / angle**3
    )
    # A^2 = a a' - t^2 I.
    outer = rotvec[..., :, None] * rotvec[..., None, :]
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return (
        first[..., None, None] * hat(rotvec)
        + second[..., None, None] * outer
        + (1 - second * square)[..., None, None] * eye
    )


def hat(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The cross-product matrix: hat(a) b = a x b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape, 3)


@dataclass(frozen=True)
class KeypointLayer:
    """The constants of the sum above, for `points` keypoints and the (keypoint, joint) pairs of skin."""

    mass: Float[Tensor, "points"]
    """Sum of the mix's weights: one, but for regressors that were saved with rounding."""
    arm_template: Float[Tensor, "points 24 3"]
    """v_oj of the mean shape: bones and skin, without pose correctives."""
    arm_shapedirs: Float[Tensor, "points 24 3 10"]
    """Its change with each beta."""
    corrective_point: Int[Tensor, "pairs"]
    """The keypoint of each pair whose skin has pose correctives."""
    corrective_joint: Int[Tensor, "pairs"]
    """The joint which that skin follows."""
    corrective_dirs: Float[Tensor, "pairs 3 207"]
    """Change of v_oj with the pose features, the entries of R_1..R_23 - I."""
    pelvis_template: Float[Tensor, "3"]
    pelvis_shapedirs: Float[Tensor, "3 10"]

    def select(self, points: Int[Tensor, "n"]) -> "KeypointLayer":
        """The layer for some keypoints only, in the order given; the cost shrinks with their number."""
        pair, row = (self.corrective_point[:, None] == points[None]).nonzero(as_tuple=True)
        return replace(
            self,
            mass=self.mass[points],
            arm_template=self.arm_template[points],
            arm_shapedirs=self.arm_shapedirs[points],
            corrective_point=row,
            corrective_joint=self.corrective_joint[pair],
            corrective_dirs=self.corrective_dirs[pair],
        )

    def to(self, *args: torch.device | torch.dtype | str) -> "KeypointLayer":
        """The same layer on another device or in another floating dtype."""
        moved = {}
        for name, tensor in vars(self).items():
            # Indices follow the device but keep their dtype.
            moved[name] = tensor.to(*args) if tensor.is_floating_point() else tensor.to(_device_of(args, tensor))
        return replace(self, **moved)

    def pose(self, rotmat: Float[Tensor, "batch 24 3 3"], betas: Float[Tensor, "batch 10"]) -> "PosedKeypoints":
        """The keypoints of bodies in given poses and shapes."""
        batch, points = len(rotmat), len(self.arm_template)
        world = chain.world_rotations(rotmat)
        arms = self.arm_template + (betas @ self.arm_shapedirs.reshape(-1, 10).T).reshape(batch, points, 24, 3)
        if len(self.corrective_point):
            eye = torch.eye(3, dtype=rotmat.dtype, device=rotmat.device)
            feature = (rotmat[:, 1:] - eye).reshape(batch, 207)
            skin = (feature @ self.corrective_dirs.reshape(-1, 207).T).unflatten(1, (-1, 3))
            slots = self.corrective_point * 24 + self.corrective_joint
            arms = arms.flatten(1, 2).index_add(1, slots, skin).reshape(batch, points, 24, 3)
        turned = torch.einsum("bjxy,bojy->bojx", world, arms)
        pelvis = self.pelvis_template + betas @ self.pelvis_shapedirs.T
        return PosedKeypoints(self, rotmat, world, turned, pelvis)


def _device_of(args: tuple, tensor: Tensor) -> torch.device:
    devices = [a for a in args if isinstance(a, (str, torch.device))]
    return torch.device(devices[0]) if devices else tensor.device


@dataclass(frozen=True)
class PosedKeypoints:
    """Keypoints of posed bodies, with what their derivative needs."""

    layer: KeypointLayer
    rotmat: Float[Tensor, "batch 24 3 3"]
    world: Float[Tensor, "batch 24 3 3"]
    turned: Float[Tensor, "batch points 24 3"]
    """G_j v_oj."""
    pelvis: Float[Tensor, "batch 3"]

    def positions(self) -> Float[Tensor, "batch points 3"]:
        """Metres; the pelvis stays where the shape puts it."""
        return self.layer.mass[:, None] * self.pelvis[:, None] + self.turned.sum(dim=2)

    def derivative(
        self, left_jacobian: Float[Tensor, "batch 24 3 3"], rows: Float[Tensor, "batch points r 3"]
    ) -> tuple[Float[Tensor, "batch points r 72"], Float[Tensor, "batch points r 10"]]:
        """d(rows . x) / d(rotation vectors) and d(rows . x) / d(betas).

        Args:
            left_jacobian: of each rotation vector, `left_jacobian`: how a change of the vector turns
                the joint, in the parent's frame.
            rows: what to differentiate, per keypoint: the identity for x itself, or the two rows of a
                camera's derivative, which saves a third of the work and a product.
        """
        return self._by_rotation(left_jacobian, rows), self._by_betas(rows)

    def _by_rotation(self, left_jacobian: Tensor, rows: Tensor) -> Tensor:
        batch, points, r = rows.shape[:3]
        parents = [0, *chain.JOINT_PARENTS[1:]]
        parent_world = torch.cat([torch.eye(3).to(rows).expand(batch, 1, 3, 3), self.world[:, parents[1:]]], dim=1)
        axes = parent_world @ left_jacobian
        below = chain.ancestry(rows.device).to(rows.dtype)
        levers = below.T @ self.turned
        # row . (w x L) = w . (L x row), so the cross product is taken once for all three axes.
        moments = torch.linalg.cross(levers[:, :, None], rows[:, :, :, None].expand(-1, -1, -1, 24, -1))
        turned = torch.einsum("borkx,bkxi->borki", moments, axes)
        return turned.reshape(batch, points, r, 72) + self._by_correctives(left_jacobian, rows)

    def _by_correctives(self, left_jacobian: Tensor, rows: Tensor) -> Tensor:
        """The part that comes from pose correctives: the skin's own change with the pose features."""
        layer = self.layer
        batch, points, r = rows.shape[:3]
        pairs = len(layer.corrective_point)
        out = rows.new_zeros(batch, points, r, 72)
        if not pairs:
            return out
        # A turn by w takes R to hat(w) R: its nine entries change by w x (columns of R).
        columns = self.rotmat[:, 1:].mT
        spin = torch.linalg.cross(left_jacobian[:, 1:].mT[:, :, :, None], columns[:, :, None])
        features = spin.mT.reshape(batch, 23, 3, 9)
        local = torch.einsum("bqrx,bqxy->bqry", rows[:, layer.corrective_point], self.world[:, layer.corrective_joint])
        felt = torch.einsum("bqry,qyf->bqrf", local, layer.corrective_dirs).reshape(batch, pairs, r, 23, 9)
        change = torch.einsum("bqrkf,bkif->bqrki", felt, features).reshape(batch, pairs, r, 69)
        out[..., 3:] = out[..., 3:].index_add(1, layer.corrective_point, change)
        return out

    def _by_betas(self, rows: Tensor) -> Tensor:
        layer = self.layer
        local = torch.einsum("borx,bjxy->borjy", rows, self.world).flatten(3)
        arms = layer.arm_shapedirs.reshape(len(layer.arm_shapedirs), 72, 10)
        return torch.einsum("born,onk->bork", local, arms) + rows @ (layer.mass[:, None, None] * layer.pelvis_shapedirs)


def build(
    arrays: dict[str, Tensor], regressor: Float[Tensor, "mixed vertices"], points: tuple[int, ...]
) -> KeypointLayer:
    """Fold an SMPL model and a regressor of posed vertices into a keypoint layer.

    Args:
        arrays: `v_template` (V,3), `shapedirs` (V,3,10), `posedirs` (V,3,207), `weights` (V,24), and
            `J_regressor` (24,V).
        regressor: rows over posed vertices; a one-hot row picks a vertex.
        points: for each keypoint, a number below 24 for a joint, else 24 + row of `regressor`.
    """
    joint_template = arrays["J_regressor"] @ arrays["v_template"]
    joint_shapedirs = torch.einsum("jv,vck->jck", arrays["J_regressor"], arrays["shapedirs"])
    # Skin of a mixed point that follows joint j: its mass, and the first moments of its vertices.
    mass = regressor @ arrays["weights"]
    skin = torch.einsum("ev,vj,vcn->ejcn", regressor, arrays["weights"], _moments(arrays))
    skin[..., :11] -= mass[:, :, None, None] * torch.cat([joint_template[..., None], joint_shapedirs], dim=-1)
    bone = chain.bones(torch.cat([joint_template[..., None], joint_shapedirs], dim=-1).flatten(1)).reshape(24, 3, 11)

    below = chain.ancestry().to(mass)
    joint_mass = torch.cat([torch.eye(24).to(mass), mass])
    hanging = joint_mass @ below
    arms = torch.zeros(len(joint_mass), 24, 3, 11).to(mass)
    for child, parent in enumerate(chain.JOINT_PARENTS[1:], start=1):
        arms[:, parent] += hanging[:, child, None, None] * bone[child]
    arms[24:] += skin[..., :11]

    index = torch.tensor(points)
    mixed = (index >= 24).nonzero()[:, 0]
    touched = skin[..., 11:].abs().flatten(2).amax(2) > 0
    pair_point, pair_joint = touched[index[mixed] - 24].nonzero(as_tuple=True)
    return KeypointLayer(
        mass=joint_mass[index].sum(1),
        arm_template=arms[index, ..., 0],
        arm_shapedirs=arms[index, ..., 1:],
        corrective_point=mixed[pair_point],
        corrective_joint=pair_joint,
        corrective_dirs=skin[index[mixed[pair_point]] - 24, pair_joint, :, 11:],
        pelvis_template=joint_template[0],
        pelvis_shapedirs=joint_shapedirs[0],
    )


def _moments(arrays: dict[str, Tensor]) -> Float[Tensor, "vertices 3 218"]:
    template = arrays["v_template"][..., None]
    return torch.cat([template, arrays["shapedirs"], arrays["posedirs"]], dim=-1)
