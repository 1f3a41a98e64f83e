"""A progress bar that can be saved: in a terminal one line that moves, anywhere else a few lines that stay."""

import io
import math
import sys
from collections.abc import Iterable

from tqdm import tqdm

LINES = 10
"""Between the first line and the last, where lines stay."""
PAUSE = 2.0
"""Seconds between two of them, at least."""
PLAIN = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left{postfix}"


def progress_bar(steps: Iterable | None, total: int, name: str, done: int = 0, shown: bool = True) -> tqdm:
    """How far some work has come, on stderr.

    A notebook keeps what a cell writes: of a bar that is drawn again and again it would keep every state, and of one
    that is a widget only "0 %".

    Args:
        steps: to be gone through; None where the work calls `update` itself.
        total: how many there are.
        name: of the work.
        done: steps that an earlier call has taken.
        shown: False writes nothing.
    """
    if not shown or sys.stderr.isatty():
        return tqdm(steps, name, total, initial=done, disable=not shown, mininterval=5)
    every = max(1, total // LINES)
    return tqdm(
        steps,
        name,
        total,
        initial=done,
        file=_Lines(sys.stderr),
        miniters=every,
        mininterval=PAUSE,
        maxinterval=math.inf,
        bar_format=PLAIN,
    )


class _Lines:
    """Turns every state of a bar into a line of its own, and says nothing twice."""

    def __init__(self, out: io.TextIOBase):
        self.out, self.said = out, ""

    def write(self, text: str) -> None:
        text = text.strip()
        if text and text != self.said:
            self.out.write(text + "\n")
            self.said = text

    def flush(self) -> None:
        self.out.flush()
