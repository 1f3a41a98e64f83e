"""The dictionary explorer's numbers: sorted once, so that a slider only looks them up."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from spinkit import evaluate
from spinkit.body import Body
from spinkit.data import Samples
from spinkit.fits import ACCEPTED, REJECTED
from spinkit.job import Peek

MEASURED = 2000
"""People at most who are posed to compare them with their truth: more would keep the reader waiting."""
MOMENTS = 41
"""Places in time at which the crowd is looked at."""
PERCENTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class Ledger:
    """A run's dictionary in columns, one number a sample."""

    run: Peek
    error: Float[np.ndarray, "n"]
    """Of the stored fits, px^2, each judged in the crop in which it was kept."""
    began: Float[np.ndarray, "n"]
    """Of the fits at the start: what the first update found, or the stored error where there was none."""
    shape: Float[np.ndarray, "n"]
    """Largest absolute beta."""
    key: Int[np.ndarray, "events"]
    step: Int[np.ndarray, "events"]
    before: Float[np.ndarray, "events"]
    after: Float[np.ndarray, "events"]

    @classmethod
    def of(cls, run: Peek) -> "Ledger":
        """The columns of a run."""
        fits, events = run.fits, run.fits.events()
        key, step, before, after = (v.numpy() for v in (events.key, events.step, events.before, events.after))
        error = fits.error.numpy()
        began = error.copy()
        # Backwards, so that what stays is each sample's first update.
        began[key[::-1]] = before[::-1]
        return cls(run, error, began, fits.betas.abs().amax(dim=1).numpy(), key, step, before, after)

    def __len__(self) -> int:
        return len(self.error)

    @property
    def gain(self) -> Float[np.ndarray, "n"]:
        """Error lost since the start, px^2; a fit that was of no use gained without limit."""
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(self.began - self.error, nan=0.0, posinf=np.inf, neginf=-np.inf)

    def seen_error(self) -> Float[np.ndarray, "n"]:
        """Errors as the threshold sees them: what a person accepted passes, what one rejected does not."""
        ruling = self.run.fits.ruling.numpy()
        return np.where(ruling == ACCEPTED, -np.inf, np.where(ruling == REJECTED, np.inf, self.error))

    def line(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Steps and errors of one sample from the start to now, each update as a pair: before and after."""
        rows = np.flatnonzero(self.key == key)
        steps = np.concatenate([[0], np.repeat(self.step[rows], 2), [self.run.steps_done]])
        errors = np.stack([self.before[rows], self.after[rows]], axis=1).ravel()
        return steps, np.concatenate([[self.began[key]], errors, [self.error[key]]])

    def crowd(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments, and the percentiles of all errors at each: (MOMENTS,), (MOMENTS, percentiles)."""
        moments = np.linspace(0, max(1, self.run.steps_done), MOMENTS)
        # Events are stored in order. The last one of a sample stays, as NumPy promises for repeated places.
        ends = np.searchsorted(self.step, moments, side="right")
        now, rows, first = self.began.copy(), [], 0
        for end in ends:
            now[self.key[first:end]] = self.after[first:end]
            first = end
            rows.append(np.percentile(now, PERCENTILES, method="lower"))
        return moments, np.stack(rows)


@dataclass(frozen=True)
class Distance:
    """How far stored fits are from the truth, for the samples whose truth is known."""

    key: Int[np.ndarray, "k"]
    pa_mpjpe: Float[np.ndarray, "k"]
    """Millimetres."""
    mpjpe: Float[np.ndarray, "k"]
    betas: Float[np.ndarray, "k"]
    """Length of the difference of the betas from the true ones."""
    average: Float[np.ndarray, "k"]
    """The same, where the betas are taken to be zero."""
    known: int
    """Samples whose truth is known; no more than `MEASURED` of them are measured."""


def distance(ledger: Ledger, people: Samples, body: Body, keys: Int[np.ndarray, "k"] | None = None) -> Distance | None:
    """Measures stored fits against the truth.

    Args:
        ledger: of the run.
        people: its training set.
        body: that the fits are of.
        keys: whom to measure; by default all whose truth is known, or of many some, evenly spread over all errors.

    Returns:
        None where no truth is known.
    """
    truth = people.judge if people.judge is not None else people.labels
    known = np.flatnonzero(truth.has_smpl.numpy())
    if not len(known):
        return None
    if keys is None:
        order = known[np.argsort(ledger.error[known], kind="stable")]
        keys = order[np.linspace(0, len(order) - 1, min(MEASURED, len(order))).round().astype(int)]
    keys = torch.from_numpy(keys)
    fits, true = ledger.run.fits, truth[keys]
    scores = evaluate.score_fits(body, fits.rotvec[keys], fits.betas[keys], true)
    return Distance(
        key=keys.numpy(),
        pa_mpjpe=1000 * scores.pa_mpjpe.numpy(),
        mpjpe=1000 * scores.mpjpe.numpy(),
        betas=(fits.betas[keys] - true.betas).norm(dim=1).numpy(),
        average=true.betas.norm(dim=1).numpy(),
        known=len(known),
    )


@dataclass(frozen=True)
class Kept:
    """What a threshold lets through, or what a limit of the betas leaves as it is."""

    count: int
    share: float
    pa_mpjpe: float
    """Mean of those kept, millimetres; not a number where none of them was measured."""
    mpjpe: float


class Threshold:
    """Who supervises under any threshold, and how far from the truth they are: one sort, then only look-ups."""

    def __init__(self, ledger: Ledger, truth: Distance | None):
        seen = ledger.seen_error()
        self.order = np.argsort(seen, kind="stable")
        self.sorted = seen[self.order]
        self.truth = truth
        if truth is not None:
            order = np.argsort(seen[truth.key], kind="stable")
            self.measured = seen[truth.key][order]
            self.sums = [_sums(values[order]) for values in (truth.pa_mpjpe, truth.mpjpe)]

    def place(self, threshold: float) -> int:
        """How many errors lie below a threshold."""
        return int(np.searchsorted(self.sorted, threshold, side="left"))

    def kept(self, threshold: float) -> Kept:
        """Who supervises under a threshold, px^2."""
        count, means = self.place(threshold), [np.nan, np.nan]
        if self.truth is not None:
            place = int(np.searchsorted(self.measured, threshold, side="left"))
            means = [float(sums[place] / place) if place else np.nan for sums in self.sums]
        return Kept(count, count / len(self.sorted), *means)

    def curve(self, thresholds: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t 2"]:
        """Mean PA-MPJPE and MPJPE of those kept, millimetres, at many thresholds."""
        return np.array([[(k := self.kept(t)).pa_mpjpe, k.mpjpe] for t in thresholds])

    def edge(self, threshold: float, count: int) -> Int[np.ndarray, "count"]:
        """Samples on both sides of a threshold, half of them just kept and half just refused."""
        low = max(0, min(self.place(threshold) - count // 2, len(self.order) - count))
        return self.order[low : low + count]


class ShapeLimit:
    """Whose betas are not believed under any limit, and what that does to their distance from the truth."""

    def __init__(self, ledger: Ledger, truth: Distance | None):
        self.sorted = np.sort(ledger.shape)
        self.truth = truth
        if truth is not None:
            order = np.argsort(ledger.shape[truth.key], kind="stable")
            self.measured = ledger.shape[truth.key][order]
            self.found, self.average = _sums(truth.betas[order]), _sums(truth.average[order])

    def affected(self, limit: float) -> int:
        """How many fits have a beta beyond a limit."""
        return len(self.sorted) - int(np.searchsorted(self.sorted, limit, side="right"))

    def away(self, limit: float) -> tuple[float, float]:
        """Mean distance of the betas from the true ones, of those affected: as found, and after the rule."""
        if self.truth is None:
            return np.nan, np.nan
        place = int(np.searchsorted(self.measured, limit, side="right"))
        beyond = len(self.measured) - place
        if not beyond:
            return np.nan, np.nan
        found, average = (float((sums[-1] - sums[place]) / beyond) for sums in (self.found, self.average))
        return found, average


def _sums(values: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k1"]:
    """Sums of the first 0, 1, ... k values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


SORTS = (
    "gained most",
    "lost most",
    "largest error",
    "smallest error",
    "at the threshold",
    "farthest from the truth",
    "nearest to the truth",
    "largest beta",
    "most updates",
)


def ranked(ledger: Ledger, sort: str, truth: Distance | None) -> Int[np.ndarray, "m"]:
    """Samples in the order of a gallery.

    Args:
        ledger: of the run.
        sort: one of `SORTS`, but for "at the threshold", which `Threshold.edge` answers.
        truth: for the sorts by it; without one they list nobody.
    """
    if sort.endswith("the truth"):
        if truth is None:
            return np.zeros(0, dtype=np.int64)
        return truth.key[np.argsort(truth.pa_mpjpe if sort.startswith("nearest") else -truth.pa_mpjpe, kind="stable")]
    values = {
        "gained most": -ledger.gain,
        "lost most": ledger.gain,
        "largest error": -ledger.error,
        "smallest error": ledger.error,
        "largest beta": -ledger.shape,
        "most updates": -ledger.run.fits.updates.numpy(),
    }[sort]
    return np.argsort(values, kind="stable")


def history_column(history: list[dict], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one of the history's numbers, where it was noted."""
    found = [(record["step"], record[name]) for record in history if name in record]
    return [step for step, _ in found], [value for _, value in found]
