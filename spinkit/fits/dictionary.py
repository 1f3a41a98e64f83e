"""The dictionary itself: read and written by training, ruled over by people, saved as plain arrays."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spinkit import crop, files
from spinkit.crop import Change
from spinkit.fits import checking
from spinkit.fits.decisions import ACCEPTED, KINDS, LONGEST_REASON, NO_RULING, REJECTED, Decisions, Note, decided
from spinkit.fits.records import NEVER, Events, Snapshots, Verdict, append, joined

SOURCES = ("initial", "loop", "last fits", "human")
"""Where a stored fit can come from."""
STATE = ("rotvec", "betas", "error", "updates", "updated_at", "tracked")
"""What every dictionary file holds of each sample."""


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
        self.ruling = torch.full((n,), NO_RULING, dtype=torch.int8)
        self.decisions = Decisions.none()
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
            verdict: on both fits of each sample. A new fit without a finite error is never kept; an accepted fit is
                never replaced, and a rejected one by any other, which lifts the ruling.
            step: of training, for the history.

        Returns:
            Which fits were kept.
        """
        before, after = verdict.before, verdict.after
        ruling = self.rulings(key)
        better = verdict.better if ruling is None else (verdict.better | (ruling == REJECTED)) & (ruling != ACCEPTED)
        better = better & after.isfinite() & rotvec.isfinite().flatten(1).all(1) & betas.isfinite().all(1)
        better &= _first_best(key, torch.where(better, after, torch.full_like(after, torch.inf)))
        rows = better.nonzero()[:, 0]
        where = key[rows].cpu()
        if ruling is not None:
            self.ruling[where] = NO_RULING
        self.rotvec[where] = crop.restore_rotvec(change[rows], rotvec[rows]).cpu()
        self.betas[where] = betas[rows].cpu()
        self.error[where] = after[rows].cpu()
        self.updates[where] += 1
        self.updated_at[where] = step
        steps = torch.full_like(where, step)
        append(self._events, Events(where, steps, before[rows].cpu(), after[rows].cpu()))
        watched = where[self.tracked[where]]
        if len(watched):
            append(self._snapshots, self._snapshot(watched, step))
        return better

    def rulings(self, key: Int[Tensor, "b"]) -> Int[Tensor, "b"] | None:
        """What people ruled over some samples, on the keys' device; None where nobody ruled over any of them."""
        ruling = self.ruling[key.cpu()]
        return ruling.to(key.device) if ruling.any() else None

    def rule(self, key: int, ruling: int, note: Note) -> None:
        """Accept or reject the stored fit of one sample.

        Raises:
            ValueError: another ruling; to take one back, use `undo`.
        """
        if ruling not in (ACCEPTED, REJECTED):
            raise ValueError(f"fits: a ruling is ACCEPTED or REJECTED, got {ruling}; to take one back, undo it")
        kind = "accept" if ruling == ACCEPTED else "reject"
        self._decide(key, kind, self._version(key), ruling, note)

    def refit(self, key: int, rotvec: Float[Tensor, "24 3"], betas: Float[Tensor, "10"], error: float, note: Note):
        """Put a fit that a person has chosen in the place of the stored one, whose ruling goes with it.

        Args:
            key: the sample.
            rotvec: as the untouched image shows the body.
            betas: its shape.
            error: judged in the untouched crop, px^2.
            note: when and why.

        Raises:
            ValueError: a number is not finite.
        """
        if not (rotvec.isfinite().all() and betas.isfinite().all() and np.isfinite(error)):
            raise ValueError(f"fits: the new fit of sample {key} is not usable; try another start")
        self._decide(key, "refit", (rotvec, betas, error), NO_RULING, note)

    def undo(self, key: int, note: Note) -> None:
        """Take back the last decision on a sample that still stands: fit, error and ruling are as before it.

        Raises:
            ValueError: there is none, or training has replaced the fit since.
        """
        made, standing = self.decisions, self.decisions.standing(key)
        if not standing:
            raise ValueError(f"fits: no decision on sample {key} is left to undo")
        last = standing[-1]
        if int(made.updates[last]) != int(self.updates[key]):
            raise ValueError(f"fits: training has replaced the fit of sample {key} since that decision; rule anew")
        version = (made.rotvec[last], made.betas[last], float(made.before[last]))
        self._decide(key, "undo", version, int(made.ruling[last]), note)

    def _version(self, key: int) -> tuple[Tensor, Tensor, float]:
        return self.rotvec[key].clone(), self.betas[key].clone(), float(self.error[key])

    def _decide(self, key: int, kind: str, version: tuple[Tensor, Tensor, float], ruling: int, note: Note) -> None:
        """Note what stands, then let fit and ruling take its place."""
        rotvec, betas, error = self._version(key)
        one = Decisions(
            key=torch.tensor([key]),
            kind=torch.tensor([KINDS.index(kind)]),
            time=torch.tensor([note.time], dtype=torch.float64),
            step=torch.tensor([note.step]),
            before=torch.tensor([error]),
            after=torch.tensor([version[2]]),
            ruling=self.ruling[[key]].long(),
            updates=self.updates[[key]],
            rotvec=rotvec[None],
            betas=betas[None],
            reason=(" ".join(note.reason.split())[:LONGEST_REASON],),
        )
        self.decisions = joined([self.decisions, one])
        self.rotvec[key], self.betas[key], self.error[key] = version
        self.ruling[key] = ruling
        if self.tracked[key] and not torch.equal(self.rotvec[key], rotvec):
            append(self._snapshots, self._snapshot(torch.tensor([key]), note.step))

    def source(self, steps: int) -> Int[Tensor, "n"]:
        """Where each stored fit comes from, as its place in `SOURCES`.

        Args:
            steps: of the whole training; the last fits carry this number, and those of the loop smaller ones.
        """
        found = torch.where(self.updated_at >= steps, SOURCES.index("last fits"), SOURCES.index("loop"))
        found[self.updates == 0] = SOURCES.index("initial")
        made = self.decisions
        for key in made.key.unique().tolist():
            standing = [i for i in made.standing(key) if made.updates[i] == self.updates[key]]
            if any(made.kind[i] == KINDS.index("refit") for i in standing):
                found[key] = SOURCES.index("human")
        return found

    def _snapshot(self, keys: Tensor, step: int) -> Snapshots:
        return Snapshots(keys.clone(), torch.full_like(keys, step), self.rotvec[keys].clone(), self.betas[keys].clone())

    def events(self) -> Events:
        """The whole history of updates."""
        empty = Events(*(torch.zeros(0, dtype=d) for d in (torch.int64, torch.int64, torch.float32, torch.float32)))
        return joined([empty, *self._events])

    def snapshots(self) -> Snapshots:
        """All versions of the tracked samples."""
        n = torch.zeros(0, dtype=torch.int64)
        return joined([Snapshots(n, n, torch.zeros(0, 24, 3), torch.zeros(0, 10)), *self._snapshots])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays for `np.savez`."""
        state = {name: getattr(self, name) for name in (*STATE, "ruling")}
        for prefix, record in (("event", self.events()), ("snapshot", self.snapshots()), ("decision", self.decisions)):
            state |= {f"{prefix}_{f.name}": getattr(record, f.name) for f in fields(record)}
        state["decision_reason"] = np.array(self.decisions.reason, dtype=f"<U{LONGEST_REASON}")
        return {name: np.asarray(value) for name, value in state.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "FitDictionary":
        """The inverse of `arrays`. A file of before people could decide on fits holds no decision.

        Raises:
            ValueError: an array is missing, or is not what a dictionary holds.
        """
        checking.check(arrays)
        names = [*STATE]
        names += [f"event_{f.name}" for f in fields(Events)] + [f"snapshot_{f.name}" for f in fields(Snapshots)]
        values = {name: torch.from_numpy(np.array(arrays[name])) for name in names}
        fits = cls(values["rotvec"], values["betas"], values["error"])
        fits.updates, fits.updated_at, fits.tracked = (values[n] for n in ("updates", "updated_at", "tracked"))
        fits._events = [Events(*(values[f"event_{f.name}"] for f in fields(Events)))]
        fits._snapshots = [Snapshots(*(values[f"snapshot_{f.name}"] for f in fields(Snapshots)))]
        if "ruling" in arrays:
            fits.ruling, fits.decisions = decided(arrays)
        return fits


def load(path: str | Path) -> FitDictionary:
    """Read a dictionary that a run saved.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or no dictionary.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No fits at {path}. A run writes them to its folder: ./run train")
    try:
        return FitDictionary.from_arrays(files.read_npz(path))
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error


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
