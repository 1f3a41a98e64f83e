"""The body layer alone, against smplx on the same file: the mesh, its derivative, and keypoints without a mesh."""

from collections.abc import Callable

import roma
import torch
from torch import Tensor

from fitting.clock import in_turns
from fitting.published import Published
from fitting.routines import World
from spinkit import body as bodies
from spinkit import priors
from spinkit.smplify import Start

Forward = Callable[[Tensor, Tensor], Tensor]


def measure(world: World, poses: Start, repeats: int) -> dict[str, object]:
    """Median seconds, forward and with the derivative by pose and shape, from rotation vectors as users have them."""
    layers = forwards(world)
    rotvec, betas = poses.rotvec.clone().requires_grad_(), poses.betas.clone().requires_grad_()
    pulls = {name: torch.rand_like(layer(rotvec, betas)) for name, layer in layers.items()}

    def forward(layer: Forward) -> None:
        with torch.no_grad():
            layer(rotvec, betas)

    def both(name: str) -> None:
        out = layers[name](rotvec, betas)
        torch.autograd.grad((out * pulls[name]).sum(), (rotvec, betas))

    calls = {f"{name}, forward": lambda n=name: forward(layers[n]) for name in layers}
    calls |= {f"{name}, forward and backward": lambda n=name: both(n) for name in layers}
    seconds = in_turns(calls, repeats, world.device)
    by_layer = {
        name: {kind: seconds[f"{name}, {kind}"] for kind in ("forward", "forward and backward")} for name in layers
    }
    return {"batch": len(rotvec), "seconds": by_layer, "largest_difference_m": differences(layers, rotvec, betas)}


def forwards(world: World) -> dict[str, Forward]:
    """From rotation vectors and betas to points; the mesh comes with its joints on both sides."""
    other = Published(bodies.default_path(), priors.default_path(), device=world.device)

    def smplx_mesh(rotvec: Tensor, betas: Tensor) -> Tensor:
        return other.smpl(betas=betas, global_orient=rotvec[:, 0], body_pose=rotvec[:, 1:].flatten(1)).vertices

    def mesh(rotvec: Tensor, betas: Tensor) -> Tensor:
        return world.body.vertices(roma.rotvec_to_rotmat(rotvec), betas)

    def smplx_keypoints(rotvec: Tensor, betas: Tensor) -> Tensor:
        return other.points(rotvec[:, 0], rotvec[:, 1:].flatten(1), betas)

    def keypoints(rotvec: Tensor, betas: Tensor) -> Tensor:
        return world.body.keypoints(roma.rotvec_to_rotmat(rotvec), betas)

    return {
        "smplx mesh": smplx_mesh,
        "our mesh": mesh,
        "keypoints by smplx": smplx_keypoints,
        "our keypoints": keypoints,
    }


@torch.no_grad()
def differences(layers: dict[str, Forward], rotvec: Tensor, betas: Tensor) -> dict[str, float]:
    """The farthest that two layers put the same point apart, metres."""
    points = {name: layer(rotvec, betas) for name, layer in layers.items()}
    pairs = {"mesh": ("smplx mesh", "our mesh"), "keypoints": ("keypoints by smplx", "our keypoints")}
    return {name: (points[a] - points[b]).norm(dim=-1).max().item() for name, (a, b) in pairs.items()}
