"""The fits dictionary: the best fit of every image so far, and how it came to be.

Fits are stored as the untouched image shows them. An augmented crop reads its fit through its `Change`, and what it
writes has mirror and turn undone first. No camera is kept: it depends on the crop, and is solved for anew.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import crop, files
from spinkit.crop import Change

NEVER = -1
"""The step of a fit that training has not touched."""
LOOSE_RECORDS = 256
"""Batches of history that are kept apart; more are joined, for a small tensor takes many times its numbers' memory."""


@dataclass(frozen=True)
class Events:
    """Every update in the order in which it happened."""

    key: Int[Tensor, "events"]
    step: Int[Tensor, "events"]
    before: Float[Tensor, "events"]
    """Error of the fit that was replaced, px^2, judged in the crop of that step."""
    after: Float[Tensor, "events"]
    """Error of the fit that replaced it, judged in the same crop."""


@dataclass(frozen=True)
class Verdict:
    """How new fits compare with the stored ones, both judged in the crops of one step."""

    before: Float[Tensor, "b"]
    """Errors of the stored fits, px^2."""
    after: Float[Tensor, "b"]
    """Errors of the new fits, px^2."""
    better: Bool[Tensor, "b"]
    """Where the new fits are better: by these errors, or by whatever else the judge looks at."""


@dataclass(frozen=True)
class Snapshots:
    """The tracked samples' fits, once at the start and again after each update."""

    key: Int[Tensor, "shots"]
    step: Int[Tensor, "shots"]
    """`NEVER` for the fit at the start."""
    rotvec: Float[Tensor, "shots 24 3"]
    betas: Float[Tensor, "shots 10"]


class FitDictionary:
    """The best fit of each of n images, with its history. Training writes to it; everything else reads.

    Args:
        rotvec: the fits to begin with, (n 24 3), as the untouched images show them.
        betas: (n 10).
        error: their errors, px^2; infinite where a fit is not usable.
        tracked: samples of which every version is kept, for looking at later.
    """

    def __init__(
        self,
        rotvec: Float[Tensor, "n 24 3"],
        betas: Float[Tensor, "n 10"],
        error: Float[Tensor, "n"],
        tracked: Int[Tensor, "k"] | None = None,
    ):
        n = len(rotvec)
        if betas.shape != (n, 10) or error.shape != (n,):
            raise ValueError(f"fits: {n} poses, but betas {tuple(betas.shape)} and errors {tuple(error.shape)}")
        if not (rotvec.isfinite().all() and betas.isfinite().all()):
            raise ValueError("fits: poses or betas are not finite; leave such samples at the mean pose")
        self.rotvec, self.betas, self.error = rotvec.clone(), betas.clone(), error.clone()
        self.updates = torch.zeros(n, dtype=torch.int64)
        self.updated_at = torch.full((n,), NEVER, dtype=torch.int64)
        self.tracked = torch.zeros(n, dtype=torch.bool)
        self._events: list[Events] = []
        self._snapshots: list[Snapshots] = []
        if tracked is not None and len(tracked):
            self.tracked[tracked] = True
            self._snapshots.append(self._snapshot(tracked, NEVER))

    def __len__(self) -> int:
        return len(self.rotvec)

    def read(self, key: Int[Tensor, "b"], change: Change) -> tuple[Float[Tensor, "b 24 3"], Float[Tensor, "b 10"]]:
        """The stored fits as augmented crops show them: rotvec and betas, on the change's device."""
        device, key = change.turn.device, key.cpu()
        return crop.change_rotvec(change, self.rotvec[key].to(device)), self.betas[key].to(device)

    def write(
        self,
        key: Int[Tensor, "b"],
        change: Change,
        rotvec: Float[Tensor, "b 24 3"],
        betas: Float[Tensor, "b 10"],
        verdict: Verdict,
        step: int,
    ) -> Bool[Tensor, "b"]:
        """Keep new fits where they are better, mirror and turn undone.

        Args:
            key: samples; where one occurs twice in a batch, its better fit stays.
            change: how each crop was varied.
            rotvec: new poses, as the augmented crops show them.
            betas: new shapes.
            verdict: on both fits of each sample. A new fit without a finite error is never kept.
            step: of training, for the history.

        Returns:
            Which fits were kept.
        """
        before, after = verdict.before, verdict.after
        better = verdict.better & after.isfinite() & rotvec.isfinite().flatten(1).all(1) & betas.isfinite().all(1)
        better &= _first_best(key, after)
        rows = better.nonzero()[:, 0]
        where = key[rows].cpu()
        self.rotvec[where] = crop.restore_rotvec(change[rows], rotvec[rows]).cpu()
        self.betas[where] = betas[rows].cpu()
        self.error[where] = after[rows].cpu()
        self.updates[where] += 1
        self.updated_at[where] = step
        steps = torch.full_like(where, step)
        _append(self._events, Events(where, steps, before[rows].cpu(), after[rows].cpu()))
        watched = where[self.tracked[where]]
        if len(watched):
            _append(self._snapshots, self._snapshot(watched, step))
        return better

    def _snapshot(self, keys: Tensor, step: int) -> Snapshots:
        return Snapshots(keys.clone(), torch.full_like(keys, step), self.rotvec[keys].clone(), self.betas[keys].clone())

    def events(self) -> Events:
        """The whole history of updates."""
        empty = Events(*(torch.zeros(0, dtype=d) for d in (torch.int64, torch.int64, torch.float32, torch.float32)))
        return _joined([empty, *self._events])

    def snapshots(self) -> Snapshots:
        """All versions of the tracked samples."""
        n = torch.zeros(0, dtype=torch.int64)
        return _joined([Snapshots(n, n, torch.zeros(0, 24, 3), torch.zeros(0, 10)), *self._snapshots])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays for `np.savez`."""
        state = {name: getattr(self, name) for name in ("rotvec", "betas", "error", "updates", "updated_at", "tracked")}
        for prefix, record in (("event", self.events()), ("snapshot", self.snapshots())):
            state |= {f"{prefix}_{f.name}": getattr(record, f.name) for f in fields(record)}
        return {name: value.numpy() for name, value in state.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "FitDictionary":
        """The inverse of `arrays`.

        Raises:
            ValueError: an array is missing.
        """
        names = ["rotvec", "betas", "error", "updates", "updated_at", "tracked"]
        names += [f"event_{f.name}" for f in fields(Events)] + [f"snapshot_{f.name}" for f in fields(Snapshots)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"fits: no field {', '.join(missing)}. Is this a dictionary that spinkit saved?")
        values = {name: torch.from_numpy(np.array(arrays[name])) for name in names}
        fits = cls(values["rotvec"], values["betas"], values["error"])
        fits.updates, fits.updated_at, fits.tracked = (values[n] for n in ("updates", "updated_at", "tracked"))
        fits._events = [Events(*(values[f"event_{f.name}"] for f in fields(Events)))]
        fits._snapshots = [Snapshots(*(values[f"snapshot_{f.name}"] for f in fields(Snapshots)))]
        return fits

    def to_spin(self) -> Float[np.ndarray, "n 82"]:
        """SPIN's layout: 72 pose numbers, the whole body's orientation first, then 10 betas."""
        return torch.cat([self.rotvec.flatten(1), self.betas], dim=1).numpy()


def load(path: str | Path) -> FitDictionary:
    """Read a dictionary that a run saved.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or no dictionary.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No fits at {path}. A run writes them to its folder: ./run train")
    return FitDictionary.from_arrays(files.read_npz(path))


def _first_best(key: Tensor, error: Tensor) -> Tensor:
    """Marks, for every sample of a batch, one row: that of its lowest error."""
    order = error.argsort(stable=True)
    # Stable by key after stable by error: within a key the best row comes first.
    order = order[key[order].argsort(stable=True)]
    ordered = key[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    mark = torch.zeros_like(first)
    mark[order[first]] = True
    return mark


def _append(records: list, record: Events | Snapshots) -> None:
    """Add to a history, and join what has grown long."""
    records.append(record)
    if len(records) > LOOSE_RECORDS:
        records[:] = [_joined(records)]


def _joined(records: list) -> Events | Snapshots:
    kind = type(records[0])
    return kind(*(torch.cat([getattr(r, f.name) for r in records]) for f in fields(kind)))
