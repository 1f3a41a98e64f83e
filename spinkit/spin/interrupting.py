"""Ctrl-C between steps: what the network and the dictionary know stays of one and the same step."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Request:
    """Whether somebody has asked the work to end."""

    made: bool = False


@contextlib.contextmanager
def noted_interrupts() -> Iterator[Request]:
    """While the block runs, a Ctrl-C is noted, for the block to end when it suits; a second one ends it at once.

    A notebook's stop button is a Ctrl-C too. Only a main thread hears of it; elsewhere nothing changes.

    Raises:
        KeyboardInterrupt: at the second Ctrl-C, wherever the block is.
    """
    request = Request()
    in_main = threading.current_thread() is threading.main_thread()
    # Where interrupts are ignored, as in the background of a shell script, they stay so.
    if not in_main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield request
        return

    def note(number: int, frame: object) -> None:
        if request.made:
            raise KeyboardInterrupt("interrupted twice: ended at once, and nothing saved since the newest snapshot")
        request.made = True
        # A write to the same stream may be what was interrupted.
        with contextlib.suppress(RuntimeError):
            print("interrupted: ending after this step; once more ends at once, without saving", file=sys.stderr)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
