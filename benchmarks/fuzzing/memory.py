"""How much memory a piece of work takes at most, told by Linux, whose high-water mark can be set back."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

PROCESS = Path("/proc/self")


@contextlib.contextmanager
def growth() -> Iterator[Callable[[], int]]:
    """While the block runs, and after it: the bytes by which this process has at most grown since the block began."""
    # Five sets the mark back to what is held now; without that, an earlier peak would hide all that is smaller.
    (PROCESS / "clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    yield lambda: 1024 * (_kilobytes("VmHWM") - before)


def _kilobytes(name: str) -> int:
    return int(re.search(rf"{name}:\s+(\d+)", (PROCESS / "status").read_text()).group(1))
