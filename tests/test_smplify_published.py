"""SPIN's released fitting routine, written out from its equations over smplx, against `smplify.published()`."""

import math

import crowd
import numpy as np
import pytest
import smplx
import torch

from spinkit import keypoints, priors, smplify
from spinkit.smplify import Start

STEPS = 12
IGNORED = [1, 9, 12, 27, 28]


def double(array):
    return torch.from_numpy(array.astype(np.float64))


class Published:
    """Both stages as released, in float64: a mesh of smplx, torch's Adam, sums over the batch."""

    def __init__(self, root, batch):
        with np.load(root / "data" / "body.npz") as file:
            arrays = {name: file[name] for name in file.files}
        struct = smplx.utils.Struct(**arrays)
        self.smpl = smplx.SMPL(model_path="", data_struct=struct, batch_size=batch, dtype=torch.float64)
        self.extra = double(arrays["J_regressor_extra"])
        with np.load(root / "data" / "pose_prior.npz") as file:
            self.means, self.covariances, self.weights = (double(file[n]) for n in ("means", "covars", "weights"))

    def project(self, orient, pose, betas, translation):
        """Pixels of the 49 keypoints in a crop of 224."""
        out = self.smpl(betas=betas, global_orient=orient, body_pose=pose)
        points = torch.cat([out.joints, self.extra @ out.vertices], dim=1)[:, list(keypoints.POOL)]
        points = points + translation[:, None]
        return 5000 * points[..., :2] / points[..., 2:] + 112

    def pose_energy(self, pose):
        """The least over the components, determinants divided by the least."""
        roots = self.covariances.logdet().mul(0.5)
        share = self.weights.log() - (roots - roots.min()) - 69 / 2 * math.log(2 * math.pi)
        away = pose[:, None] - self.means
        mahalanobis = torch.einsum("bmi,mij,bmj->bm", away, self.covariances.inverse(), away)
        return (0.5 * mahalanobis - share).amin(dim=1)

    def camera_loss(self, seen, orient, pose, betas, translation, depth):
        """Four points of the torso: OpenPose's where it saw all, else the annotated ones, without confidences."""
        square = (self.project(orient, pose, betas, translation) - seen.xy).square().sum(-1)
        openpose = (seen.confidence[:, [9, 12, 2, 5]] > 0).all(dim=1)
        torso = torch.where(openpose, square[:, [9, 12, 2, 5]].sum(1), square[:, [27, 28, 33, 34]].sum(1))
        return (torso + 100**2 * (translation[:, 2] - depth) ** 2).sum()

    def reprojection(self, seen, orient, pose, betas, translation):
        """Geman-McClure of x and y apart, times the squared confidence, a keypoint each."""
        confidence = seen.confidence.clone()
        confidence[:, IGNORED] = 0
        square = (self.project(orient, pose, betas, translation) - seen.xy).square()
        bent = 100**2 * square / (100**2 + square)
        return confidence**2 * bent.sum(-1)

    def body_loss(self, seen, orient, pose, betas, translation):
        bending = sum((sign * pose[:, i - 3]).exp() ** 2 for i, sign in ((55, 1), (58, -1), (12, -1), (15, -1)))
        pixels = self.reprojection(seen, orient, pose, betas, translation).sum(1)
        prior = 4.78**2 * self.pose_energy(pose) + 15.2**2 * bending + 5**2 * betas.square().sum(1)
        return (pixels + prior).sum()

    def descend(self, variables, loss):
        optimizer = torch.optim.Adam(variables, lr=1e-2, betas=(0.9, 0.999))
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    def fit(self, seen, start):
        """Parameters after both stages, those after the first, and the error that the loop compares."""
        orient, pose = start.rotvec[:, 0].clone(), start.rotvec[:, 1:].flatten(1).clone()
        betas, translation = start.betas.clone(), start.camera.translation.clone()
        depth = translation[:, 2].clone()
        for variable in (orient, translation):
            variable.requires_grad_()
        self.descend([orient, translation], lambda: self.camera_loss(seen, orient, pose, betas, translation, depth))
        after_camera = orient.detach().clone()
        translation = translation.detach()
        for variable in (pose, betas):
            variable.requires_grad_()
        self.descend([pose, betas, orient], lambda: self.body_loss(seen, orient, pose, betas, translation))
        with torch.no_grad():
            error = self.reprojection(seen, orient, pose, betas, translation).sum(1) / 49
        return [x.detach() for x in (orient, pose, betas, translation)], after_camera, error


@pytest.fixture(scope="module")
def people(human):
    """Four people: seen whole by a detector, or by annotators alone, and one without OpenPose's right hip."""
    drawn = crowd.draw(human, 4, seed=2, openpose=True)
    xy, confidence = drawn.keypoints.xy.double(), drawn.keypoints.confidence.double()
    confidence[0, keypoints.OPENPOSE] = 0
    confidence[1, keypoints.OPENPOSE] = confidence[1, keypoints.OPENPOSE].clamp(min=0.3)
    confidence[2, 9] = 0
    return drawn, keypoints.Keypoints(xy, confidence)


@pytest.fixture(scope="module")
def both(human, root, people):
    """What the published routine finds, and what ours does from the same start."""
    drawn, seen = people
    noise = 0.1 * torch.randn(4, 24, 3, generator=torch.Generator().manual_seed(0))
    start = Start((drawn.rotvec + noise).double(), 0.5 * drawn.betas.double(), drawn.camera.to(torch.float64))
    with np.load(root / "data" / "pose_prior.npz") as file:
        prior = priors.mixture(file["means"], file["covars"], file["weights"])
    ours = smplify.fit(human.to(torch.float64), prior, seen, start, smplify.published(steps=STEPS))
    return ours, Published(root, 4).fit(seen, start), start


def test_two_stages_of_adam_end_where_the_published_routine_does(both):
    ours, ((orient, pose, betas, translation), _, _), start = both
    tolerance = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(ours.camera.translation, translation, **tolerance)
    torch.testing.assert_close(ours.rotvec[:, 0], orient, **tolerance)
    torch.testing.assert_close(ours.rotvec[:, 1:].flatten(1), pose, **tolerance)
    torch.testing.assert_close(ours.betas, betas, **tolerance)
    # Every parameter has moved, so agreement is no accident of standing still.
    assert (ours.rotvec - start.rotvec).abs().min() > 1e-4
    assert (ours.camera.translation - start.camera.translation).abs().max() > 1e-3


def test_the_error_is_the_published_mean_over_all_49(both):
    ours, (_, _, error), _ = both
    torch.testing.assert_close(ours.error, error, atol=1e-4, rtol=1e-6)
    assert ours.usable.all() and (ours.iterations == 2 * STEPS).all()


def test_in_float32_the_published_routine_differs_by_rounding_only(human, people, both):
    _, seen = people
    ours, _, start = both
    rounded = Start(start.rotvec.float(), start.betas.float(), start.camera.to(torch.float32))
    found = smplify.fit(human, priors.load(), seen.to(torch.float32), rounded, smplify.published(steps=STEPS))
    torch.testing.assert_close(found.rotvec.double(), ours.rotvec, atol=2e-4, rtol=0)
    torch.testing.assert_close(found.betas.double(), ours.betas, atol=2e-4, rtol=0)
