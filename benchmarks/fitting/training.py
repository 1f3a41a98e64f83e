"""What fits cost inside training: steps with and without them, taken in turns by the same network."""

from dataclasses import dataclass, replace

import torch

from fitting.clock import in_turns
from fitting.routines import World
from fitting.samples import Crowd
from spinkit import hmr, job, smplify, spin
from spinkit.data import Samples, StoredImages, Truth
from spinkit.fits import FitDictionary
from spinkit.job import Preset
from spinkit.smplify import Start
from spinkit.spin import Run
from spinkit.spin.train import one_step


@dataclass(frozen=True)
class Case:
    """One kind of training step."""

    preset: str
    """Whose network, images and settings."""
    batch: int


USUAL = (Case("cpu", 64),)
LARGE = (Case("gpu", 64), Case("gpu", 256))
"""ResNet-50 at 224 pixels."""


def measure(world: World, crowd: Crowd, starts: Start, case: Case, repeats: int) -> dict[str, float | str]:
    """Seconds of a step that only reads its dictionary and of one that fits too, and of the bare fit.

    Pictures are noise: nothing here takes longer for a person in it. The network is fresh, so its answers, from which
    the step fits, are near the mean body; the bare fit goes from `starts`.
    """
    crowd, starts = crowd[: case.batch], starts[: case.batch]
    preset = job.choose(case.preset)
    settings = replace(preset.spin, batch_size=case.batch, first_fit_step=0)
    run = begin(world, crowd, preset)
    samples = pictured(crowd, preset)

    def step(mode: str) -> None:
        told = replace(settings, mode=mode)
        one_step(run, samples, spin.World(world.body, world.prior, told), 0)

    def bare_fit() -> None:
        smplify.fit(world.body, world.prior, crowd.keypoints, starts, settings.fit)

    calls = {"without fits": lambda: step("static"), "with fits": lambda: step("loop"), "bare fit": bare_fit}
    seconds = in_turns(calls, repeats, world.device)
    return {
        "network": f"{preset.backbone}, {settings.image_size} px, batch {case.batch}",
        **seconds,
        "share_of_step": 1 - seconds["without fits"] / seconds["with fits"],
        "bare_fit_over_step": seconds["bare fit"] / seconds["with fits"],
    }


def begin(world: World, crowd: Crowd, preset: Preset) -> Run:
    """A fresh network, and a dictionary of mean bodies."""
    mean = hmr.mean_parameters(world.prior.mean_pose().cpu())
    model = hmr.HMR(preset.backbone, mean, preset.dropout, torch.Generator().manual_seed(0))
    model = model.to(world.device, memory_format=torch.channels_last)
    count = len(crowd)
    nobody = FitDictionary(torch.zeros(count, 24, 3), torch.zeros(count, 10), torch.full((count,), torch.inf))
    return Run.begin(model, nobody, preset.spin)


def pictured(crowd: Crowd, preset: Preset) -> Samples:
    """The people with pictures of noise, unlabelled, as a training set."""
    side, count = preset.people.stored_size, len(crowd)
    noise = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Samples(
        name="noise",
        images=StoredImages(noise),
        keypoints=crowd.keypoints.to("cpu"),
        labels=Truth.none(count),
        judge=None,
        margin=preset.people.stored_margin,
    )
