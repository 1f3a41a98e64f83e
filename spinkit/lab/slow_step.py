"""One step of the loop with everything that passes through it, taken on copies so that the run stays as it is."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import data, smplify, spin
from spinkit.crop import Change
from spinkit.data import Batch, Samples
from spinkit.fits import FitDictionary
from spinkit.hmr import Regression
from spinkit.smplify import Fit, Start
from spinkit.spin import Outcome, Run, SpinSettings, Target, World
from spinkit.spin.step import Bodies, charge


@dataclass(frozen=True)
class SlowStep:
    """What a step of the loop took in, made and left, each for the whole batch."""

    number: int
    batch: Batch
    said: Regression
    """The network's answer, in training mode."""
    start: Start
    """The same as the start of a fit."""
    stored: Bodies
    """The dictionary's fits before the step, as these crops show them."""
    new: Fit | None
    """None where this step makes no fits."""
    target: Target
    outcome: Outcome
    """What the step itself told."""
    charges: tuple[Tensor, Tensor] | None
    """px^2 of the stored and of the new fits, distance from the start included, where that decides who is better."""
    bent: Bool[Tensor, "b"]
    """Whose betas were too improbable to supervise; zeros stand in for them."""

    @property
    def order(self) -> Int[Tensor, "b"]:
        """All rows of the batch, those whose new fit won and those whose stored fit stayed in turns."""
        won = self.outcome.updated
        winners, losers = won.nonzero()[:, 0].tolist(), (~won).nonzero()[:, 0].tolist()
        shared = [row for pair in zip(winners, losers, strict=False) for row in pair]
        return torch.tensor(shared + winners[len(losers) :] + losers[len(winners) :])

    @property
    def verdict(self) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """The numbers that were compared, of the stored and of the new fits, px^2."""
        return self.charges or (self.outcome.old_error, self.outcome.new_error)


def slow_step(run: Run, samples: Samples, world: World, number: int) -> SlowStep:
    """Take one step of training on copies, and keep what is otherwise forgotten at once.

    Args:
        run: whose network and dictionary are copied; left as it is.
        samples: of the training.
        world: body, prior, settings.
        number: of the step, which decides batch and augmentation.

    Raises:
        ValueError: samples of this batch cannot be used, so that the step is not what it should be.
    """
    settings, samples = world.settings, spin.labelled_for(samples, world.settings)
    model = copy.deepcopy(run.model)
    heard: list[Regression] = []
    # The step's own answer: dropout and the batch's averages would make another one differ.
    model.register_forward_hook(lambda network, given, answer: heard.append(answer.detach()))
    outcome = spin.one_step(Run.begin(model, copied(run.fits), settings), samples, world, number)
    if outcome.refused or not heard:
        raise ValueError(f"step {number} leaves out {len(outcome.refused)} samples; look at another step")
    said = Regression(heard[0].rotmat.float(), heard[0].betas.float(), heard[0].weak.float())
    batch = batch_of(samples, settings, number, said.weak.device)
    target, *_ = spin.supervise(said, batch, copied(run.fits), world, number)
    start = spin.start_from(said)
    stored, new, charges = Bodies(*run.fits.read(batch.key, batch.change)), None, None
    if settings.mode == "loop" and number >= settings.first_fit_step:
        new = smplify.fit(world.body, world.prior, batch.keypoints, start, settings.fit)
    if new is not None and settings.judge == "objective":
        both = (stored, Bodies(new.rotvec, new.betas))
        charges = tuple(charge(bodies, start.rotvec, batch.keypoints, world) for bodies in both)
    kept = torch.where(outcome.updated[:, None], new.betas, stored.betas) if new is not None else stored.betas
    bent = (kept.abs() > settings.betas_limit).any(dim=1)
    return SlowStep(number, batch, said, start, stored, new, target, outcome, charges, bent)


def copied(fits: FitDictionary) -> FitDictionary:
    """A dictionary to write into."""
    return FitDictionary.from_arrays(fits.arrays())


def batch_of(samples: Samples, settings: SpinSettings, number: int, device: torch.device | str) -> Batch:
    """The batch of a step of training, which its number decides."""
    key = spin.batch_keys(len(samples), settings, number, samples.weight)
    change = Change.random(len(key), spin.step_generator(settings.seed, number), settings.augmentation)
    return data.make_batch(samples, key, change.to(device), settings.image_size)


def weighed(step: SlowStep, settings: SpinSettings) -> dict[str, float]:
    """What every loss adds to the total that descends, by name: no unit, but all on one scale."""
    weights = spin.loss_weights(settings)
    parts = {name: loss for name, loss in step.outcome.losses.items() if name != "total"}
    return {name: settings.loss_scale * weights[name] * float(loss.detach()) for name, loss in parts.items()}
