"""Rotation vectors, their matrices, and how a change of the one turns the other: what roma does not have.

Where a name's shape ends in the batch, every number lies beside its neighbours', so that sums run along memory.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor


def left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """How a change of a rotation vector turns the rotation: R(a + da) = R(J da) R(a), to first order.

    With A the cross-product matrix of a and t its length, J = I + (1-cos t)/t^2 A + (t-sin t)/t^3 A^2; R itself is
    I + A J.
    """
    _, jacobian = rotation_and_jacobian(rotvec.reshape(-1, 3).T[None])
    return jacobian[0].permute(2, 0, 1).reshape(*rotvec.shape, 3)


def rotation_and_jacobian(
    rotvec: Float[Tensor, "n 3 batch"],
) -> tuple[Float[Tensor, "n 3 3 batch"], Float[Tensor, "n 3 3 batch"]]:
    """Rotation matrices and `left_jacobian` of many rotation vectors at once, with the batch last.

    R = cos t I + sin t / t A + b aa' and J = sin t / t I + b A + c aa', with b = (1-cos t)/t^2 and c = (t-sin t)/t^3.
    """
    square = rotvec.square().sum(1)
    # Where the angle vanishes, c loses its digits, but c aa' vanishes faster.
    half = 0.5 * square.clamp(min=1e-12).sqrt()
    sine = half.sin() / half
    first = sine * half.cos()
    b = 0.5 * sine.square()
    c = 0.25 * (1 - first) / half.square()
    place, sign, eye = _constants(rotvec.device, rotvec.dtype)
    cross = (rotvec.index_select(1, place) * sign).unflatten(1, (3, 3))
    outer = rotvec[:, :, None] * rotvec[:, None]
    first, b, c, cosine = (value[:, None, None] for value in (first, b, c, 1 - b * square))
    rotmat = (first * cross).addcmul(b, outer).addcmul(eye, cosine)
    return rotmat, (b * cross).addcmul(c, outer).addcmul(eye, first)


@cache
@torch.inference_mode(False)
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Where the nine entries of a cross-product matrix come from, with which signs; and the identity."""
    place = torch.tensor([0, 2, 1, 2, 0, 0, 1, 0, 0], device=device)
    sign = torch.tensor([0, -1, 1, 1, 0, -1, -1, 1, 0], device=device, dtype=dtype)[:, None]
    return place, sign, torch.eye(3, device=device, dtype=dtype)[..., None]


def product(one: Float[Tensor, "n r 3 batch"], other: Float[Tensor, "n 3 c batch"]) -> Float[Tensor, "n r c batch"]:
    """Matrix products along a batch that comes last."""
    found = one[:, :, 0, None] * other[:, None, 0]
    for k in (1, 2):
        found.addcmul_(one[:, :, k, None], other[:, None, k])
    return found


def cross(one: Float[Tensor, "n 1 3 batch"], other: Float[Tensor, "n r 3 batch"]) -> Float[Tensor, "n r 3 batch"]:
    """Cross products of a third dimension, which torch's own takes one by one."""
    found = torch.empty_like(other)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        torch.mul(one[:, :, i], other[:, :, j], out=found[:, :, k])
        found[:, :, k].addcmul_(one[:, :, j], other[:, :, i], value=-1)
    return found
