"""A run as it stands: finished, or still training, when its newest whole snapshot is read."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from spinkit import files
from spinkit import fits as dictionaries
from spinkit.fits import FitDictionary
from spinkit.spin import checkpoint

READS = 3
"""Tries: a run that trains removes old snapshots, one of which may be the one that is being read."""


@dataclass(frozen=True)
class Peek:
    """What a run's folder tells at one moment."""

    folder: Path
    settings: dict
    """Preset and sources, as `settings.json` has them."""
    history: list[dict]
    fits: FitDictionary
    steps_done: int
    finished: bool

    @property
    def spin(self) -> dict:
        """The loop's settings."""
        return self.settings["preset"]["spin"]

    def same_people(self, other: "Peek") -> bool:
        """Whether two runs are of the same people, in the same order."""
        return _people(self) == _people(other)


def _people(peek: Peek) -> tuple:
    """All that decides who is in a run's training set."""
    preset, sources = peek.settings["preset"], peek.settings["sources"]
    return preset["people"], preset["train_people"], sources["body"], sources["data"], len(peek.fits)


def peek(folder: str | Path) -> Peek:
    """Read a run without touching it.

    Raises:
        FileNotFoundError: the folder holds no run, or one that has not written a snapshot yet.
        ValueError: a file of it is damaged.
    """
    folder = Path(folder)
    if not (folder / "settings.json").is_file():
        raise FileNotFoundError(f"{folder}: no settings.json, so no run; make one with ./run train")
    settings = files.read_object(folder / "settings.json", "it is damaged; choose another run")
    if (folder / "summary.json").is_file():
        history = files.read_records(folder / "history.json", "run it again: a finished run writes it anew")
        fits = dictionaries.load(folder / "fits.npz")
        return Peek(folder, settings, history, fits, settings["preset"]["spin"]["steps"], True)
    for tried in range(READS):
        begun = any(folder.glob("checkpoints/step_*"))
        try:
            snapshot = _newest(folder / "checkpoints")
            if snapshot is None:
                raise FileNotFoundError(f"{folder}: no snapshot yet; look again when the run has written one")
            state = files.read_object(snapshot / "state.json", "look again in a moment")
            fits = dictionaries.load(snapshot / "fits.npz")
            return Peek(folder, settings, state["history"], fits, state["step"], False)
        except (FileNotFoundError, ValueError):
            if not begun or tried == READS - 1:
                raise
    raise AssertionError("the last try returns or raises")


def _newest(checkpoints: Path) -> Path | None:
    """The newest whole snapshot. Nothing is said of damage where the run has removed one while it was being read."""
    known = list(checkpoints.glob("step_*"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = checkpoint.newest(checkpoints)
    for one in told if all(snapshot.exists() for snapshot in known) else ():
        warnings.warn(one.message, one.category, stacklevel=3)
    return found


def runs(folder: str | Path) -> list[Path]:
    """The folders below one that hold a run to look at, the newest first."""
    notes = [note.parent for note in Path(folder).rglob("settings.json")]
    # Whether a snapshot is whole is asked of the run that is opened: it means to read all of it.
    begun = [one for one in notes if (one / "summary.json").is_file() or any(one.glob("checkpoints/step_*"))]
    return sorted(begun, key=_changed, reverse=True)


def _changed(folder: Path) -> float:
    """When a run's folder last changed, seconds."""
    return max(path.stat().st_mtime for path in (folder, folder / "settings.json"))
