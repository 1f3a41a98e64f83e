"""The three routines that are compared, behind one face."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fitting.published import Published
from spinkit import body as bodies
from spinkit import priors, smplify
from spinkit.body import Body
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify import Fit, SmplifySettings, Start

NAMES = {
    "published": "(a) the published routine over smplx's mesh, Adam",
    "adam": "(b) ours, Adam",
    "lm": "(c) ours, Levenberg-Marquardt",
}
"""What each routine is called in tables."""


@dataclass(frozen=True)
class Answer:
    """Where a routine ended, and after how many steps of both stages."""

    at: Start
    iterations: Tensor

    @staticmethod
    def of(found: Fit) -> "Answer":
        return Answer(Start(found.rotvec, found.betas, found.camera), found.iterations)


Routine = Callable[[Keypoints, Start], Answer]


@dataclass(frozen=True)
class World:
    """What every part of the benchmark needs: the shipped body and prior, on one device."""

    body: Body
    prior: Mixture
    device: torch.device

    @classmethod
    def on(cls, device: torch.device) -> "World":
        return cls(bodies.load().to(device), priors.load().to(device), device)


def routines(world: World, steps: int) -> dict[str, Routine]:
    """The three, with Adam's steps a stage; all work on the same body file."""
    released = Published(bodies.default_path(), priors.default_path(), steps, device=world.device)

    def published(keypoints: Keypoints, start: Start) -> Answer:
        at, _ = released.fit(keypoints, start)
        return Answer(at, torch.full_like(at.rotvec[:, 0, 0], 2 * steps, dtype=torch.int64))

    def ours(settings: SmplifySettings) -> Routine:
        return lambda keypoints, start: Answer.of(smplify.fit(world.body, world.prior, keypoints, start, settings))

    return {"published": published, "adam": ours(smplify.published(steps)), "lm": ours(smplify.quick())}
