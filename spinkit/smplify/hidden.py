"""Joints that no keypoint of a person sees: the pose prior says where they are, given the others.

Of the default body, wrists and hands are seen by none of the 49, ankles and feet only by toes and heels, which most
data sets leave out. Whatever they do, a keypoint's error stays the same, so that a fit need not search for them. Each
component of the prior is a quadratic form, in which the best place of some numbers, p_h, follows from the others, p_s,
in closed form:

    p_h = mu_h - P_hh^-1 P_hs (p_s - mu_s),

and what is left is a quadratic form in p_s with the precision P_ss - P_sh P_hh^-1 P_hs, that of the marginal Gaussian.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from spinkit.body import KeypointLayer
from spinkit.keypoints import JOINT_PARENTS, Keypoints
from spinkit.priors import Mixture
from spinkit.smplify.evidence import LEAST_CONFIDENCE, counted
from spinkit.smplify.settings import SmplifySettings

FEET = (7, 8, 10, 11)
"""Ankles and feet, which are seen or not in most people at once."""


@dataclass(frozen=True)
class Hidden:
    """The pose prior with some joints left to it."""

    prior: Mixture
    """Over the k numbers of the body pose that are not left to it: of the best that the others can be."""
    seen: Int[Tensor, "k"]
    """Which of the 72 pose numbers these are; the orientation of the whole body is not among them."""
    left: Int[Tensor, "h"]
    """Those that are left to it."""
    means: Float[Tensor, "m h"]
    precisions: Float[Tensor, "m h h"]
    """P_hh, which says what it costs to hold them elsewhere."""
    slope: Float[Tensor, "m h k"]
    """How they follow the others, by component."""

    def expected(self, pose: Float[Tensor, "batch k"], component: Int[Tensor, "batch"]) -> Float[Tensor, "batch h"]:
        """The numbers that are left to the prior, where a component of it wants them."""
        return self.means[component] + self.follow(pose - self.prior.means[component], component)

    def follow(self, away: Float[Tensor, "batch k"], component: Int[Tensor, "batch"]) -> Float[Tensor, "batch h"]:
        """How far they go along with the others."""
        return (self.slope[component] @ away[..., None])[..., 0]

    def joined(self, pose: Float[Tensor, "batch k"], left: Float[Tensor, "batch h"]) -> Float[Tensor, "batch 69"]:
        """Both parts of body poses in their places."""
        whole = pose.new_zeros(len(pose), 72)
        return whole.index_copy(1, self.seen, pose).index_copy(1, self.left, left)[:, 3:]


def left_to_prior(
    layer: KeypointLayer, prior: Mixture, keypoints: Keypoints, settings: SmplifySettings
) -> Hidden | None:
    """The joints that a fit of these people does not search for; None where it searches for all.

    Args:
        layer: of all 49 keypoints.
    """
    if _searches_all(settings):
        return None
    return _hidden(layer, prior, bool(_footless(layer, keypoints).all()))


def by_feet(layer: KeypointLayer, keypoints: Keypoints, settings: SmplifySettings) -> list[Int[Tensor, "k"]]:
    """The numbers of the people whose feet keypoints feel, and of the others; one group where the other is empty.

    Unknowns differ between them, and no sample's may depend on its neighbours.
    """
    without = _footless(layer, keypoints)
    rows = torch.arange(len(without), device=without.device)
    groups = [rows] if _searches_all(settings) else [rows[~without], rows[without]]
    return [group for group in groups if len(group)] or [rows]


def _searches_all(settings: SmplifySettings) -> bool:
    """Because it was asked to, or because there is no prior to leave anything to."""
    return settings.solve_hidden or not settings.pose_weight


def searched(rotvec: Shaped[Tensor, "batch 24 3"], hidden: Hidden | None) -> Shaped[Tensor, "batch t"]:
    """The rotation vectors, or numbers of the 72, without those of hidden joints."""
    flat = rotvec.flatten(1)
    if hidden is None:
        return flat
    return torch.cat([flat[:, :3], flat.index_select(1, hidden.seen)], dim=1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _hidden(layer: KeypointLayer, prior: Mixture, footless: bool) -> Hidden | None:
    """Made once for a layer and a prior, which are told apart by their tensors; nobody writes to these."""
    some = layer.select((~_feels_feet(layer)).nonzero()[:, 0]) if footless else layer
    joints = [joint for joint in some.unfelt() if joint]
    if not joints:
        return None
    left = [3 * joint + axis for joint in joints for axis in range(3)]
    seen = [number for number in range(3, 3 * len(JOINT_PARENTS)) if number not in left]
    return _leave(prior, torch.tensor(seen), torch.tensor(left))


def _leave(prior: Mixture, seen: Tensor, left: Tensor) -> Hidden:
    device, dtype = prior.means.device, prior.means.dtype
    s, h = (seen - 3).to(device), (left - 3).to(device)
    whole = prior.precisions.double()
    across = whole[:, h[:, None], s]
    slope = -torch.linalg.solve(whole[:, h[:, None], h], across)
    precisions = whole[:, s[:, None], s] + across.mT @ slope
    return Hidden(
        Mixture(
            means=prior.means[:, s],
            precisions=precisions.to(dtype),
            roots=torch.linalg.cholesky(precisions).mT.to(dtype),
            offsets=prior.offsets,
            weights=prior.weights,
        ),
        seen.to(device),
        left.to(device),
        prior.means[:, h],
        whole[:, h[:, None], h].to(dtype),
        slope.to(dtype),
    )


def _footless(layer: KeypointLayer, keypoints: Keypoints) -> Bool[Tensor, "batch"]:
    """Whose feet no keypoint feels; one that is hardly trusted is missing, to `sound` too."""
    return ~((counted(keypoints) > LEAST_CONFIDENCE) & _feels_feet(layer)).any(1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _feels_feet(layer: KeypointLayer) -> Bool[Tensor, "49"]:
    felt = torch.zeros_like(layer.mass, dtype=torch.bool)
    felt[layer.point[torch.isin(layer.joint, torch.tensor(FEET, device=layer.joint.device))]] = True
    return felt
