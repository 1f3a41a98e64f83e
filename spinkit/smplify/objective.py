"""SMPLify's objective as two problems: every term is a residual, its energy the residual's squared length.

    camera stage    sum over torso |pixel error|^2 + depth_weight^2 (t_z - t_z0)^2
    body stage      sum over keypoints c^2 rho(pixel error) + pose_weight^2 P + bending_weight^2 A
                    + shape_weight^2 |betas|^2 + start_weight^2 |pose - start|^2

Source: Bogo et al. 2016, eq. 1-4, with the weights of SPIN's released code (Kolotouros et al. 2019). The last term is
ours, and zero unless asked for.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import priors
from spinkit.body import KeypointLayer, hat, left_jacobian
from spinkit.priors import Mixture


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
    depth_weight: float

    def select(self, rows: Int[Tensor, "k"]) -> "CameraStage":
        return replace(
            self,
            view=self.view.select(rows),
            offsets=self.offsets[rows],
            pelvis=self.pelvis[rows],
            depth=self.depth[rows],
        )

    def residuals(self, unknowns: Float[Tensor, "batch 6"]) -> Float[Tensor, "batch m"]:
        _, points = self._points(unknowns)
        pixels = self.view.weight[..., None] * self.view.error(points)
        return torch.cat([pixels.flatten(1), self.depth_weight * (unknowns[:, 5] - self.depth)[:, None]], dim=1)

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
        hessian = jacobian.mT @ jacobian
        gradient = (jacobian.mT @ residual[..., None])[..., 0]
        deeper = unknowns[:, 5] - self.depth
        hessian[:, 5, 5] += self.depth_weight**2
        gradient[:, 5] += self.depth_weight**2 * deeper
        return residual.square().sum(1) + self.depth_weight**2 * deeper**2, hessian, gradient


@dataclass(frozen=True)
class BodyStage:
    """Unknowns: 24 rotation vectors, then 10 betas. The camera stands still."""

    layer: KeypointLayer
    prior: Mixture
    view: View
    """Of the keypoints that the layer gives; the weight is the confidence, which the energy sees squared."""
    translation: Float[Tensor, "batch 3"]
    robust_scale: float
    pose_weight: float
    bending_weight: float
    shape_weight: float
    start_weight: float
    start: Float[Tensor, "batch 72"]
    """The pose at the start, to which `start_weight` ties the fit."""

    def select(self, rows: Int[Tensor, "k"]) -> "BodyStage":
        view, translation, start = self.view.select(rows), self.translation[rows], self.start[rows]
        return replace(self, view=view, translation=translation, start=start)

    def terms(self, unknowns: Float[Tensor, "batch 82"]) -> dict[str, Float[Tensor, "batch m"]]:
        """The residuals by name; `start` only where the fit is tied to it."""
        rotvec, betas = unknowns[:, :72].unflatten(1, (24, 3)), unknowns[:, 72:]
        eye = torch.eye(3, dtype=unknowns.dtype, device=unknowns.device)
        rotmat = eye + hat(rotvec) @ left_jacobian(rotvec)
        points = self.layer.pose(rotmat, betas).positions() + self.translation[:, None]
        pixels = self.view.weight[..., None] * robust(self.view.error(points), self.robust_scale)
        tie = {"start": self.start_weight * (unknowns[:, :72] - self.start)} if self.start_weight else {}
        return {
            "keypoints": pixels.flatten(1),
            "pose": self.pose_weight * priors.mixture_residual(self.prior, unknowns[:, 3:72]),
            "bending": self.bending_weight * priors.bending_residual(rotvec),
            "shape": self.shape_weight * priors.shape_residual(betas),
            **tie,
        }

    def residuals(self, unknowns: Float[Tensor, "batch 82"]) -> Float[Tensor, "batch m"]:
        return torch.cat(list(self.terms(unknowns).values()), dim=1)

    def linearize(self, unknowns: Float[Tensor, "batch 82"]) -> tuple[Tensor, Tensor, Tensor]:
        energy, jacobian, residual = self._keypoint_rows(unknowns)
        hessian = jacobian.mT @ jacobian
        gradient = (jacobian.mT @ residual[..., None])[..., 0]
        for add in (self._add_pose, self._add_bending, self._add_shape, self._add_start):
            energy = energy + add(unknowns, hessian, gradient)
        return energy, hessian, gradient

    def _keypoint_rows(self, unknowns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rotvec, betas = unknowns[:, :72].unflatten(1, (24, 3)), unknowns[:, 72:]
        jacobian = left_jacobian(rotvec)
        eye = torch.eye(3, dtype=unknowns.dtype, device=unknowns.device)
        posed = self.layer.pose(eye + hat(rotvec) @ jacobian, betas)
        points = posed.positions() + self.translation[:, None]
        error = self.view.error(points)
        weight = self.view.weight[..., None]
        residual = (weight * robust(error, self.robust_scale)).flatten(1)
        slope = weight * robust_derivative(error, self.robust_scale)
        rows = slope[..., None] * self.view.error_derivative(points)
        by_rotation, by_betas = posed.derivative(jacobian, rows)
        derivative = torch.cat([by_rotation, by_betas], dim=-1).flatten(1, 2)
        return residual.square().sum(1), derivative, residual

    # Each adds its share to J'J and J'r of this call, which no one else holds yet, and returns its energy.

    def _add_pose(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        prior, weight = self.prior, self.pose_weight**2
        best = priors.winner(prior, unknowns[:, 3:72])
        away = unknowns[:, 3:72] - prior.means[best]
        precision = 0.5 * weight * prior.precisions[best]
        pull = (precision @ away[..., None])[..., 0]
        hessian[:, 3:72, 3:72] += precision
        gradient[:, 3:72] += pull
        return (away * pull).sum(1) + weight * prior.offsets[best]

    def _add_bending(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        index, sign = (list(column) for column in zip(*priors.BENDING, strict=True))
        sign = unknowns.new_tensor(sign)
        square = self.bending_weight**2 * torch.exp(2 * sign * unknowns[:, index])
        hessian[:, index, index] += square
        gradient[:, index] += sign * square
        return square.sum(1)

    def _add_shape(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        weight = self.shape_weight**2
        hessian[:, range(72, 82), range(72, 82)] += weight
        gradient[:, 72:] += weight * unknowns[:, 72:]
        return weight * unknowns[:, 72:].square().sum(1)

    def _add_start(self, unknowns: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
        if self.start_weight == 0:
            return torch.zeros_like(unknowns[:, 0])
        weight, away = self.start_weight**2, unknowns[:, :72] - self.start
        hessian[:, range(72), range(72)] += weight
        gradient[:, :72] += weight * away
        return weight * away.square().sum(1)
