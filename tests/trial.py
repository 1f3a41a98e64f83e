"""A small training for tests: a crowd on pictures of noise, a small network, four steps."""

import math
from dataclasses import dataclass, replace

import crowd
import roma
import torch

from spinkit import data, hmr, spin
from spinkit.crop import Change
from spinkit.data import Samples, StoredImages, Truth
from spinkit.fits import FitDictionary
from spinkit.hmr import Regression
from spinkit.spin import Run, Schedule, SpinSettings, World

COUNT = 12
QUICK = SpinSettings(steps=4, batch_size=4, image_size=64, learning_rate=3e-4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_people(human):
    """People with keypoints and a hidden truth, on pictures of noise; nobody is labelled."""
    drawn = crowd.draw(human, COUNT)
    points = human.keypoints(roma.rotvec_to_rotmat(drawn.rotvec), drawn.betas)[:, 25:]
    joints = torch.cat([points - points[:, 14:15], torch.ones(COUNT, 24, 1)], dim=-1)
    known = torch.ones(COUNT, dtype=torch.bool)
    return Samples(
        name="crowd",
        images=StoredImages(torch.randint(0, 256, (COUNT, 3, 80, 80), dtype=torch.uint8, generator=seeded())),
        keypoints=drawn.keypoints,
        labels=Truth.none(COUNT),
        judge=Truth(drawn.rotvec, drawn.betas, known, joints, known),
        margin=1.25,
    )


def labelled(samples, rows):
    """The same people, of whom some wear their truth as a label."""
    shown = torch.zeros(len(samples), dtype=torch.bool)
    shown[rows] = True
    truth = samples.judge
    labels = Truth(
        truth.rotvec * shown[:, None, None],
        truth.betas * shown[:, None],
        shown,
        truth.joints * shown[:, None, None],
        shown,
    )
    return replace(samples, labels=labels)


def mean_dictionary(prior):
    """What knows nothing: the mean pose, upright, of everyone."""
    pose = torch.cat([torch.tensor([math.pi, 0, 0]), prior.mean_pose()]).reshape(1, 24, 3)
    return FitDictionary(
        pose.repeat(COUNT, 1, 1), torch.zeros(COUNT, 10), torch.full((COUNT,), torch.inf), torch.tensor([0, 5])
    )


def true_dictionary(samples, betas=None):
    truth = samples.judge
    return FitDictionary(truth.rotvec, truth.betas if betas is None else betas, torch.zeros(COUNT))


@dataclass
class Trial:
    """One training, begun as every other."""

    human: object
    prior: object
    samples: Samples
    settings: SpinSettings = QUICK

    def begin(self):
        mean = hmr.mean_parameters(self.prior.mean_pose())
        model = hmr.HMR("small", mean, generator=seeded())
        return Run.begin(model, mean_dictionary(self.prior), self.settings)

    @property
    def world(self):
        return World(self.human, self.prior, self.settings)

    def train(self, run=None, schedule=None, judge=None):
        schedule = schedule or Schedule(progress=False)
        return spin.train(run or self.begin(), self.samples, self.world, schedule, judge)


def batch_of(samples, change=None):
    keys = torch.arange(len(samples))
    return data.make_batch(samples, keys, change or Change.none(len(keys)), 64)


def said_by(samples, noise=0.1, seed=0):
    """A network's answer near the truth."""
    truth = samples.judge
    rotvec = truth.rotvec + noise * torch.randn(truth.rotvec.shape, generator=seeded(seed))
    weak = torch.tensor([0.9, 0.0, 0.0]) + 0.05 * torch.randn(len(samples), 3, generator=seeded(seed + 1))
    return Regression(roma.rotvec_to_rotmat(rotvec), 0.5 * truth.betas, weak)


def same_weights(one, other):
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
