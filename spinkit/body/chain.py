"""The kinematic chain: from joints at rest and rotations to joints in space, level by level."""

from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spinkit.keypoints import JOINT_PARENTS


@cache
def levels() -> tuple[tuple[int, ...], ...]:
    """Joints by their distance from the pelvis; a level depends only on the one before it."""
    depth = [0] * len(JOINT_PARENTS)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        depth[joint] = depth[parent] + 1
    return tuple(tuple(j for j, d in enumerate(depth) if d == level) for level in range(max(depth) + 1))


def ancestry(device: torch.device | None = None) -> Bool[Tensor, "24 24"]:
    """`[j, k]` says whether turning joint k moves joint j's bones: k is j or one of its ancestors."""
    table = torch.eye(len(JOINT_PARENTS), dtype=torch.bool)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        table[joint] |= table[parent]
    return table.to(device)


def bones(joints: Float[Tensor, "*batch 24 c"]) -> Float[Tensor, "*batch 24 c"]:
    """From joint positions to offsets from the parent; the pelvis keeps its position."""
    parents = list(JOINT_PARENTS[1:])
    return torch.cat([joints[..., :1, :], joints[..., 1:, :] - joints[..., parents, :]], dim=-2)


def world_rotations(rotmat: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """Each joint's orientation in space, from its rotation relative to the parent."""
    batch = rotmat.shape[:-3]
    previous = levels()[0]
    flat = rotmat.reshape(-1, 24, 3, 3)
    known = flat[:, :1]
    by_level = [known]
    for level in levels()[1:]:
        above = known[:, [previous.index(JOINT_PARENTS[joint]) for joint in level]]
        known = above @ flat[:, list(level)]
        by_level.append(known)
        previous = level
    stacked = torch.cat(by_level, dim=1)
    order = [joint for level in levels() for joint in level]
    back = [order.index(joint) for joint in range(len(order))]
    return stacked[:, back].reshape(*batch, 24, 3, 3)


def place_joints(
    world: Float[Tensor, "*batch 24 3 3"], rest_joints: Float[Tensor, "*batch 24 3"]
) -> Float[Tensor, "*batch 24 3"]:
    """Joint positions in space: each bone turned as its parent is, and all bones up to the pelvis added."""
    offsets = bones(rest_joints)
    parents = [0, *JOINT_PARENTS[1:]]
    turned = (world[..., parents, :, :] @ offsets[..., None])[..., 0]
    turned = torch.cat([offsets[..., :1, :], turned[..., 1:, :]], dim=-2)
    return ancestry(world.device).to(world.dtype) @ turned
