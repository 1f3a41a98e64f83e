"""The training loop, resumable at every snapshot."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from spinkit import data
from spinkit.crop import Change
from spinkit.data import Samples
from spinkit.fits import FitDictionary
from spinkit.spin import checkpoint
from spinkit.spin.settings import SpinSettings
from spinkit.spin.step import Outcome, World, step

LOG_EVERY = 25
"""Steps between two records of the history."""


@dataclass
class Run:
    """A run's state: what a snapshot holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    fits: FitDictionary
    steps_done: int = 0
    history: list[dict] = field(default_factory=list)
    """Records in order; those of training have `loss`, those of judging what the judge returned."""

    @classmethod
    def begin(cls, model: nn.Module, fits: FitDictionary, settings: SpinSettings) -> "Run":
        """A run that has not taken a step."""
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return cls(model, optimizer, fits)

    def resume(self, folder: Path) -> bool:
        """Go on from the newest snapshot in `folder`, where there is one; says whether there was."""
        snapshot = checkpoint.newest(folder)
        if snapshot is None:
            return False
        self.steps_done, self.fits, self.history = checkpoint.load(snapshot, self.model, self.optimizer)
        return True

    def save(self, folder: Path) -> Path:
        """Write a snapshot."""
        return checkpoint.save(folder, self.steps_done, self.model, self.optimizer, self.fits, self.history)


@dataclass(frozen=True)
class Schedule:
    """When the loop looks up from its work. Steps; zero for never."""

    judge_every: int = 0
    save_every: int = 0
    folder: Path | None = None
    """Where snapshots go."""
    progress: bool = True


def train(
    run: Run,
    samples: Samples,
    world: World,
    schedule: Schedule | None = None,
    judge: Callable[[Run], dict[str, float]] | None = None,
) -> Run:
    """Train to the end of `world.settings.steps`, from wherever the run is.

    Args:
        run: model, optimiser, dictionary; written to.
        samples: what to train on. Its `judge` is looked at in the mode `oracle` only.
        world: body, prior, settings.
        schedule: when to judge and to save.
        judge: measures a run; its numbers join the history.

    Raises:
        FloatingPointError: the loss was not finite `max_bad_steps` times in a row. The newest snapshot is good.
        KeyboardInterrupt: passed on after a snapshot was written.
    """
    schedule = schedule or Schedule()
    samples = labelled_for(samples, world.settings)
    tally = _Tally()
    numbers = range(run.steps_done, world.settings.steps)
    bar = tqdm(
        numbers,
        initial=run.steps_done,
        total=world.settings.steps,
        disable=not schedule.progress,
        mininterval=5,
    )
    try:
        for number in bar:
            tally.add(one_step(run, samples, world, number))
            run.steps_done = number + 1
            tally.check(world.settings)
            _look_up(run, world.settings, schedule, judge, tally, bar)
    except KeyboardInterrupt:
        if schedule.folder is not None:
            print(f"interrupted: {run.save(schedule.folder)} holds all up to step {run.steps_done}; run again to go on")
        raise
    return run


def one_step(run: Run, samples: Samples, world: World, number: int) -> Outcome:
    """Draw a batch, take the step, descend. A loss or gradient that is not finite changes no weight.

    Args:
        run: model, optimiser, dictionary; written to.
        samples: what to train on, as `labelled_for` gives it.
        world: body, prior, settings.
        number: of the step, which decides batch and augmentation.
    """
    settings = world.settings
    device = next(run.model.parameters()).device
    generator = step_generator(settings.seed, number)
    key = batch_keys(len(samples), settings, number, samples.weight)
    change = Change.random(len(key), generator, settings.augmentation).to(device)
    batch = data.make_batch(samples, key, change, settings.image_size)
    run.model.train()
    averages = [buffer.clone() for buffer in run.model.buffers()]
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(settings, number)
    # Dropout draws from the global generator; seeding it by the step makes a resumed run equal to an unbroken one.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        outcome = step(run.model, batch, run.fits, world, number)
    if _descend(run, outcome.losses["total"], settings):
        return outcome
    _restore(run.model, averages)
    return replace(outcome, applied=False)


def _descend(run: Run, total: Float[Tensor, ""], settings: SpinSettings) -> bool:
    """Follow the gradient, where loss and gradient are finite; says whether they were."""
    run.optimizer.zero_grad()
    if not total.isfinite():
        return False
    total.backward()
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip_gradient or math.inf)
    if not norm.isfinite():
        return False
    run.optimizer.step()
    return True


@torch.no_grad()
def _restore(model: nn.Module, averages: list[Tensor]) -> None:
    """Undo what a forward pass did to the running averages of normalisation, which one infinite image would spoil."""
    for buffer, before in zip(model.buffers(), averages, strict=True):
        buffer.copy_(before)


def step_generator(seed: int, number: int) -> torch.Generator:
    """The random source of one step: a function of the run's seed and the step's number alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)


def batch_keys(
    count: int, settings: SpinSettings, number: int, weight: Float[Tensor, "count"] | None = None
) -> Int[Tensor, "b"]:
    """The samples of a step: a function of the run's seed and the step's number alone.

    Each epoch goes once through a fresh order, and its last batch runs into the next. Weighted samples are drawn by
    their weights instead, each batch for itself, as SPIN draws from its mixture of sets.
    """
    if weight is not None:
        # Negative, because the generator of the seed itself draws the augmentation: both would see the same numbers.
        return data.draw_keys(weight, settings.batch_size, step_generator(-1 - settings.seed, number))
    first = number * settings.batch_size
    keys = []
    while len(keys) < settings.batch_size:
        epoch, place = divmod(first + len(keys), count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed * 7919 + epoch))
        keys += order[place : place + settings.batch_size - len(keys)].tolist()
    return torch.tensor(keys)


def learning_rate(settings: SpinSettings, number: int) -> float:
    """Rising over `warmup` steps, then along half a cosine to its final share."""
    rise = min(1.0, (number + 1) / max(1, settings.warmup))
    along = 0.5 * (1 + math.cos(math.pi * number / settings.steps))
    return settings.learning_rate * rise * (settings.final_learning_rate + (1 - settings.final_learning_rate) * along)


def labelled_for(samples: Samples, settings: SpinSettings) -> Samples:
    """The samples as a mode may see them: in `oracle`, what only judges know becomes the label."""
    if settings.mode != "oracle":
        return samples
    if samples.judge is None:
        raise ValueError(f"{samples.name}: mode 'oracle' needs true parameters, and this set has none; use 'loop'.")
    # Parameters only, so that what differs between the modes is who supervises and not by what.
    return replace(samples, labels=replace(samples.judge, has_pose_3d=torch.zeros_like(samples.judge.has_pose_3d)))


class _Tally:
    """Averages since the last record."""

    def __init__(self):
        self.outcomes: list[Outcome] = []
        self.since, self.bad, self.skipped = time.monotonic(), 0, 0

    def add(self, outcome: Outcome) -> None:
        self.bad = 0 if outcome.applied else self.bad + 1
        self.skipped += not outcome.applied
        if outcome.applied:
            # Without their graphs, which would keep every activation of the last steps alive.
            self.outcomes.append(replace(outcome, losses={n: loss.detach() for n, loss in outcome.losses.items()}))

    def check(self, settings: SpinSettings) -> None:
        if self.bad >= settings.max_bad_steps:
            raise FloatingPointError(
                f"loss or gradient was not finite for {self.bad} steps in a row; none of them was applied. "
                "Lower learning_rate, or look at the images and keypoints; the newest snapshot is good."
            )

    def record(self, number: int) -> dict[str, float | int]:
        """One line of the history, and a fresh start."""
        outcomes = self.outcomes
        # A loss that needs labels is missing where a batch has none; its mean is over the others.
        names = dict.fromkeys(name for outcome in outcomes for name in outcome.losses)
        losses = {n: torch.stack([o.losses[n] for o in outcomes if n in o.losses]) for n in names}
        mean = {f"loss_{name}": float(values.mean()) for name, values in losses.items()}
        shares = {
            name: float(torch.stack([getattr(o, name).float().mean() for o in outcomes]).mean())
            for name in ("updated", "valid")
            if outcomes
        }
        old = torch.cat([o.old_error for o in outcomes]) if outcomes else torch.zeros(0)
        error = {"stored_error": float(old[old.isfinite()].median())} if old.isfinite().any() else {}
        spent, skipped = time.monotonic() - self.since, self.skipped
        self.outcomes, self.skipped, self.since = [], 0, time.monotonic()
        return {"step": number, **mean, **shares, **error, "skipped": skipped, "seconds": spent}


def _look_up(run: Run, settings: SpinSettings, schedule: Schedule, judge, tally: _Tally, bar) -> None:
    """Record, judge and save where it is time to."""
    done, last = run.steps_done, run.steps_done == settings.steps
    saving = schedule.folder is not None and schedule.save_every and (done % schedule.save_every == 0 or last)
    # Before a snapshot too, so that a run which goes on from it tells the same history as an unbroken one.
    if done % LOG_EVERY == 0 or last or saving:
        record = tally.record(done)
        run.history.append(record)
        bar.set_postfix(
            {k: f"{record[k]:.3g}" for k in ("loss_total", "updated", "valid") if k in record}, refresh=False
        )
    if judge is not None and schedule.judge_every and (done % schedule.judge_every == 0 or last):
        run.history.append({"step": done, **judge(run)})
    if saving:
        run.save(schedule.folder)
