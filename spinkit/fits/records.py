"""What a dictionary of fits remembers of its changes: updates, and every version of some samples."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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


def append(records: list, record: Events | Snapshots) -> None:
    """Add to a history, and join what has grown long."""
    records.append(record)
    if len(records) > LOOSE_RECORDS:
        records[:] = [joined(records)]


def joined(records: list) -> object:
    """Records of one kind as one record, in order."""
    kind = type(records[0])
    columns = [[getattr(r, f.name) for r in records] for f in fields(kind)]
    return kind(*(torch.cat(c) if isinstance(c[0], Tensor) else sum(c, ()) for c in columns))
