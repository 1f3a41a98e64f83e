"""What the body stage looks up and no sample changes."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import priors
from spinkit.body import KeypointLayer
from spinkit.priors import Mixture
from spinkit.smplify.hidden import Hidden, searched


@dataclass(frozen=True)
class Tables:
    """Of one kind of body stage."""

    arrangement: Int[Tensor, "cells"]
    """Of the keypoints' derivative, with the camera's columns, where it moves, and the residual behind."""
    quadratic: Float[Tensor, "kinds n1 n1"]
    """J'J of priors and ties, for each component of the prior; where the fit is tied to its start, for each pair of the
    start's component and the pose's. A last row and column of zeros make room for the residual."""
    diagonal: Float[Tensor, "n"]
    """J'J of the terms that hold single unknowns to a number: shape, turn and depth."""
    bent: Int[Tensor, "4"]
    sign: Int[Tensor, "4"]
    """The unknowns that must not grow, or shrink: those of `priors.BENDING`."""
    spread: Int[Tensor, "72"]
    """Where the 24 rotation vectors lie among the unknown ones, with a row of zeros behind."""
    hold: Float[Tensor, "kinds h h"] | None
    """For each pair, how much of the way from where the prior wants hidden joints to where the tie wants them they go;
    None where nothing is hidden, or tied."""


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def tables(
    layer: KeypointLayer, prior: Mixture, hidden: Hidden | None, moves: bool, weights: tuple[float, ...]
) -> Tables:
    """Made once for fits of the same kind. Layer and prior are told apart by their tensors, which nobody writes to.

    Args:
        moves: whether the camera does.
        weights: of pose, start, turn, shape and depth.
    """
    (pose, start, turn, shape, depth), precision = weights, 0.5 * prior.precisions
    first = 3 + precision.shape[1]
    n = first + 10 + 3 * moves
    diagonal = precision.new_zeros(n)
    diagonal[:3], diagonal[first : first + 10] = turn**2, shape**2
    if moves:
        diagonal[-1] = depth**2
    kinds = pose**2 * precision
    if start:
        kinds = (start**2 * precision[:, None] + kinds).flatten(0, 1)
    quadratic = precision.new_zeros(len(kinds), n + 1, n + 1)
    quadratic[:, 3:first, 3:first] = kinds
    quadratic.diagonal(dim1=1, dim2=2)[:, :n] += diagonal
    numbers = torch.arange(72, device=precision.device)
    known = searched(numbers.reshape(1, 24, 3), hidden)[0]
    spread = torch.full_like(numbers, first).index_copy(0, known, numbers[:first])
    more = 3 * moves + 1
    columns = torch.cat([known, 72 + torch.arange(10 + more, device=known.device)])
    arrangement = layer.arrangement(2, more).unflatten(0, (-1, 82 + more)).index_select(1, columns).flatten()
    bent, sign = priors.bending_entries(precision.device)
    hold = None
    if hidden is not None and start:
        by_prior, by_tie = pose**2 * hidden.precisions, start**2 * hidden.precisions[:, None]
        hold = torch.linalg.solve(by_prior + by_tie, by_tie.expand(-1, len(by_prior), -1, -1)).flatten(0, 1)
    return Tables(arrangement, quadratic, diagonal, spread[bent], sign, spread, hold)
