"""The body as a game engine skins it: four joints a vertex, and morph targets for what that leaves out.

glTF's skin is the body's own, linear blend skinning, with two differences. It knows no pose correctives, and common
viewers read four weights a vertex where the default body has up to six (264 of 6890 have more than four). Both are
made up for by moving the skin at rest before it follows the joints, which is what a morph target does. The
movements of one clip's frames are few in kind, so they are stored as the leading directions of their principal
components, without a mean: the skin at rest stays the body's own.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit.body import Body, chain
from spinkit.export.motion import Motion

INFLUENCES = 4
"""Joints that a vertex may follow."""
MOST_TARGETS = 100
"""Graphics cards hold the weights of about so many morph targets at once, so a clip of 100 frames always fits."""
CHUNK = 20
"""Frames that are skinned at once."""


@dataclass(frozen=True)
class Skin:
    """A clip of one body in the numbers that a viewer takes."""

    rest_vertices: Float[Tensor, "vertices 3"]
    rest_joints: Float[Tensor, "24 3"]
    joints: Int[Tensor, "vertices 4"]
    """That each vertex follows; 0 where its weight is 0."""
    weights: Float[Tensor, "vertices 4"]
    unitquat: Float[Tensor, "frames 24 4"]
    """x, y, z, w relative to the parent, without jumps of sign."""
    transl: Float[Tensor, "frames 3"]
    """Metres, added to every vertex."""
    targets: Float[Tensor, "targets vertices 3"]
    """Metres, added to the skin at rest, each times its weight."""
    target_weights: Float[Tensor, "frames targets"]
    """-1 to 1."""

    def to(self, dtype: torch.dtype) -> "Skin":
        """The same clip in another floating dtype."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Skin(**{name: v.to(dtype) if v.is_floating_point() else v for name, v in values.items()})


def skin(body: Body, motion: Motion, correctives: bool, tolerance: float) -> Skin:
    """A clip as a viewer skins it, in float32.

    Args:
        body: of the motion's gender.
        motion: in the frame that the file is to have.
        correctives: add morph targets, so that the vertices of each frame are those of the body.
        tolerance: metres that the morph targets may miss a vertex by.

    Raises:
        ValueError: a clip so varied that it needs more than `MOST_TARGETS`.
    """
    # Float64 within, so that the difference between two skins is not that of rounding.
    body, motion = _double(body, motion)
    shaped = body.shaped(motion.betas)
    top = body.weights.topk(INFLUENCES, dim=1)
    clip = Skin(
        rest_vertices=shaped.rest_vertices,
        rest_joints=shaped.rest_joints,
        joints=torch.where(top.values > 0, top.indices, 0),
        weights=top.values / top.values.sum(dim=1, keepdim=True),
        unitquat=_continuous(roma.rotvec_to_unitquat(motion.rotvec)),
        transl=motion.transl,
        targets=body.weights.new_zeros(0, len(body.weights), 3),
        target_weights=body.weights.new_zeros(len(motion), 0),
    )
    if correctives:
        moves = torch.cat([_moves(body, motion, clip, rows) for rows in _chunks(motion)])
        weights, targets = _principal(moves, tolerance)
        clip = replace(clip, targets=targets, target_weights=weights)
    return clip.to(torch.float32)


def skinned(clip: Skin, frames: slice) -> Float[Tensor, "frames vertices 3"]:
    """Vertices of some frames as a viewer computes them: morph targets, then four joints a vertex."""
    rest = clip.rest_vertices + torch.einsum("tk,kvc->tvc", clip.target_weights[frames], clip.targets)
    turn, shift = _blended(clip, frames)
    return (turn @ rest[..., None])[..., 0] + shift


def residual(body: Body, motion: Motion, clip: Skin) -> float:
    """The largest distance in metres between a vertex as a viewer skins it and the body's, over all frames."""
    (body, motion), clip = _double(body, motion), clip.to(torch.float64)
    return max(
        (skinned(clip, rows) - _wanted(body, motion, rows)).norm(dim=-1).max().item() for rows in _chunks(motion)
    )


def _double(body: Body, motion: Motion) -> tuple[Body, Motion]:
    """Both on the processor in float64."""
    moved = {name: getattr(motion, name).detach().cpu().double() for name in ("rotvec", "transl", "betas")}
    return body.to("cpu", torch.float64), replace(motion, **moved)


def _chunks(motion: Motion) -> Iterator[slice]:
    """Rows that fit into memory together."""
    return (slice(start, start + CHUNK) for start in range(0, len(motion), CHUNK))


def _continuous(unitquat: Float[Tensor, "frames 24 4"]) -> Float[Tensor, "frames 24 4"]:
    """The same rotations with the sign that is nearer to the frame before: q and -q turn alike, but not between."""
    turns_over = (unitquat[1:] * unitquat[:-1]).sum(dim=-1, keepdim=True) < 0
    sign = torch.where(turns_over, -1.0, 1.0).to(unitquat).cumprod(dim=0)
    return torch.cat([unitquat[:1], unitquat[1:] * sign])


def _wanted(body: Body, motion: Motion, rows: slice) -> Float[Tensor, "frames vertices 3"]:
    """The body's own vertices."""
    rotmat = roma.rotvec_to_rotmat(motion.rotvec[rows])
    return body.vertices(rotmat, motion.betas.expand(len(rotmat), 10)) + motion.transl[rows, None]


def _blended(
    clip: Skin, frames: slice
) -> tuple[Float[Tensor, "frames vertices 3 3"], Float[Tensor, "frames vertices 3"]]:
    """What skinning does to each vertex: a matrix, and a shift."""
    world = chain.world_rotations(roma.unitquat_to_rotmat(clip.unitquat[frames]))
    placed = chain.place_joints(world, clip.rest_joints.expand(len(world), 24, 3))
    shift = placed + clip.transl[frames, None] - (world @ clip.rest_joints[..., None])[..., 0]
    follow = torch.zeros(len(clip.weights), 24).to(clip.weights).scatter_add(1, clip.joints, clip.weights)
    return (follow @ world.flatten(-2)).unflatten(-1, (3, 3)), follow @ shift


def _moves(body: Body, motion: Motion, clip: Skin, rows: slice) -> Float[Tensor, "frames vertices 3"]:
    """By how much the skin at rest must move for four joints a vertex to carry it to where the body has it."""
    rotmat = roma.rotvec_to_rotmat(motion.rotvec[rows])
    moves = body.shaped(motion.betas.expand(len(rotmat), 10)).posed(rotmat).correctives()
    # Where no joint was left out the correctives are all of it. Elsewhere the blended matrix is undone; it is close
    # to singular where joints turn against each other, and the pseudo-inverse then leaves a little undone.
    lossy = ((body.weights > 0).sum(dim=1) > INFLUENCES).nonzero()[:, 0]
    turn, shift = _blended(clip, rows)
    carried = (turn[:, lossy] @ (clip.rest_vertices + moves)[:, lossy, :, None])[..., 0] + shift[:, lossy]
    missing = _wanted(body, motion, rows)[:, lossy] - carried
    return moves.index_add(1, lossy, (torch.linalg.pinv(turn[:, lossy], rtol=1e-4) @ missing[..., None])[..., 0])


def _principal(
    moves: Float[Tensor, "frames vertices 3"], tolerance: float
) -> tuple[Float[Tensor, "frames targets"], Float[Tensor, "targets vertices 3"]]:
    """Weights and targets whose products are the moves: as few as keep every vertex within the tolerance.

    Raises:
        ValueError: where that takes more than `MOST_TARGETS`.
    """
    flat = moves.flatten(1)
    along = torch.linalg.eigh(flat @ flat.T).eigenvectors.flip(1)

    def missed(count: int) -> float:
        kept = along[:, :count]
        return (flat - kept @ (kept.T @ flat)).reshape(moves.shape).norm(dim=-1).max().item()

    # The longest distance falls with the count, but for ripples far below the tolerance.
    count = bisect.bisect_left(range(len(flat)), -tolerance, key=lambda count: -missed(count))
    if count > MOST_TARGETS:
        raise ValueError(
            f"{len(flat)} frames need {count} morph targets for {tolerance:g} m, and viewers take {MOST_TARGETS}. "
            f"Cut the clip, say motion[:{MOST_TARGETS}], or leave the pose correctives out: correctives=False."
        )
    # Scaled so that the largest weight is one, which programs with sliders expect.
    scale = along[:, :count].abs().amax(dim=0)
    return along[:, :count] / scale, ((along[:, :count] * scale).T @ flat).unflatten(1, moves.shape[1:])
