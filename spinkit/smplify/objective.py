"""SMPLify's objective as two problems: every term is a residual, its energy the residual's squared length.

    camera stage    sum over torso |pixel error|^2 + depth_weight^2 (t_z - t_z0)^2 + turn_weight^2 |turn - turn_0|^2
    body stage      sum over keypoints c^2 rho(pixel error) + pose_weight^2 P + bending_weight^2 A
                    + shape_weight^2 |betas|^2
                    + start_weight^2 |pose - pose_0|_P^2 + turn_weight^2 |turn - turn_0|^2
                    and, where the camera moves, depth_weight^2 (t_z - t_z0)^2

Source: Bogo et al. 2016, eq. 1-4, with the weights of SPIN's released code (Kolotouros et al. 2019). What ties a fit to
its start (index 0), and a camera that moves with the body, are ours, and off unless asked for.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import priors
from spinkit.body import KeypointLayer, cross, product, rotation_and_jacobian
from spinkit.priors import Mixture
from spinkit.smplify.hidden import Hidden, searched
from spinkit.smplify.settings import SmplifySettings
from spinkit.smplify.tables import Tables, tables


def robust(error: Float[Tensor, "*batch"], scale: float) -> Float[Tensor, "*batch"]:
    """Geman-McClure as a residual: its square is s^2 e^2 / (s^2 + e^2), which bends flat beyond `scale`."""
    return scale * error / (scale**2 + error**2).sqrt()


@dataclass(frozen=True)
class View:
    """What one photo says of one person: pixels, how far to trust them, and the camera's constants."""

    xy: Float[Tensor, "batch points 2"]
    weight: Float[Tensor, "batch points"]
    focal: Float[Tensor, "batch"]
    center: Float[Tensor, "batch 2"]

    def select(self, rows: Int[Tensor, "k"]) -> "View":
        return View(*(getattr(self, field.name)[rows] for field in fields(self)))

    def error(self, points: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch points 2"]:
        """Pixels from each keypoint to the projection of a point in the camera frame."""
        return self.focal[:, None, None] * points[..., :2] / points[..., 2:] + self.center[:, None] - self.xy

    def bent(
        self, points: Float[Tensor, "points 3 batch"], scale: float = math.inf
    ) -> tuple[Float[Tensor, "points 2 batch"], Float[Tensor, "points 2 3 batch"]]:
        """The weighed residuals of points in the camera frame, and their derivative; the batch comes last.

        Args:
            scale: that of `robust`; without it, residuals are pixels.
        """
        aim, weight = self._batch_last
        nearness = self.focal / points[:, 2:]
        seen = points[:, :2] * nearness
        residual = weight * (seen - aim)
        slope = weight.expand_as(residual)
        if scale < math.inf:
            bend = scale * ((seen - aim).square() + scale**2).rsqrt()
            residual, slope = residual * bend, slope * bend**3
        rows = points.new_zeros(points.shape[0], 2, 3, points.shape[-1])
        # x moves the first residual, y the second, z both.
        rows[:, :, :2].diagonal(dim1=1, dim2=2).copy_((slope * nearness).transpose(1, 2))
        rows[:, :, 2] = slope * seen / -points[:, 2:]
        return residual, rows

    @cached_property
    def _batch_last(self) -> tuple[Tensor, Tensor]:
        """Where the keypoints lie from the principal point, and their weights."""
        return (self.xy - self.center[:, None]).permute(1, 2, 0).contiguous(), self.weight.T[:, None].contiguous()


@dataclass(frozen=True)
class CameraStage:
    """Unknowns: the rotation vector of the whole body, then the camera's translation. The body is rigid."""

    view: View
    """Of the torso only; weight one where a point is to be used, else zero."""
    offsets: Float[Tensor, "batch points 3"]
    """Points relative to the pelvis, in a body that is not turned."""
    pelvis: Float[Tensor, "batch 3"]
    depth: Float[Tensor, "batch"]
    """t_z at the start, which holds the depth: four points of a torso say little about it."""
    turn: Float[Tensor, "batch 3"]
    """The rotation vector at the start, to which `turn_weight` ties it."""
    depth_weight: float
    turn_weight: float

    def select(self, rows: Int[Tensor, "k"]) -> "CameraStage":
        return replace(
            self,
            view=self.view.select(rows),
            offsets=self.offsets[rows],
            pelvis=self.pelvis[rows],
            depth=self.depth[rows],
            turn=self.turn[rows],
        )

    def residuals(self, unknowns: Float[Tensor, "batch 6"]) -> Float[Tensor, "batch m"]:
        columns = unknowns.T
        rotmat, _ = rotation_and_jacobian(columns[None, :3])
        _, points = self._points(rotmat, columns)
        pixels = self.view.weight[..., None] * self.view.error(points.permute(2, 0, 1))
        ties = self._ties.sqrt() * (unknowns - self._begun)
        return torch.cat([pixels.flatten(1), ties], dim=1)

    def linearize(self, unknowns: Float[Tensor, "batch 6"]) -> tuple[Tensor, Tensor, Tensor]:
        columns = unknowns.T.contiguous()
        rotmat, turning = rotation_and_jacobian(columns[None, :3])
        turned, points = self._points(rotmat, columns)
        residual, rows = self.view.bent(points)
        by_turn = product(cross(turned[:, None], rows), turning.expand(rows.shape[0], 3, 3, -1))
        jacobian = torch.cat([by_turn, rows, residual[:, :, None]], dim=2).flatten(0, 1).permute(2, 0, 1).contiguous()
        # The residual is J's last column, so that one product gives J'J, J'r and r'r.
        whole = jacobian.mT @ jacobian
        off = unknowns - self._begun
        pull = self._ties * off
        hessian = whole[:, :6, :6]
        hessian.diagonal(dim1=1, dim2=2).add_(self._ties)
        return whole[:, 6, 6] + (pull * off).sum(1), hessian, whole[:, 6, :6] + pull

    def _points(self, rotmat: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The points as the body is turned, against the pelvis and in the camera frame; the batch comes last."""
        turned = (rotmat * self._rigid[:, None]).sum(2)
        return turned, turned + (self.pelvis.T + columns[3:])

    @cached_property
    def _rigid(self) -> Float[Tensor, "points 3 batch"]:
        return self.offsets.permute(1, 2, 0).contiguous()

    @cached_property
    def _ties(self) -> Float[Tensor, "6"]:
        """How much each unknown is held where it began, squared."""
        held = [self.turn_weight**2] * 3 + [0.0, 0.0, self.depth_weight**2]
        return self.offsets.new_tensor(held)

    @cached_property
    def _begun(self) -> Float[Tensor, "batch 6"]:
        nowhere = self.turn.new_zeros(len(self.turn), 2)
        return torch.cat([self.turn, nowhere, self.depth[:, None]], dim=1)


@dataclass(frozen=True)
class BodyStage:
    """Unknowns: the rotation vectors, then 10 betas; then the camera's translation, where it moves with the body.

    All 24 rotation vectors, or those of the whole body and of the joints that are not hidden.
    """

    layer: KeypointLayer
    prior: Mixture
    """Of the body pose as far as it is unknown."""
    view: View
    """Of the keypoints that the layer gives; the weight is the confidence, which the energy sees squared."""
    translation: Float[Tensor, "batch 3"]
    """Of the camera: where it stands, or where it starts from."""
    start: Float[Tensor, "batch 72"]
    """The pose at the start, to which `start_weight` and `turn_weight` tie the fit."""
    near: Int[Tensor, "batch"]
    """The prior's component that the start belongs to, in whose metric it is near or far."""
    settings: SmplifySettings
    hidden: Hidden | None = None
    """The joints that are left to the prior; None where all are unknown."""
    component: Int[Tensor, "batch"] | None = None
    """The prior's component that each sample is held to; None for whichever explains the pose best."""

    def select(self, rows: Int[Tensor, "k"]) -> "BodyStage":
        per_sample = ("translation", "start", "near", "component")
        chosen = {name: getattr(self, name)[rows] for name in per_sample if getattr(self, name) is not None}
        return replace(self, view=self.view.select(rows), **chosen)

    def leaving(self, hidden: Hidden) -> "BodyStage":
        """The same problem with hidden joints left to the prior.

        Where the pose is tied, prior and tie may want them in different places. What that costs is left out: it would
        couple all joints anew with every pair of components, and hardly depends on the others.
        """
        return replace(self, prior=hidden.prior, hidden=hidden)

    @property
    def turning(self) -> int:
        """How many of the unknowns turn the body and its joints: the first ones."""
        return 3 + self.prior.means.shape[1]

    def pack(
        self,
        rotvec: Float[Tensor, "batch 24 3"],
        betas: Float[Tensor, "batch 10"],
        translation: Float[Tensor, "batch 3"],
    ) -> Float[Tensor, "batch n"]:
        """A body and a camera as unknowns."""
        parts = [searched(rotvec, self.hidden), betas]
        return torch.cat([*parts, translation] if self.settings.camera_moves else parts, dim=1)

    def unpack(
        self, unknowns: Float[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch 24 3"], Float[Tensor, "batch 10"], Float[Tensor, "batch 3"]]:
        """The body and the camera that unknowns stand for, with hidden joints where the prior and ties want them."""
        first, betas, moved = self._split(unknowns)
        if self.hidden is not None:
            first = torch.cat([first[:, :3], self._whole_pose(first[:, 3:], self.hidden)], dim=1)
        return first.unflatten(1, (24, 3)), betas, moved if self.settings.camera_moves else self.translation

    def _whole_pose(self, pose: Float[Tensor, "batch k"], hidden: Hidden) -> Float[Tensor, "batch 69"]:
        component = priors.winner(self.prior, pose) if self.component is None else self.component
        left, hold = hidden.expected(pose, component), self._tables().hold
        if hold is not None:
            tied = self.start[:, hidden.left] + hidden.follow(pose - self._begun[:, 3 : self.turning], self.near)
            pair = self.near * len(self.prior.means) + component
            left = left + (hold[pair] @ (tied - left)[..., None])[..., 0]
        return hidden.joined(pose, left)

    def _split(self, unknowns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations, betas, and the camera where it moves."""
        return unknowns.tensor_split((self.turning, self.turning + 10), dim=1)

    def _rotvec(self, first: Float[Tensor, "t batch"]) -> Float[Tensor, "24 3 batch"]:
        """The rotation vectors, with zeros for hidden joints: keypoints do not care."""
        if self.hidden is not None:
            spread = self._tables().spread
            first = torch.cat([first, torch.zeros_like(first[:1])]).index_select(0, spread)
        return first.unflatten(0, (24, 3))

    def terms(self, unknowns: Float[Tensor, "batch n"]) -> dict[str, Float[Tensor, "batch m"]]:
        """The residuals by name; `start` and `depth` only where the settings have them."""
        s = self.settings
        first, betas, moved = self._split(unknowns)
        translation = moved if s.camera_moves else self.translation
        rotvec = self._rotvec(first.T)
        rotmat, _ = rotation_and_jacobian(rotvec)
        points = self.layer.posed(rotmat, betas.T).positions() + translation[:, None]
        pixels = self.view.weight[..., None] * robust(self.view.error(points), s.robust_scale)
        found = {
            "keypoints": pixels.flatten(1),
            "pose": s.pose_weight * priors.mixture_residual(self.prior, first[:, 3:], self.component),
            "bending": s.bending_weight * priors.bending_residual(rotvec.permute(2, 0, 1)),
            "shape": s.shape_weight * priors.shape_residual(betas),
        }
        if s.start_weight or s.turn_weight:
            away = first - self._begun[:, : self.turning]
            whitened = priors.whitened(self.prior, away[:, 3:], self.near) / math.sqrt(2)
            found["start"] = torch.cat([s.turn_weight * away[:, :3], s.start_weight * whitened], dim=1)
        if s.camera_moves:
            found["depth"] = s.depth_weight * (translation[:, 2:] - self.translation[:, 2:])
        return found

    def residuals(self, unknowns: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        return torch.cat(list(self.terms(unknowns).values()), dim=1)

    def linearize(self, unknowns: Float[Tensor, "batch n"]) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, J'J and J'r.

        J leaves out how pose correctives change, which would double its cost and hardly turn a step. J'r has all, so
        that a fit ends where the objective is lowest and not nearby.
        """
        known, n, turning = self._tables(), unknowns.shape[1], self.turning
        jacobian, pull = self._keypoints(unknowns, known)
        energy, gradient, row = self._quadratics(unknowns, known)
        # The residual is J's last column, so that one product gives J'J, J'r and r'r.
        whole = torch.baddbmm(known.quadratic.index_select(0, row), jacobian.mT, jacobian)
        hessian = whole[:, :n, :n]
        gradient = gradient + whole[:, n, :n]
        gradient[:, 3:turning] += pull
        return energy + whole[:, n, n] + self._add_bending(unknowns, hessian, gradient, known), hessian, gradient

    def _tables(self) -> Tables:
        s = self.settings
        weights = (s.pose_weight, s.start_weight, s.turn_weight, s.shape_weight, s.depth_weight)
        return tables(self.layer, self.prior, self.hidden, s.camera_moves, weights)

    def _keypoints(self, unknowns: Tensor, known: Tables) -> tuple[Tensor, Tensor]:
        """The keypoints' J with their residual as its last column, and the correctives' share of their J'r."""
        columns = unknowns.T.contiguous()
        first, betas, moved = columns.tensor_split((self.turning, self.turning + 10))
        rotmat, turning = rotation_and_jacobian(self._rotvec(first))
        posed = self.layer.posed(rotmat, betas)
        moves = self.settings.camera_moves
        points = posed.places() + (moved if moves else self.translation.T)
        residual, rows = self.view.bent(points, self.settings.robust_scale)
        more = torch.cat([rows, residual[:, :, None]], dim=2) if moves else residual[:, :, None]
        zeros = columns.new_zeros(1, unknowns.shape[0])
        stacked = torch.cat([*posed.columns(turning, rows), more.flatten(0, 2), zeros])
        dense = stacked.index_select(0, known.arrangement).T.contiguous()
        pull = posed.corrective_pull(turning, (residual[:, :, None] * rows).sum(1))
        if self.hidden is not None:
            pull = pull.index_select(0, self.hidden.seen - 3)
        return dense.reshape(unknowns.shape[0], 2 * points.shape[0], unknowns.shape[1] + 1), pull.T

    def _quadratics(self, unknowns: Tensor, known: Tables) -> tuple[Tensor, Tensor, Tensor]:
        """Energy and J'r of all terms whose J'J is known beforehand, and which of the tables' J'J it is."""
        s, prior, batch = self.settings, self.prior, unknowns.shape[0]
        pose, rows = unknowns[:, 3 : self.turning], torch.arange(batch, device=unknowns.device)
        away = pose - prior.means[:, None]
        if s.start_weight:
            left = (pose - self._begun[:, 3 : self.turning]).expand_as(away)
            away = torch.cat([away, left], dim=1)
        # By every component at once: that is one product, and says which of them is the lowest.
        pulls = 0.5 * torch.bmm(away, prior.precisions)
        charges = (away * pulls).sum(2)
        best = self.component
        if best is None:
            best = (charges[:, :batch] + prior.offsets[:, None]).argmin(0)
        off = unknowns - self._begun
        # The diagonal is zero where a pose is tied in a metric of its own, or not at all.
        gradient = known.diagonal * off
        energy = (gradient * off).sum(1)
        each, width = s.pose_weight**2, away.shape[1]
        place = best * width + rows
        gradient[:, 3 : self.turning] += each * pulls.flatten(0, 1).index_select(0, place)
        energy += each * (charges.flatten().index_select(0, place) + prior.offsets.index_select(0, best))
        if not s.start_weight:
            return energy, gradient, best
        each, place = s.start_weight**2, self.near * width + batch + rows
        gradient[:, 3 : self.turning] += each * pulls.flatten(0, 1).index_select(0, place)
        energy += each * charges.flatten().index_select(0, place)
        return energy, gradient, self.near * len(prior.means) + best

    @cached_property
    def _begun(self) -> Float[Tensor, "batch n"]:
        """To where ties pull the unknowns: to the start, but the shape to that of the mean body."""
        return self.pack(self.start.unflatten(1, (24, 3)), self.start.new_zeros(len(self.start), 10), self.translation)

    def _add_bending(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor, known: Tables) -> Tensor:
        """Add to J'J and J'r of this call, which no one else holds yet, and return the energy."""
        square = (self.settings.bending_weight * (unknowns.index_select(1, known.bent) * known.sign).exp()).square()
        hessian.diagonal(dim1=1, dim2=2).index_add_(1, known.bent, square)
        gradient.index_add_(1, known.bent, known.sign * square)
        return square.sum(1)
