"""SPIN's released fitting routine, written out from its equations over smplx: what everything else is compared with.

It poses the full mesh in every step, because its users do: smplx returns vertices, from which nine keypoints are
regressed. What does not change between steps (the prior's inverses and determinants) is computed once.

Source: Kolotouros et al. 2019 and the facts of their released code; no line of that code is copied.
"""

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import smplx
import torch
from torch import Tensor

from spinkit import files
from spinkit.camera import Camera
from spinkit.keypoints import POOL, Keypoints
from spinkit.smplify import Start

IGNORED = [1, 9, 12, 27, 28]
TORSO, TORSO_ANNOTATED = [9, 12, 2, 5], [27, 28, 33, 34]


class Published:
    """Both stages as released: a mesh of smplx, torch's Adam, sums over the batch.

    Args:
        body: an .npz in SMPL's format that holds `J_regressor_extra` too.
        prior: an .npz with the mixture's `means`, `covars`, `weights`.
        steps: of Adam, in each of the two stages.
        dtype, device: of all that is computed.
    """

    def __init__(
        self,
        body: Path,
        prior: Path,
        steps: int = 100,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        arrays, mixture = files.read_npz(body), files.read_npz(prior)
        self.steps, self.kind = steps, {"dtype": dtype, "device": device}
        # smplx prints advice about the number of shapes.
        with contextlib.redirect_stdout(io.StringIO()):
            struct = smplx.utils.Struct(**arrays)
            model = smplx.SMPL(model_path="", data_struct=struct, create_transl=False, dtype=dtype)
        self.smpl = model.to(device)
        self.extra = self._tensor(arrays["J_regressor_extra"])
        covariances = mixture["covars"].astype(np.float64)
        self.means = self._tensor(mixture["means"])
        self.precisions = self._tensor(np.linalg.inv(covariances))
        # The released prior divides every determinant by the least.
        roots = 0.5 * np.linalg.slogdet(covariances)[1]
        share = np.log(mixture["weights"]) - (roots - roots.min()) - 69 / 2 * math.log(2 * math.pi)
        self.log_weights = self._tensor(share)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.float64)).to(**self.kind)

    def points(self, orient: Tensor, pose: Tensor, betas: Tensor) -> Tensor:
        """The 49 keypoints, metres, by way of the mesh."""
        out = self.smpl(betas=betas, global_orient=orient, body_pose=pose)
        return torch.cat([out.joints, self.extra @ out.vertices], dim=1)[:, list(POOL)]

    def project(self, orient: Tensor, pose: Tensor, betas: Tensor, translation: Tensor) -> Tensor:
        """Pixels of the 49 keypoints in a crop of 224."""
        points = self.points(orient, pose, betas) + translation[:, None]
        return 5000 * points[..., :2] / points[..., 2:] + 112

    def pose_energy(self, pose: Tensor) -> Tensor:
        """That of the component which explains the pose best."""
        away = pose[:, None] - self.means
        mahalanobis = (torch.einsum("mij,bmj->bmi", self.precisions, away) * away).sum(-1)
        return (0.5 * mahalanobis - self.log_weights).amin(dim=1)

    def camera_loss(self, seen: Keypoints, variables: tuple[Tensor, ...], depth: Tensor) -> Tensor:
        """Four points of the torso: OpenPose's where it saw all, else the annotated ones, without confidences."""
        square = (self.project(*variables) - seen.xy).square().sum(-1)
        openpose = (seen.confidence[:, TORSO] > 0).all(dim=1)
        torso = torch.where(openpose, square[:, TORSO].sum(1), square[:, TORSO_ANNOTATED].sum(1))
        return (torso + 100**2 * (variables[3][:, 2] - depth) ** 2).sum()

    def reprojection(self, seen: Keypoints, variables: tuple[Tensor, ...]) -> Tensor:
        """Geman-McClure of x and y apart, times the squared confidence, a keypoint each."""
        confidence = seen.confidence.clone()
        confidence[:, IGNORED] = 0
        square = (self.project(*variables) - seen.xy).square()
        bent = 100**2 * square / (100**2 + square)
        return confidence**2 * bent.sum(-1)

    def body_loss(self, seen: Keypoints, variables: tuple[Tensor, ...]) -> Tensor:
        _, pose, betas, _ = variables
        bending = sum((sign * pose[:, i - 3]).exp() ** 2 for i, sign in ((55, 1), (58, -1), (12, -1), (15, -1)))
        pixels = self.reprojection(seen, variables).sum(1)
        prior = 4.78**2 * self.pose_energy(pose) + 15.2**2 * bending + 5**2 * betas.square().sum(1)
        return (pixels + prior).sum()

    def descend(self, variables: list[Tensor], loss: Callable[[], Tensor]) -> None:
        for variable in variables:
            variable.requires_grad_()
        optimizer = torch.optim.Adam(variables, lr=1e-2, betas=(0.9, 0.999))
        for _ in range(self.steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        for variable in variables:
            variable.requires_grad_(False)

    def fit(self, seen: Keypoints, start: Start) -> tuple[Start, Tensor]:
        """Where both stages end, and the error that the loop compares, px^2: a mean over all 49."""
        camera = start.camera
        orient, pose = start.rotvec[:, 0].clone(), start.rotvec[:, 1:].flatten(1).clone()
        betas, translation = start.betas.clone(), camera.translation.clone()
        variables, depth = (orient, pose, betas, translation), translation[:, 2].clone()
        self.descend([orient, translation], lambda: self.camera_loss(seen, variables, depth))
        self.descend([pose, betas, orient], lambda: self.body_loss(seen, variables))
        with torch.no_grad():
            error = self.reprojection(seen, variables).sum(1) / 49
        rotvec = torch.cat([orient, pose], dim=1).unflatten(1, (24, 3))
        return Start(rotvec, betas, Camera(translation, camera.focal, camera.center)), error
