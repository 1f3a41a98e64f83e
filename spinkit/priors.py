"""What poses and shapes are likely, as residuals: each prior's energy is its residual's squared length.

The mixture prior is SMPLify's: the energy of a pose is that of the one Gaussian which explains it best,

    P = min_m  1/2 (p - mu_m)' S_m^-1 (p - mu_m) - log w'_m,    w'_m = w_m / ((2 pi)^(69/2) |S_m|^(1/2) / min |S|^(1/2))

and both parts are squares, of L' (p - mu_m) / sqrt 2 with S_m^-1 = L L', and of sqrt(-log w'_m).
"""

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import files

BENDING = ((55, 1.0), (58, -1.0), (12, -1.0), (15, -1.0))
"""Entries of the 72 pose numbers that grow as a joint bends the wrong way, with the sign that makes it positive:
left and right elbow (y), left and right knee (x)."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians over the k = 69 numbers of the body pose (23 rotation vectors, pelvis left out), or over
    some of them."""

    means: Float[Tensor, "m k"]
    precisions: Float[Tensor, "m k k"]
    roots: Float[Tensor, "m k k"]
    """L', upper triangular, with precision = L L'."""
    offsets: Float[Tensor, "m"]
    """-log w'_m, positive."""
    weights: Float[Tensor, "m"]

    def to(self, *args: torch.device | torch.dtype | str) -> "Mixture":
        """The same prior on another device or in another dtype."""
        return Mixture(*(getattr(self, field.name).to(*args) for field in fields(self)))

    def mean_pose(self) -> Float[Tensor, "69"]:
        """The average body pose, from which fits without a better idea start."""
        return self.weights @ self.means


def mixture(
    means: Float[np.ndarray, "m 69"],
    covariances: Float[np.ndarray, "m 69 69"],
    weights: Float[np.ndarray, "m"],
) -> Mixture:
    """Build the prior from a mixture's parameters, in float64.

    Raises:
        ValueError: a number is not finite, a covariance not positive definite, or a weight not positive.
    """
    for name, array in (("means", means), ("covars", covariances), ("weights", weights)):
        if not np.isfinite(array).all():
            raise ValueError(f"pose prior: field '{name}' must be finite")
    if not (weights > 0).all():
        raise ValueError("pose prior: field 'weights' must be positive")
    covariances = covariances.astype(np.float64)
    try:
        precisions = np.linalg.inv(covariances)
        roots = np.linalg.cholesky(precisions).swapaxes(-1, -2)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"pose prior: field 'covars' must be positive definite ({error})") from error
    half_logdet = 0.5 * np.linalg.slogdet(covariances)[1]
    # SMPLify divides every determinant by the smallest, which only shifts the energy by a constant.
    offsets = -np.log(weights) + half_logdet - half_logdet.min() + 0.5 * means.shape[1] * math.log(2 * math.pi)
    return Mixture(*(torch.tensor(a, dtype=torch.float64) for a in (means, precisions, roots, offsets, weights)))


def default_path() -> Path:
    """Where the pose prior that ships with the project lies."""
    return Path(__file__).resolve().parents[1] / "data" / "pose_prior.npz"


def load(path: str | Path | None = None) -> Mixture:
    """The pose prior of the project, or SMPLify's own `gmm_08.pkl`.

    Args:
        path: .npz or .pkl with `means` (m,69), `covars` (m,69,69) and `weights` (m,); None for the default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a mixture over 69 numbers; the message names the field.
    """
    path = default_path() if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No pose prior at {path}. Give the path of gmm_08.pkl, or None for the default prior.")
    content = files.read(path)
    missing = [key for key in ("means", "covars", "weights") if key not in content]
    if missing:
        raise ValueError(f"{path}: no field {', '.join(missing)}. A pose prior has means, covars and weights.")
    means, covars = (files.as_array(content[key], path, key) for key in ("means", "covars"))
    weights = files.as_array(content["weights"], path, "weights").reshape(-1)
    if means.ndim != 2 or means.shape[1] != 69:
        raise ValueError(f"{path}: field 'means' has shape {means.shape}, expected (m, 69).")
    for key, array in (("means", means), ("covars", covars), ("weights", weights)):
        if not files.finite(array):
            raise ValueError(f"{path}: field '{key}' must hold finite numbers. Download the file again.")
    if covars.shape != (len(means), 69, 69) or weights.shape != (len(means),):
        raise ValueError(f"{path}: fields 'covars' {covars.shape} and 'weights' {weights.shape} do not fit 'means'.")
    try:
        prior = mixture(means, covars, weights).to(torch.float32)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Download the file again.") from error
    if not all(getattr(prior, part.name).isfinite().all() for part in fields(prior)):
        raise ValueError(
            f"{path}: field 'covars' is so small that its inverse leaves float32. Download the file again."
        )
    return prior


def charges(prior: Mixture, body_pose: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch m"]:
    """The energy of each pose by each component alone; the prior's is the lowest of them."""
    each = _by_all(prior, body_pose.reshape(-1, body_pose.shape[-1]) - prior.means[:, None])
    return (0.5 * each.square().sum(2).T + prior.offsets).reshape(*body_pose.shape[:-1], len(prior.means))


def winner(prior: Mixture, body_pose: Float[Tensor, "*batch k"]) -> Int[Tensor, "*batch"]:
    """The component that explains each pose best."""
    return charges(prior, body_pose).argmin(-1)


def mixture_residual(
    prior: Mixture, body_pose: Float[Tensor, "*batch k"], component: Int[Tensor, "*batch"] | None = None
) -> Float[Tensor, "*batch k+1"]:
    """Residual of the pose prior; its squared length is P. The gradient flows through one component only.

    Args:
        component: of each pose; the winner where not given.
    """
    each = _by_all(prior, body_pose.reshape(-1, body_pose.shape[-1]) - prior.means[:, None])
    if component is None:
        best = (0.5 * each.detach().square().sum(2) + prior.offsets[:, None]).argmin(0)
    else:
        best = component.flatten()
    residual = torch.cat([_picked(each, best) / math.sqrt(2), prior.offsets[best].sqrt()[:, None]], dim=1)
    return residual.reshape(*body_pose.shape[:-1], residual.shape[1])


def whitened(
    prior: Mixture, away: Float[Tensor, "batch k"], component: Int[Tensor, "batch"]
) -> Float[Tensor, "batch k"]:
    """Differences of poses in the metric of a component each: their squared lengths are away' S^-1 away."""
    return _picked(_by_all(prior, away.expand(len(prior.means), *away.shape)), component)


def _by_all(prior: Mixture, away: Float[Tensor, "m batch k"]) -> Float[Tensor, "m batch k"]:
    """Differences in the metric of every component: one product, quicker than to gather a matrix for each pose."""
    return torch.bmm(away, prior.roots.mT)


def _picked(each: Float[Tensor, "m batch k"], component: Int[Tensor, "batch"]) -> Float[Tensor, "batch k"]:
    rows = torch.arange(len(component), device=component.device)
    return each.flatten(0, 1).index_select(0, component * len(component) + rows)


def bending_residual(rotvec: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 4"]:
    """Residual that explodes where an elbow or knee bends the wrong way: exp(x), or exp(-x), of one number each."""
    index, sign = bending_entries(rotvec.device)
    return torch.exp(rotvec.flatten(-2).index_select(-1, index) * sign)


@cache
@torch.inference_mode(False)
def bending_entries(device: torch.device) -> tuple[Int[Tensor, "4"], Int[Tensor, "4"]]:
    """`BENDING` as tensors: the entries and their signs."""
    index, sign = zip(*BENDING, strict=True)
    return torch.tensor(index, device=device), torch.tensor(sign, dtype=torch.int64, device=device)


def shape_residual(betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch 10"]:
    """Residual of the shape prior: betas are standard deviations, so it is the betas themselves."""
    return betas
