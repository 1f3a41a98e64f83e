"""The kinematic chain: from joints at rest and rotations to joints in space, level by level."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit.keypoints import JOINT_PARENTS


@cache
def levels() -> tuple[tuple[int, ...], ...]:
    """Joints by their distance from the pelvis; a level depends only on the one before it."""
    depth = [0] * len(JOINT_PARENTS)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        depth[joint] = depth[parent] + 1
    return tuple(tuple(j for j, d in enumerate(depth) if d == level) for level in range(max(depth) + 1))


@dataclass(frozen=True)
class Tables:
    """What the chain looks up, as tensors on one device."""

    levels: tuple[tuple[Int[Tensor, "_"], Int[Tensor, "_"]], ...]
    """For each level after the first: its joints, and their parents' places in the level before."""
    order: Int[Tensor, "24"]
    """The joints when levels are laid end to end."""
    back: Int[Tensor, "24"]
    """Where each joint then stands."""
    parents: Int[Tensor, "23"]
    """Of all joints but the pelvis."""
    ancestry: Bool[Tensor, "24 24"]


@cache
@torch.inference_mode(False)
def tables(device: torch.device) -> Tables:
    """Made once a device: turning lists into tensors takes longer than what is done with them."""

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    steps = pairwise(levels())
    found = [(tensor(list(now)), tensor([before.index(JOINT_PARENTS[j]) for j in now])) for before, now in steps]
    order = [joint for level in levels() for joint in level]
    table = torch.eye(len(JOINT_PARENTS), dtype=torch.bool)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        table[joint] |= table[parent]
    back = tensor([order.index(joint) for joint in range(len(order))])
    return Tables(tuple(found), tensor(order), back, tensor(list(JOINT_PARENTS[1:])), table.to(device))


def ancestry(device: torch.device | None = None) -> Bool[Tensor, "24 24"]:
    """`[j, k]` says whether turning joint k moves joint j's bones: k is j or one of its ancestors."""
    return tables(torch.device(device or "cpu")).ancestry


def bones(joints: Float[Tensor, "*batch 24 c"]) -> Float[Tensor, "*batch 24 c"]:
    """From joint positions to offsets from the parent; the pelvis keeps its position."""
    above = joints.index_select(-2, tables(joints.device).parents)
    return torch.cat([joints[..., :1, :], joints[..., 1:, :] - above], dim=-2)


def world_rotations(rotmat: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """Each joint's orientation in space, from its rotation relative to the parent."""
    known = tables(rotmat.device)
    flat = rotmat.reshape(-1, 24, 3, 3)
    by_level = [flat[:, :1]]
    for joints, parents in known.levels:
        by_level.append(by_level[-1].index_select(1, parents) @ flat.index_select(1, joints))
    return torch.cat(by_level, dim=1).index_select(1, known.back).reshape(rotmat.shape)


def world_rotations_batch_last(rotmat: Float[Tensor, "24 3 3 batch"]) -> Float[Tensor, "24 3 3 batch"]:
    """`world_rotations` where every number of a batch lies beside its neighbours': sums then run along memory."""
    if rotmat.requires_grad:
        # Selections are quick, their gradients are not.
        return world_rotations(rotmat.permute(3, 0, 1, 2)).permute(1, 2, 3, 0)
    known = tables(rotmat.device)
    own = rotmat.index_select(0, known.order).split([len(level) for level in levels()])
    by_level = [own[0]]
    for (_, parents), turn in zip(known.levels, own[1:], strict=True):
        by_level.append((by_level[-1].index_select(0, parents)[..., None, :] * turn[:, None]).sum(2))
    return torch.cat(by_level).index_select(0, known.back)


def place_joints(
    world: Float[Tensor, "*batch 24 3 3"], rest_joints: Float[Tensor, "*batch 24 3"]
) -> Float[Tensor, "*batch 24 3"]:
    """Joint positions in space: each bone turned as its parent is, and all bones up to the pelvis added."""
    offsets = bones(rest_joints)
    above = world.index_select(-3, tables(world.device).parents)
    turned = (above * offsets[..., 1:, None, :]).sum(-1)
    turned = torch.cat([offsets[..., :1, :], turned], dim=-2)
    return ancestry(world.device).to(world.dtype) @ turned
