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
    """The constants of the sum above, over the (keypoint, joint) pairs in which the joint moves the keypoint.

    Four pairs in five would be zeros, and are left out. Pairs come last in every tensor, so that what is done to all of
    them runs along memory.
    """

    mass: Float[Tensor, "points"]
    """Sum of the mix's weights: one, but for regressors that were saved with rounding."""
    point: Int[Tensor, "pairs"]
    """The keypoint of each pair."""
    joint: Int[Tensor, "pairs"]
    """Its joint: one on the way from the pelvis to the keypoint."""
    arm_template: Float[Tensor, "3 pairs"]
    """v_oj of the mean shape: bones and skin, without pose correctives."""
    arm_shapedirs: Float[Tensor, "10 3 pairs"]
    """Its change with each beta."""
    corrective_pair: Int[Tensor, "soft"]
    """The pairs whose skin has pose correctives."""
    corrective_dirs: Float[Tensor, "207 3 soft"]
    """Change of v_oj with the pose features, the entries of R_1..R_23 - I."""
    pelvis_template: Float[Tensor, "3"]
    pelvis_shapedirs: Float[Tensor, "10 3"]
    sums: Float[Tensor, "pairs sums"]
    """Ones where a pair is part of a keypoint, and where it hangs below another pair's joint: positions and levers."""
    turned_shapedirs: Float[Tensor, "72 points*10"]
    """`arm_shapedirs` with zeros where there is no pair, as the matrix that takes orientations to changes."""

    def select(self, points: Int[Tensor, "n"]) -> "KeypointLayer":
        """The layer for some keypoints only, in the order given; the cost shrinks with their number."""
        pair, row = (self.point[:, None] == points[None]).nonzero(as_tuple=True)
        soft, soft_pair = (self.corrective_pair[:, None] == pair[None]).nonzero(as_tuple=True)
        return _with_sums(
            mass=self.mass[points],
            point=row,
            joint=self.joint[pair],
            arm_template=self.arm_template[:, pair],
            arm_shapedirs=self.arm_shapedirs[..., pair],
            corrective_pair=soft_pair,
            corrective_dirs=self.corrective_dirs[..., soft],
            pelvis_template=self.pelvis_template,
            pelvis_shapedirs=self.pelvis_shapedirs,
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
        world = chain.world_rotations(rotmat)
        arms = self.arm_template + (betas @ self.arm_shapedirs.flatten(1)).unflatten(1, (3, -1))
        if len(self.corrective_pair):
            eye = torch.eye(3, dtype=rotmat.dtype, device=rotmat.device)
            feature = (rotmat[:, 1:] - eye).flatten(1)
            skin = (feature @ self.corrective_dirs.flatten(1)).unflatten(1, (3, -1))
            arms = arms.index_add(2, self.corrective_pair, skin)
        turned = (world.permute(0, 2, 3, 1).index_select(3, self.joint) * arms[:, None]).sum(2)
        pelvis = self.pelvis_template + betas @ self.pelvis_shapedirs
        return PosedKeypoints(self, rotmat, world, turned @ self.sums, pelvis)


def _with_sums(**constants: Tensor) -> KeypointLayer:
    """A layer with the tables that follow from its pairs."""
    point, joint, mass = constants["point"], constants["joint"], constants["mass"]
    shapedirs = constants["arm_shapedirs"]
    part = point[:, None] == torch.arange(len(mass), device=mass.device)
    below = (point[:, None] == point) & chain.ancestry(mass.device)[joint][:, joint]
    turned_shapedirs = mass.new_zeros(3, 24, len(mass), 10)
    turned_shapedirs[:, joint, point] = shapedirs.permute(1, 2, 0)
    return KeypointLayer(
        **constants, sums=torch.cat([part, below], dim=1).to(mass), turned_shapedirs=turned_shapedirs.reshape(72, -1)
    )


def _device_of(args: tuple, tensor: Tensor) -> torch.device:
    devices = [a for a in args if isinstance(a, (str, torch.device))]
    return torch.device(devices[0]) if devices else tensor.device


@dataclass(frozen=True)
class PosedKeypoints:
    """Keypoints of posed bodies, with what their derivative needs."""

    layer: KeypointLayer
    rotmat: Float[Tensor, "batch 24 3 3"]
    world: Float[Tensor, "batch 24 3 3"]
    summed: Float[Tensor, "batch 3 sums"]
    """G_j v_oj, added up: for each keypoint over all its joints, and for each pair over those that its joint moves."""
    pelvis: Float[Tensor, "batch 3"]

    def positions(self) -> Float[Tensor, "batch points 3"]:
        """Metres; the pelvis stays where the shape puts it."""
        mass = self.layer.mass
        return mass[:, None] * self.pelvis[:, None] + self.summed[..., : len(mass)].mT

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
        out = self._by_rotation(left_jacobian, rows)
        out[..., 72:] = self._by_betas(rows)
        if correctives and len(self.layer.corrective_pair):
            out[..., 3:72] += self._by_correctives(left_jacobian, rows)
        return out

    def _by_rotation(self, left_jacobian: Tensor, rows: Tensor) -> Tensor:
        """Into the first 72 of 82 columns; the others are still zero."""
        layer = self.layer
        batch, points, r = rows.shape[:3]
        above = self.world.index_select(1, chain.tables(rows.device).parents)
        axes = torch.cat([left_jacobian[:, :1], above @ left_jacobian[:, 1:]], dim=1)
        axes = axes.permute(0, 2, 3, 1).index_select(3, layer.joint)
        levers = self.summed[..., points:]
        # row . (w x L) = w . (L x row), so the cross product is taken once for all three axes.
        pulls = rows.permute(0, 2, 3, 1).index_select(3, layer.point)
        moments = torch.linalg.cross(levers[:, None], pulls, dim=2)
        values = (moments[:, :, :, None] * axes[:, None]).sum(2)
        place = torch.arange(r, device=rows.device)[:, None, None] * 82 + torch.arange(3, device=rows.device)[:, None]
        place = (place + layer.point * (r * 82) + layer.joint * 3).flatten()
        out = rows.new_zeros(batch, points * r * 82)
        out.scatter_(1, place.expand(batch, -1), values.flatten(1))
        return out.reshape(batch, points, r, 82)

    def _by_betas(self, rows: Tensor) -> Tensor:
        layer, (batch, points) = self.layer, rows.shape[:2]
        change = self.world.permute(0, 2, 3, 1).reshape(batch, 3, 72) @ layer.turned_shapedirs
        change = change.reshape(batch, 3, points, 10) + (layer.pelvis_shapedirs.T[:, None] * layer.mass[:, None])
        return (rows[..., None] * change.transpose(1, 2)[:, :, None]).sum(3)

    def _by_correctives(self, left_jacobian: Tensor, rows: Tensor) -> Float[Tensor, "batch points r 69"]:
        """The part that comes from pose correctives: the skin's own change with the pose features."""
        layer = self.layer
        pair, dirs = layer.corrective_pair, layer.corrective_dirs.permute(2, 1, 0).contiguous()
        point, joint = layer.point[pair], layer.joint[pair]
        local = torch.einsum("bqrx,bqxy->bqry", rows[:, point], self.world[:, joint])
        felt = torch.einsum("bqry,qyf->bqrf", local, dirs).unflatten(3, (23, 9))
        change = torch.einsum("bqrkf,bkif->bqrki", felt, self._feature_change(left_jacobian)).flatten(3)
        return change.new_zeros(*rows.shape[:3], 69).index_add(1, point, change)

    def _feature_change(self, left_jacobian: Tensor) -> Float[Tensor, "batch 23 3 9"]:
        """How the pose features of each joint change with its rotation vector."""
        # A turn by w takes R to hat(w) R: its nine entries change by w x (columns of R).
        columns = self.rotmat[:, 1:].mT
        spin = torch.linalg.cross(left_jacobian[:, 1:].mT[:, :, :, None], columns[:, :, None])
        return spin.mT.flatten(3)

    def corrective_pull(
        self, left_jacobian: Float[Tensor, "batch 24 3 3"], force: Float[Tensor, "batch points 3"]
    ) -> Float[Tensor, "batch 69"]:
        """The pose correctives' share of the gradient that forces on the keypoints have in the 23 body rotations."""
        layer = self.layer
        pair = layer.corrective_pair
        # Sums of products, because batched products of single vectors are slow.
        world = self.world.index_select(1, layer.joint[pair])
        local = (force.index_select(1, layer.point[pair])[..., None] * world).sum(2)
        felt = (local.mT.flatten(1) @ layer.corrective_dirs.flatten(1).T).reshape(-1, 23, 1, 9)
        return (self._feature_change(left_jacobian) * felt).sum(3).flatten(1)


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
    # A joint moves what hangs on it or below it.
    touched = (arms.abs().flatten(2).amax(2) > 0)[index].to(mass)
    point, joint = ((touched @ below) > 0).nonzero(as_tuple=True)
    soft = torch.zeros(len(index), 24, dtype=torch.bool)
    soft[mixed] = skin[index[mixed] - 24, ..., 11:].abs().flatten(2).amax(2) > 0
    corrective_pair = soft[point, joint].nonzero()[:, 0]
    soft_point, soft_joint = point[corrective_pair], joint[corrective_pair]
    return _with_sums(
        mass=joint_mass[index].sum(1),
        point=point,
        joint=joint,
        arm_template=arms[index[point], joint, :, 0].T,
        arm_shapedirs=arms[index[point], joint, :, 1:].permute(2, 1, 0),
        corrective_pair=corrective_pair,
        corrective_dirs=skin[index[soft_point] - 24, soft_joint, :, 11:].permute(2, 1, 0),
        pelvis_template=joint_template[0],
        pelvis_shapedirs=joint_shapedirs[0].T,
    )


def _moments(arrays: dict[str, Tensor]) -> Float[Tensor, "vertices 3 218"]:
    template = arrays["v_template"][..., None]
    return torch.cat([template, arrays["shapedirs"], arrays["posedirs"]], dim=-1)
