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

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import priors
from spinkit.body import KeypointLayer, hat, left_jacobian
from spinkit.priors import Mixture
from spinkit.smplify.settings import SmplifySettings


def robust(error: Float[Tensor, "*batch"], scale: float) -> Float[Tensor, "*batch"]:
    """Geman-McClure as a residual: its square is s^2 e^2 / (s^2 + e^2), which bends flat beyond `scale`."""
    return scale * error / (scale**2 + error**2).sqrt()


def robust_derivative(error: Float[Tensor, "*batch"], scale: float) -> Float[Tensor, "*batch"]:
    """Derivative of `robust` with respect to the error."""
    return (scale**2 / (scale**2 + error**2)).pow(1.5)


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

    def error_derivative(self, points: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch points 2 3"]:
        """Derivative of `error` with respect to the points."""
        x, y, z = points.unbind(-1)
        scale = self.focal[:, None] / z
        zero = torch.zeros_like(x)
        rows = [scale, zero, -scale * x / z, zero, scale, -scale * y / z]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


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
        _, points = self._points(unknowns)
        pixels = self.view.weight[..., None] * self.view.error(points)
        return torch.cat([pixels.flatten(1), self._ties(unknowns)], dim=1)

    def _ties(self, unknowns: Tensor) -> Tensor:
        deeper = self.depth_weight * (unknowns[:, 5:] - self.depth[:, None])
        return torch.cat([self.turn_weight * (unknowns[:, :3] - self.turn), deeper], dim=1)

    def _points(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = left_jacobian(unknowns[:, :3])
        turned = self.offsets + (self.offsets @ jacobian.mT) @ hat(unknowns[:, :3]).mT
        return turned, turned + (self.pelvis + unknowns[:, 3:])[:, None]

    def linearize(self, unknowns: Float[Tensor, "batch 6"]) -> tuple[Tensor, Tensor, Tensor]:
        turned, points = self._points(unknowns)
        weight = self.view.weight[..., None]
        residual = (weight * self.view.error(points)).flatten(1)
        by_point = weight[..., None] * self.view.error_derivative(points)
        by_turn = by_point @ (-hat(turned) @ left_jacobian(unknowns[:, None, :3]))
        jacobian = torch.cat([by_turn, by_point], dim=-1).flatten(1, 2)
        ties = self._ties(unknowns)
        hessian = jacobian.mT @ jacobian
        gradient = (jacobian.mT @ residual[..., None])[..., 0]
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        diagonal[:, :3] += self.turn_weight**2
        diagonal[:, 5] += self.depth_weight**2
        gradient[:, :3] += self.turn_weight * ties[:, :3]
        gradient[:, 5] += self.depth_weight * ties[:, 3]
        return residual.square().sum(1) + ties.square().sum(1), hessian, gradient


BODY_UNKNOWNS = 82
"""24 rotation vectors and 10 betas."""


@dataclass(frozen=True)
class BodyStage:
    """Unknowns: 24 rotation vectors, then 10 betas; then the camera's translation, where it moves with the body."""

    layer: KeypointLayer
    prior: Mixture
    view: View
    """Of the keypoints that the layer gives; the weight is the confidence, which the energy sees squared."""
    translation: Float[Tensor, "batch 3"]
    """Of the camera: where it stands, or where it starts from."""
    start: Float[Tensor, "batch 72"]
    """The pose at the start, to which `start_weight` and `turn_weight` tie the fit."""
    near: Int[Tensor, "batch"]
    """The prior's component that the start belongs to, in whose metric it is near or far."""
    settings: SmplifySettings
    component: Int[Tensor, "batch"] | None = None
    """The prior's component that each sample is held to; None for whichever explains the pose best."""

    def select(self, rows: Int[Tensor, "k"]) -> "BodyStage":
        per_sample = ("translation", "start", "near", "component")
        chosen = {name: getattr(self, name)[rows] for name in per_sample if getattr(self, name) is not None}
        return replace(self, view=self.view.select(rows), **chosen)

    def _split(self, unknowns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation vectors, betas, and the camera's translation."""
        rotvec, betas = unknowns[:, :72].unflatten(1, (24, 3)), unknowns[:, 72:BODY_UNKNOWNS]
        return rotvec, betas, unknowns[:, BODY_UNKNOWNS:] if self.settings.camera_moves else self.translation

    def terms(self, unknowns: Float[Tensor, "batch n"]) -> dict[str, Float[Tensor, "batch m"]]:
        """The residuals by name; `start` and `depth` only where the settings have them."""
        s = self.settings
        rotvec, betas, translation = self._split(unknowns)
        eye = torch.eye(3, dtype=unknowns.dtype, device=unknowns.device)
        rotmat = eye + hat(rotvec) @ left_jacobian(rotvec)
        points = self.layer.pose(rotmat, betas).positions() + translation[:, None]
        pixels = self.view.weight[..., None] * robust(self.view.error(points), s.robust_scale)
        found = {
            "keypoints": pixels.flatten(1),
            "pose": s.pose_weight * priors.mixture_residual(self.prior, unknowns[:, 3:72], self.component),
            "bending": s.bending_weight * priors.bending_residual(rotvec),
            "shape": s.shape_weight * priors.shape_residual(betas),
        }
        if s.start_weight or s.turn_weight:
            away = unknowns[:, :72] - self.start
            whitened = (self.prior.roots[self.near] @ away[:, 3:, None])[..., 0] / math.sqrt(2)
            found["start"] = torch.cat([s.turn_weight * away[:, :3], s.start_weight * whitened], dim=1)
        if s.camera_moves:
            found["depth"] = s.depth_weight * (translation[:, 2:] - self.translation[:, 2:])
        return found

    def residuals(self, unknowns: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        return torch.cat(list(self.terms(unknowns).values()), dim=1)

    def linearize(self, unknowns: Float[Tensor, "batch n"]) -> tuple[Tensor, Tensor, Tensor]:
        energy, hessian, gradient = self._keypoints(unknowns)
        for add in (self._add_pose, self._add_bending, self._add_shape, self._add_start, self._add_depth):
            energy = energy + add(unknowns, hessian, gradient)
        return energy, hessian, gradient

    def _keypoints(self, unknowns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, J'J and J'r of the keypoints.

        J leaves out how pose correctives change, which would double its cost and hardly turn a step. J'r has all, so
        that a fit ends where the objective is lowest and not nearby.
        """
        scale = self.settings.robust_scale
        rotvec, betas, translation = self._split(unknowns)
        turning = left_jacobian(rotvec)
        eye = torch.eye(3, dtype=unknowns.dtype, device=unknowns.device)
        posed = self.layer.pose(eye + hat(rotvec) @ turning, betas)
        points = posed.positions() + translation[:, None]
        error = self.view.error(points)
        weight = self.view.weight[..., None]
        residual = weight * robust(error, scale)
        rows = (weight * robust_derivative(error, scale))[..., None] * self.view.error_derivative(points)
        jacobian = posed.derivative(turning, rows, correctives=False)
        if self.settings.camera_moves:
            jacobian = torch.cat([jacobian, rows], dim=-1)
        jacobian = jacobian.flatten(1, 2)
        gradient = (jacobian.mT @ residual.flatten(1)[..., None])[..., 0]
        force = (residual[..., None] * rows).sum(2)
        gradient[:, 3:72] += posed.corrective_pull(turning, force)
        return residual.square().sum((1, 2)), jacobian.mT @ jacobian, gradient

    # Each adds its share to J'J and J'r of this call, which no one else holds yet, and returns its energy.

    def _add_pose(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        prior, weight = self.prior, self.settings.pose_weight**2
        best = priors.winner(prior, unknowns[:, 3:72]) if self.component is None else self.component
        away = unknowns[:, 3:72] - prior.means[best]
        return (
            _add_quadratic(0.5 * weight * prior.precisions[best], away, hessian, gradient)
            + weight * prior.offsets[best]
        )

    def _add_bending(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        square_sum = torch.zeros_like(unknowns[:, 0])
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        for index, sign in priors.BENDING:
            square = self.settings.bending_weight**2 * torch.exp(2 * sign * unknowns[:, index])
            diagonal[:, index] += square
            gradient[:, index] += sign * square
            square_sum += square
        return square_sum

    def _add_shape(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        weight, betas = self.settings.shape_weight**2, unknowns[:, 72:BODY_UNKNOWNS]
        hessian.diagonal(dim1=1, dim2=2)[:, 72:BODY_UNKNOWNS] += weight
        gradient[:, 72:BODY_UNKNOWNS] += weight * betas
        return weight * betas.square().sum(1)

    def _add_start(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        s = self.settings
        energy = torch.zeros_like(unknowns[:, 0])
        if s.turn_weight:
            turned = unknowns[:, :3] - self.start[:, :3]
            hessian.diagonal(dim1=1, dim2=2)[:, :3] += s.turn_weight**2
            gradient[:, :3] += s.turn_weight**2 * turned
            energy = energy + s.turn_weight**2 * turned.square().sum(1)
        if s.start_weight:
            precision = 0.5 * s.start_weight**2 * self.prior.precisions[self.near]
            energy = energy + _add_quadratic(precision, unknowns[:, 3:72] - self.start[:, 3:], hessian, gradient)
        return energy

    def _add_depth(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        if not self.settings.camera_moves:
            return torch.zeros_like(unknowns[:, 0])
        weight, deeper = self.settings.depth_weight**2, unknowns[:, -1] - self.translation[:, 2]
        hessian[:, -1, -1] += weight
        gradient[:, -1] += weight * deeper
        return weight * deeper.square()


def _add_quadratic(precision: Tensor, away: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
    """Add the energy away' precision away of the body pose to J'J and J'r, and return it."""
    pull = (precision @ away[..., None])[..., 0]
    hessian[:, 3:72, 3:72] += precision
    gradient[:, 3:72] += pull
    return (away * pull).sum(1)
