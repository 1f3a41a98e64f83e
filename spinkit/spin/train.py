"""The training loop, resumable at every snapshot: on a CPU its end is the same, bit for bit, as if unbroken."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spinkit import data, shelf
from spinkit.crop import Change
from spinkit.data import Samples
from spinkit.fits import FitDictionary
from spinkit.progress import progress_bar
from spinkit.spin import checkpoint
from spinkit.spin.interrupting import noted_interrupts
from spinkit.spin.packing import pack, unpack
from spinkit.spin.settings import SpinSettings
from spinkit.spin.step import Outcome, World, step
from spinkit.spin.watching import guarded

LOG_EVERY = 25
"""Steps between two records of the history."""
NAMED = 10
"""Samples that a report names; more it only counts."""


@dataclass
class Run:
    """A run's state: what a snapshot holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    fits: FitDictionary
    steps_done: int = 0
    history: list[dict] = field(default_factory=list)
    """Records in order; those of training have `loss_total`, those of judging what the judge returned."""
    settings: dict = field(default_factory=dict)
    """What the run was told, as JSON has it; for the snapshots, so that each says what it is of."""
    tally: "_Tally" = field(default_factory=lambda: _Tally())
    """What was noted since the last record."""

    @classmethod
    def begin(cls, model: nn.Module, fits: FitDictionary, settings: SpinSettings) -> "Run":
        """A run that has not taken a step."""
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return cls(model, optimizer, fits, settings=json.loads(json.dumps(asdict(settings))))

    def resume(self, folder: Path) -> bool:
        """Go on from the newest whole snapshot in `folder`, where there is one; says whether there was.

        Raises:
            ValueError: no snapshot is whole, or the newest is of another network or of a newer program.
        """
        snapshot = shelf.newest_if_any(folder)
        if snapshot is None:
            return False
        self.steps_done, self.fits, self.history = checkpoint.load(snapshot, self.model, self.optimizer)
        self.tally = _restored(checkpoint.beside(snapshot), next(self.model.parameters()).device)
        return True

    def save(self, folder: Path) -> Path:
        """Write a snapshot."""
        tensors = {}
        # Not the clock, which starts anew with the machine.
        tally = pack({name: value for name, value in vars(self.tally).items() if name != "since"}, tensors)
        beside = checkpoint.Beside(self.settings, tally, tensors)
        return checkpoint.save(folder, self.steps_done, self.model, self.optimizer, self.fits, self.history, beside)


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
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Train to the end of `world.settings.steps`, from wherever the run is.

    Args:
        run: model, optimiser, dictionary; written to.
        samples: what to train on. Its `judge` is looked at in the mode `oracle` only.
        world: body, prior, settings.
        schedule: when to judge and to save.
        judge: measures a run; its numbers join the history.
        watch: called whenever the history has grown, to show it; it must not change the run. Should it fail, that is
            reported and the training goes on without it.

    Raises:
        FloatingPointError: `max_bad_steps` steps in a row came to nothing, or more samples than `max_bad_share` had to
            be left out. A snapshot was written; no bad step is in it.
        KeyboardInterrupt: after a Ctrl-C: when the step was done and a snapshot written. A second Ctrl-C raises it at
            once, amid a step: then the run given is of no more use, and the newest snapshot is good.
    """
    schedule = schedule or Schedule()
    samples = labelled_for(samples, world.settings)
    tally = run.tally
    tally.begin()
    numbers = range(run.steps_done, world.settings.steps)
    bar = progress_bar(numbers, world.settings.steps, "training", run.steps_done, schedule.progress)
    show = guarded(watch)
    with noted_interrupts() as interrupt:
        for number in bar:
            tally.add(one_step(run, samples, world, number))
            run.steps_done = number + 1
            if trouble := tally.trouble(world.settings):
                _give_up(run, schedule, trouble)
            told = len(run.history)
            _look_up(run, world.settings, schedule, judge, tally, bar)
            if len(run.history) > told:
                show(run)
            if interrupt.made:
                break
    if interrupt.made:
        _end_here(run, schedule, world.settings)
    return run


def _end_here(run: Run, schedule: Schedule, settings: SpinSettings) -> None:
    """What follows a Ctrl-C: a snapshot, and word of how to go on."""
    where = f"All of it is in {_saved(run, schedule.folder)}. " if schedule.folder is not None else ""
    raise KeyboardInterrupt(
        f"interrupted after step {run.steps_done} of {settings.steps}. {where}To go on, run this again; in a notebook, "
        "this cell. The end will be the same as if nothing had happened."
    )


def _saved(run: Run, folder: Path) -> Path:
    """The snapshot of where the run is: a second of the same step would only crowd out the one before."""
    newest = checkpoint.newest(folder)
    return newest if newest is not None and shelf.step_of(newest) == run.steps_done else run.save(folder)


def _give_up(run: Run, schedule: Schedule, trouble: str) -> None:
    """What follows too many bad steps or samples: a snapshot, of which they are no part, and word of what they were."""
    kept = f" All up to step {run.steps_done} is in {run.save(schedule.folder)}." if schedule.folder is not None else ""
    raise FloatingPointError(trouble + kept)


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
    batch = data.make_batch(samples, key, change, settings.image_size, lenient=True)
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
    """Averages since the last record, and what was left out of the training."""

    def __init__(self):
        self.outcomes: list[Outcome] = []
        self.since, self.bad, self.skipped, self.left_out = time.monotonic(), 0, 0, 0
        self.shares: list[tuple[int, int]] = []
        """Of the last steps: samples left out, and samples that stayed."""
        self.refused: dict[int, str] = {}
        """Every sample that was ever left out, and why."""
        self.told = 0
        """Of these, how many the history knows."""

    def begin(self) -> None:
        """A training begins, or goes on: the clock starts anew, and so does what would stop it."""
        self.since, self.bad, self.shares = time.monotonic(), 0, []

    def add(self, outcome: Outcome) -> None:
        self.bad = 0 if outcome.applied else self.bad + 1
        self.skipped += not outcome.applied
        self.left_out += len(outcome.refused)
        self.shares.append((len(outcome.refused), len(outcome.valid)))
        self.refused |= outcome.refused
        if outcome.applied:
            # Without their graphs, which would keep every activation of the last steps alive.
            self.outcomes.append(replace(outcome, losses={n: loss.detach() for n, loss in outcome.losses.items()}))

    def trouble(self, settings: SpinSettings) -> str:
        """Why the training should stop; empty where it should not."""
        self.shares = self.shares[-settings.max_bad_steps :]
        left_out, stayed = (sum(counts) for counts in zip(*self.shares, strict=True))
        if self.bad >= settings.max_bad_steps:
            return (
                f"loss or gradient was not finite for {self.bad} steps in a row; none of them was applied. "
                f"Lower learning_rate, or look at the images and keypoints. {self.report()}"
            )
        if len(self.shares) == settings.max_bad_steps and left_out > settings.max_bad_share * (left_out + stayed):
            return (
                f"{left_out} of {left_out + stayed} samples of the last {len(self.shares)} steps were left out, "
                f"more than max_bad_share = {settings.max_bad_share:g} allows. {self.report()}"
            )
        return ""

    def report(self) -> str:
        """Which samples were left out, and why."""
        named = [f"sample {key}: {why}" for key, why in list(self.refused.items())[:NAMED]]
        more = [f"and {len(self.refused) - NAMED} more"] if len(self.refused) > NAMED else []
        return f"Left out: {'; '.join(named + more)}." if named else "No sample was left out."

    def record(self, number: int) -> dict[str, float | int | dict[str, str]]:
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
        counts = {"skipped": self.skipped, "bad_samples": self.left_out, "seconds": time.monotonic() - self.since}
        # Words as keys, because JSON would make them of numbers.
        new = {str(key): why for key, why in list(self.refused.items())[self.told :][:NAMED]}
        self.outcomes, self.skipped, self.left_out, self.told = [], 0, 0, len(self.refused)
        self.since = time.monotonic()
        return {"step": number, **mean, **shares, **error, **counts, **({"left_out": new} if new else {})}


def _restored(beside: checkpoint.Beside, device: torch.device) -> _Tally:
    """The tally of a snapshot; a fresh one from a snapshot of format 1."""
    tally = _Tally()
    if beside.tally:
        vars(tally).update(unpack(beside.tally, beside.tensors, device))
    return tally


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
