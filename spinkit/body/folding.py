"""Fold an SMPL model and a regressor of keypoints into the constants of a keypoint layer."""

import torch
from jaxtyping import Float
from torch import Tensor

from spinkit.body import chain
from spinkit.body.keypoint_layer import KeypointLayer, with_sums


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
    return with_sums(
        mass=joint_mass[index].sum(1),
        point=point,
        joint=joint,
        arm_template=arms[index[point], joint, :, 0],
        arm_shapedirs=arms[index[point], joint, :, 1:],
        corrective_pair=corrective_pair,
        corrective_dirs=skin[index[soft_point] - 24, soft_joint, :, 11:],
        pelvis_template=joint_template[0],
        pelvis_shapedirs=joint_shapedirs[0],
    )


def _moments(arrays: dict[str, Tensor]) -> Float[Tensor, "vertices 3 218"]:
    template = arrays["v_template"][..., None]
    return torch.cat([template, arrays["shapedirs"], arrays["posedirs"]], dim=-1)
