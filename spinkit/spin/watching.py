"""Somebody who looks on while a run trains, and whose mistakes are not the run's."""

import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def guarded(watch: Callable[[Seen], None] | None) -> Callable[[Seen], None]:
    """The same watcher, which cannot end a training: its first error is reported, and then it is not called again."""
    watching = [] if watch is None else [watch]

    def show(run: Seen) -> None:
        if not watching:
            return
        try:
            watching[0](run)
        except Exception:
            watching.clear()
            traceback.print_exc()
            print("the watcher failed; the training goes on without it", file=sys.stderr)

    return show
