"""Every kind of file that the package reads: a small valid one, the reader, and what its answer must be like."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fuzzing import damage
from fuzzing.damage import BYTES, Way

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

Answer = dict[str, Tensor | str | float]
"""What a reader said, by name; the names before a colon of `Kind.shapes` are checked."""


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    make: Callable[[Path], Path]
    """Writes a valid sample into an empty folder, with whatever belongs beside it, and returns the file to damage."""
    read: Callable[[Path], object]
    shapes: dict[str, tuple]
    """Of the answer's tensors; "n" is any number, the same everywhere. Numbers must be finite."""
    inner: dict[str, Way]
    """Ways to damage what the bytes mean, beside those of `damage.BYTES`."""
    sealed: bool = False
    """Whether checksums cover the file, so that damage to its bytes must not change the answer."""

    @property
    def ways(self) -> dict[str, Way]:
        """All ways to damage a file of this kind."""
        return BYTES | self.inner | {"canary": damage.canary}


JSON = {"structure": damage.structure, "structure again": damage.structure, "structure anew": damage.structure}
"""Bytes of JSON are mostly refused by its grammar, so its content gets as many turns."""
NPZ = {"directory": damage.directory, "fields": damage.fields, "fields again": damage.fields}
NPY = {"array": damage.array, "array again": damage.array}


UNBOUNDED = ("error", "event_before", "event_after")
"""A fit that cannot be used has an infinite error."""


def flat(answer: object, name: str = "") -> Answer:
    """The tensors, numbers and words in an answer, under the path to each."""
    if isinstance(answer, Tensor | str | int | float | bool | None):
        return {name: answer}
    if isinstance(answer, np.ndarray):
        return {name: torch.from_numpy(answer) if answer.dtype.kind in "biuf" else repr(answer.tolist())}
    if is_dataclass(answer):
        parts = {f.name: getattr(answer, f.name) for f in fields(answer)}
    else:
        parts = answer if isinstance(answer, dict) else dict(enumerate(answer))
    return {key: value for part in parts for key, value in flat(parts[part], f"{name}.{part}".strip(".")).items()}


def complaint(kind: Kind, answer: Answer) -> str | None:
    """What is wrong with an answer, whatever the file says; None if nothing is."""
    sizes: dict[str, int] = {}
    for name, value in answer.items():
        if not isinstance(value, Tensor):
            continue
        shape = kind.shapes.get(name.rsplit(".", 1)[-1])
        if shape is not None and (len(shape) != value.ndim or not _fits(shape, value.shape, sizes)):
            return f"{name} has the shape {tuple(value.shape)}, expected {shape} with {sizes}"
        if value.is_floating_point() and name.rsplit(".", 1)[-1] not in UNBOUNDED and not value.isfinite().all():
            return f"{name} is not finite"
    return None


def _fits(shape: tuple, found: torch.Size, sizes: dict[str, int]) -> bool:
    return all(sizes.setdefault(s, f) == f if isinstance(s, str) else s == f for s, f in zip(shape, found, strict=True))


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal in every number and word."""
    return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())


def _equal(one: Tensor | str | float | None, other: Tensor | str | float | None) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other
