"""Snapshots side by side: which are whole, which is the newest, and which may go.

A snapshot is a folder `step_00000123`, or `step_00000123_001` where the same step was saved again. It is written
under another name, synced and renamed, so that a kill at any moment leaves all snapshots from before as they were.
`manifest.json` holds a SHA-256 of every file: a snapshot that a disk or a copy has damaged is recognised.
"""

import contextlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from spinkit import files, storage

FORMAT = 2
"""Raised when an older program could misread a snapshot. Format 1 has no manifest, settings and tally."""
KEPT = 2
"""Whole snapshots that stay; older ones are removed once a newer is whole."""
FILES = ("model.safetensors", "optimizer.safetensors", "fits.npz", "tally.safetensors", "state.json")
MANIFEST = "manifest.json"
REMEDY = "the snapshot before it is good"
NAME = re.compile(r"step_(\d+)(?:_(\d+))?")


class DamagedError(ValueError):
    """A snapshot that is not what was written."""


def snapshots(folder: Path) -> list[Path]:
    """All of a folder, whole or not, the newest last."""
    return sorted((p for p in folder.glob("step_*") if NAME.fullmatch(p.name) and p.is_dir()), key=_order)


def _order(snapshot: Path) -> tuple[int, int]:
    step, revision = NAME.fullmatch(snapshot.name).groups()
    return int(step), int(revision or 0)


def step_of(snapshot: Path) -> int:
    """How many steps a run had done."""
    return _order(snapshot)[0]


def newest(folder: Path) -> Path | None:
    """The latest whole snapshot, or None. A damaged one is passed over with a warning, which names both.

    Raises:
        ValueError: the latest one is of a newer program.
    """
    whole, damaged = _whole_and_damaged(folder)
    if damaged:
        # A warning and no print: it is seen where prints are piped away, and a program can make an error of it.
        instead = f"Instead {whole.name}, the one before, is used." if whole else "No snapshot before it is whole."
        warnings.warn(f"{'; '.join(map(str, damaged))}. {instead}", stacklevel=2)
    return whole


def newest_if_any(folder: Path) -> Path | None:
    """The latest whole snapshot as `newest` finds it; None only where the folder holds no snapshot at all.

    Raises:
        ValueError: there are snapshots, and none is whole; or the latest one is of a newer program.
    """
    whole = newest(folder)
    if whole is None and (damaged := snapshots(folder)):
        raise ValueError(
            f"none of {', '.join(map(str, damaged))} is whole. Bring one back from a copy, or remove {folder} to train "
            "from the start."
        )
    return whole


def _whole_and_damaged(folder: Path) -> tuple[Path | None, list[DamagedError]]:
    damaged = []
    for snapshot in reversed(snapshots(folder)):
        try:
            check(snapshot)
            return snapshot, damaged
        except DamagedError as error:
            damaged.append(error)
    return None, damaged


def check(snapshot: Path) -> None:
    """Look whether a snapshot is as it was written.

    Raises:
        ValueError: it is of a newer program.
        DamagedError: a file is missing, or is not what the manifest says.
    """
    _refuse_newer(snapshot)
    try:
        if _format(snapshot / "state.json") == 1 and not (snapshot / MANIFEST).exists():
            _read_all(snapshot)
            return
        noted = files.read_object(snapshot / MANIFEST, REMEDY)["files"]
        wrong = [name for name in FILES if storage.digest(snapshot / name) != noted[name]]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DamagedError(f"{snapshot}: damaged ({error})") from error
    if wrong:
        raise DamagedError(f"{snapshot}: damaged ({', '.join(wrong)}: not as it was written)")


def _read_all(snapshot: Path) -> None:
    """Of format 1, which has no checksums, damage shows when it is read, if at all."""
    files.read_object(snapshot / "state.json", REMEDY)
    for name in ("model.safetensors", "optimizer.safetensors"):
        load_file(snapshot / name)
    files.read_npz(snapshot / "fits.npz")


def _format(path: Path) -> int | None:
    """The format that a JSON file names; None where it cannot be read."""
    try:
        found = files.read_object(path, REMEDY)["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _refuse_newer(snapshot: Path) -> None:
    # Two files name it, so that a flipped bit in one does not make a snapshot newer.
    named = {_format(snapshot / MANIFEST), _format(snapshot / "state.json")} - {None}
    if named and min(named) > FORMAT:
        raise ValueError(
            f"{snapshot}: format {min(named)}, this program reads {FORMAT}; a newer spinkit wrote it. Update spinkit, "
            "or give the run another folder; nothing was changed."
        )


def publish(folder: Path, step: int, contents: Iterable[tuple[str, bytes]]) -> Path:
    """Write a snapshot beside the others, and remove all but the newest `KEPT` that are whole.

    Args:
        folder: of the snapshots; made where missing.
        step: that they are of. One of the same step stays until this one is whole.
        contents: name and content of each of `FILES`.

    Raises:
        OSError: it could not be written; the message says that the one before it is whole.
        ValueError: the folder holds a snapshot of a newer program.
    """
    for other in snapshots(folder):
        _refuse_newer(other)
    draft = folder / f".draft_{step:08d}"
    final = _free_name(folder, step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        draft.mkdir()
        noted = {name: storage.write(draft / name, content) for name, content in contents}
        manifest = json.dumps({"format": FORMAT, "files": noted}, indent=1)
        storage.write(draft / MANIFEST, manifest.encode())
        storage.sync_folder(draft)
        os.replace(draft, final)
        storage.sync_folder(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        before, _ = _whole_and_damaged(folder)
        kept = f"The snapshot {before.name} is whole" if before else "There is no earlier snapshot"
        raise OSError(f"{final}: the snapshot was not written ({error}). {kept}; make room and run again.") from error
    # What could not be removed today is removed by the next save.
    with contextlib.suppress(OSError):
        _tidy(folder, final)
    return final


def _free_name(folder: Path, step: int) -> Path:
    """A step's name, numbered where the step was saved before: a folder cannot take another's place at once."""
    taken = [_order(p)[1] for p in snapshots(folder) if _order(p)[0] == step]
    return folder / (f"step_{step:08d}_{max(taken) + 1:03d}" if taken else f"step_{step:08d}")


def _tidy(folder: Path, written: Path) -> None:
    """Remove what is older than the newest `KEPT` whole ones; damaged ones among these are put out of the way.

    Their names would hide whole ones from who looks for the newest; they stay, for whoever wants to look into them.
    """
    whole = 0
    for snapshot in reversed(snapshots(folder)):
        if whole == KEPT:
            # Under its name only while it is whole: the removal may be killed half way.
            _move(snapshot, folder / f".old_{snapshot.name}")
        elif snapshot == written or _is_whole(snapshot):
            whole += 1
        else:
            _move(snapshot, folder / f"damaged_{snapshot.name}")
    _clear(folder)


def _is_whole(snapshot: Path) -> bool:
    try:
        check(snapshot)
    except DamagedError:
        return False
    return True


def _move(snapshot: Path, aside: Path) -> None:
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(snapshot, aside)


def _clear(folder: Path) -> None:
    """Remove what a killed save has left."""
    for path in [*folder.glob(".draft_*"), *folder.glob(".old_*")]:
        shutil.rmtree(path, ignore_errors=True)
