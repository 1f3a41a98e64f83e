"""Files that are there wholly or not at all, also after a power cut."""

import contextlib
import hashlib
import os
from pathlib import Path


def write(path: Path, content: bytes) -> str:
    """Write a file and have it on the disk before returning; its SHA-256."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def replace(path: Path, content: bytes) -> None:
    """Put new content under a name: whoever opens it sees the old content or the new, and never a part.

    Raises:
        OSError: it could not be written; the old content is whole.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        write(draft, content)
        os.replace(draft, path)
        sync_folder(path.parent)
    except OSError:
        # Not what the caller must hear of, should it fail too.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """A file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk: a renamed file is one only when its folder says so."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems know no such thing for folders; there, renames are as safe as they make them.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
