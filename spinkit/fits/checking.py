"""Whether the arrays of a file are those of a dictionary: kinds of numbers, shapes, and places that exist."""

import numpy as np

from spinkit import files

WHOLE, REAL, TRUTH, TEXT = "i", "f", "b", "U"
"""Kinds of numbers, as numpy names them."""
KINDS = {
    "": {
        "rotvec": (REAL, (24, 3)),
        "betas": (REAL, (10,)),
        "error": (REAL, ()),
        "updates": (WHOLE, ()),
        "updated_at": (WHOLE, ()),
        "tracked": (TRUTH, ()),
        "ruling": (WHOLE, ()),
    },
    "event_": {"key": (WHOLE, ()), "step": (WHOLE, ()), "before": (REAL, ()), "after": (REAL, ())},
    "snapshot_": {"key": (WHOLE, ()), "step": (WHOLE, ()), "rotvec": (REAL, (24, 3)), "betas": (REAL, (10,))},
    "decision_": {
        **dict.fromkeys(("key", "kind", "step", "ruling", "updates"), (WHOLE, ())),
        **dict.fromkeys(("time", "before", "after"), (REAL, ())),
        "rotvec": (REAL, (24, 3)),
        "betas": (REAL, (10,)),
        "reason": (TEXT, ()),
    },
}
"""For each group of arrays, all of one length: kind of numbers, and shape of one entry."""
INFINITE = ("error", "event_before", "event_after", "decision_before", "decision_after")
"""Errors may be infinite, of fits that are not usable."""
DECISIONS = ("ruling", *(f"decision_{name}" for name in KINDS["decision_"]))
"""What files of before people could decide on fits do not hold."""


def check(arrays: dict[str, np.ndarray]) -> None:
    """Refuse what is no dictionary.

    Raises:
        ValueError: an array is missing, or of another kind, shape or length; a number is not finite, or a sample's
            number is none.
    """
    decided = "ruling" in arrays
    for prefix, group in KINDS.items():
        wanted = {prefix + name: kind for name, kind in group.items() if decided or prefix + name not in DECISIONS}
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise ValueError(f"fits: no field {', '.join(missing)}. Is this a dictionary that spinkit saved?")
        for name, (kind, entry) in wanted.items():
            _check_one(name, arrays[name], kind, entry)
        lengths = {len(arrays[name]) for name in wanted}
        if len(lengths) > 1:
            raise ValueError(f"fits: fields {', '.join(wanted)} are of different lengths, {sorted(lengths)}")
        key = f"{prefix}key"
        if key in wanted and not ((arrays[key] >= 0) & (arrays[key] < len(arrays["rotvec"]))).all():
            raise ValueError(f"fits: field '{key}' names samples that are not there")


def _check_one(name: str, array: np.ndarray, kind: str, entry: tuple[int, ...]) -> None:
    # Of single and double precision only: torch knows no longer ones.
    if array.dtype.kind not in kind or (kind == REAL and array.dtype.itemsize > 8) or array.shape[1:] != entry:
        raise ValueError(f"fits: field '{name}' is {array.dtype} {array.shape}, expected '{kind}' and (n, *{entry})")
    if array.ndim == 0:
        raise ValueError(f"fits: field '{name}' is a single number, one for each sample is expected")
    if kind == REAL:
        finite = not np.isnan(array).any() if name in INFINITE or name == "decision_time" else files.finite(array)
        if not finite:
            raise ValueError(f"fits: field '{name}' holds NaN or infinity; restore the file from a copy")
