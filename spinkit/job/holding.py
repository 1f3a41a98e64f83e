"""One run a folder: who trains into one holds it, and a second is told so."""

import contextlib
import fcntl
import json
import os
import socket
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

LOCK = ".lock"
"""Its content tells people who holds the folder. What holds it is the system's lock, which ends with its process,
however that ends; so a file that is left over says nothing."""


class HeldError(RuntimeError):
    """Another run trains into the folder."""


@contextlib.contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Keep every other run out of a folder while the block runs.

    Where the file system knows no locks, the note of who holds the folder stands for one, with a warning: it outlives a
    killed process, and is believed only while the process that it names is alive on this machine.

    Args:
        folder: of a run; made where missing.

    Raises:
        HeldError: another run holds it; the message says which, and what to do.
        OSError: nothing can be written there.
    """
    path = Path(folder) / LOCK
    handle = _open(path)
    try:
        _take(handle, path)
        _note(handle, {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M}"})
        try:
            yield
        finally:
            # Emptied and not removed: somebody may have opened it already, and would lock a file that is gone.
            _note(handle, None)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise type(error)(
            error.errno, f"{path.parent}: cannot be written to ({error.strerror}); give the run another folder"
        ) from error


def _take(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError as error:
        raise _held(path, _noted(handle)) from error
    except OSError as error:
        reason = error.strerror
    noted = _noted(handle)
    if noted and not _dead(noted):
        raise _held(path, noted)
    warnings.warn(
        f"{path.parent}: this file system knows no locks ({reason}); of a second run that starts on another machine at "
        "the same moment nothing is known, so start only one",
        stacklevel=4,
    )


def _noted(handle: int) -> dict:
    """Who holds the folder, as far as the file tells."""
    try:
        noted = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _dead(noted: dict) -> bool:
    """Whether a process is known to be gone: of other machines nothing is known."""
    if noted.get("host") != socket.gethostname() or not isinstance(noted.get("pid"), int):
        return False
    try:
        os.kill(noted["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _held(path: Path, noted: dict) -> HeldError:
    who = f"process {noted.get('pid', '?')} on {noted.get('host', '?')}, since {noted.get('since', '?')}"
    return HeldError(
        f"{path.parent}: another run trains here ({who}). Wait until it has ended, stop it there (kill -INT "
        f"{noted.get('pid', 'PID')}), or give this run another folder. If no such process is left, remove {path}."
    )


def _note(handle: int, content: dict | None) -> None:
    """Write who holds the folder. On a full disk nobody is told, and the lock holds all the same."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        if content is not None:
            os.pwrite(handle, json.dumps(content).encode(), 0)
