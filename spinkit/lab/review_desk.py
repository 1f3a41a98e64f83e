"""What a review does, without its handles: look at a stored fit, try another, decide, save."""

import io
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spinkit import fits as dictionaries
from spinkit import job, priors, smplify, storage, view
from spinkit.body import Body
from spinkit.data import Samples
from spinkit.fits import KINDS, Decisions, FitDictionary, Note
from spinkit.job import Peek, peek
from spinkit.keypoints import Keypoints
from spinkit.lab.fit_panels import projected
from spinkit.smplify import Fit, Start
from spinkit.spin import checkpoint
from spinkit.view import Judged

STORED, BEST = "where the stored fit is", "mean pose, best of four headings"
HEADINGS = tuple(f"mean pose, heading {90 * k}°" for k in range(smplify.HEADINGS))
STARTS = (STORED, BEST, *HEADINGS)


@dataclass(frozen=True)
class Question:
    """How a fit is to be made anew."""

    start: str = STORED
    """One of `STARTS`. Heading 0 faces the camera; each further one turns the body by a quarter."""
    robust_scale: float = smplify.initial().robust_scale
    """Pixels beyond which a keypoint counts as an outlier."""
    drop_worst: bool = False
    """Whether to fit without the keypoint that the stored fit misses by most. The error still counts it."""

    def __post_init__(self):
        if self.start not in STARTS:
            raise ValueError(f"a start is one of {', '.join(STARTS)}; got '{self.start}'")


class Desk:
    """A run's dictionary on the desk of a person who decides. Only `save` writes to the run's folder.

    Args:
        folder: of a run that does not train at this moment.
        people: its training set.
        body: that the fits are of.
    """

    def __init__(self, folder: str | Path, people: Samples, body: Body):
        self.folder, self.people, self.body, self.prior = Path(folder), people, body, priors.load()
        self.run = self._read()

    def _read(self) -> Peek:
        run = peek(self.folder)
        if len(run.fits) != len(self.people):
            raise ValueError(f"{self.folder}: a run of {len(run.fits)} people, but {len(self.people)} were given")
        _check_snapshot(run)
        self.saved = len(run.fits.decisions)
        self.updates = int(run.fits.updates.sum())
        return run

    @property
    def unsaved(self) -> int:
        """Decisions that the run's folder does not know of."""
        return len(self.run.fits.decisions) - self.saved

    def keypoints(self, key: int) -> Keypoints:
        """A sample's keypoints, as a batch of one."""
        return self.people.keypoints[torch.tensor([key])]

    def stored(self, key: int) -> Judged:
        """The stored fit in its untouched crop."""
        fits = self.run.fits
        return view.judged(self.body, self.keypoints(key), fits.rotvec[[key]], fits.betas[[key]])

    def versions(self, key: int) -> list[tuple[str, Judged]]:
        """All bodies that are known of a sample, oldest first, with where each is from: the stored one is last."""
        fits, shots, made = self.run.fits, self.run.fits.snapshots(), self.run.fits.decisions
        rows = (shots.key == key).nonzero()[:, 0]
        found = [(f"step {max(0, int(shots.step[i]))}", shots.rotvec[i], shots.betas[i]) for i in rows]
        if not len(rows):
            places = (made.key == key).nonzero()[:, 0].tolist()
            found = [(f"before {KINDS[made.kind[i]]} {i + 1}", made.rotvec[i], made.betas[i]) for i in places]
        found = [one for one in found if not torch.equal(one[1], fits.rotvec[key])]
        found.append(("stored", fits.rotvec[key], fits.betas[key]))
        return [
            (name, view.judged(self.body, self.keypoints(key), rotvec[None], betas[None]))
            for name, rotvec, betas in found
        ]

    def try_again(self, key: int, question: Question) -> Fit:
        """A new fit of one sample. Nothing is written; its error is judged as the stored one's, by all keypoints.

        Raises:
            ValueError: the sample has too few keypoints for a fit.
        """
        keypoints = self.keypoints(key)
        told = self._without_worst(key) if question.drop_worst else keypoints
        settings = replace(smplify.initial(), robust_scale=question.robust_scale)
        if question.start == BEST:
            fit = smplify.initial_fits(self.body, self.prior, told, settings)
        else:
            fit = smplify.fit(self.body, self.prior, told, self._start(key, question.start, told), settings)
        if not fit.usable[0]:
            raise ValueError(f"person {key}: no usable fit from there; try another start, or keep all keypoints")
        _, error = smplify.judge(self.body, keypoints, fit.rotvec, fit.betas)
        return replace(fit, error=error)

    def _start(self, key: int, name: str, keypoints: Keypoints) -> Start:
        if name != STORED:
            starts = smplify.heading_starts(self.body, self.prior, keypoints, smplify.HEADINGS)
            return starts[HEADINGS.index(name)]
        stored = self.stored(key)
        return Start(stored.rotvec, stored.betas, stored.camera)

    def worst(self, key: int) -> int:
        """The keypoint that the stored fit misses by most, of those that a fit counts."""
        keypoints = self.keypoints(key)
        away = (projected(self.body, self._start(key, STORED, keypoints)) - keypoints.xy[0]).norm(dim=-1)
        return int(torch.where(smplify.counted(keypoints)[0] > 0, away, -1.0).argmax())

    def _without_worst(self, key: int) -> Keypoints:
        keypoints = self.keypoints(key)
        confidence = keypoints.confidence.clone()
        confidence[0, self.worst(key)] = 0
        return replace(keypoints, confidence=confidence)

    def note(self, reason: str) -> Note:
        """What is written beside a decision that is made now."""
        return Note(self.run.steps_done, reason)

    def keep(self, key: int, fit: Fit, reason: str) -> None:
        """Put a tried fit in the place of the stored one."""
        self.run.fits.refit(key, fit.rotvec[0], fit.betas[0], float(fit.error[0]), self.note(reason))

    def save(self) -> int:
        """Write all decisions to the run's folder: its newest snapshot, and a finished run's `fits.npz`.

        Returns:
            How many decisions were new to the folder.

        Raises:
            job.HeldError: the run trains at this moment.
            ValueError: the run has gone on, or somebody else has decided, since it was read.
            OSError: they could not be written; the folder holds the decisions that it held before.
        """
        new = self.unsaved
        with job.hold(self.folder):
            there = peek(self.folder)  # anew: a run that trained when it was read may be finished by now
            if (int(there.fits.updates.sum()), len(there.fits.decisions)) != (self.updates, self.saved):
                raise ValueError(
                    f"{self.folder}: its dictionary has changed since it was read. Open the review anew and decide "
                    "again; nothing was written."
                )
            _check_snapshot(there)
            try:
                _write(self.folder, self.run.fits, there.finished)
            except OSError as error:
                raise OSError(
                    f"{self.folder}: the decisions were not written ({error}). They are still on the desk: make room, "
                    "and save again."
                ) from error
        self.saved = len(self.run.fits.decisions)
        return new


def _check_snapshot(run: Peek) -> None:
    """Refuse a finished run whose newest snapshot holds other decisions than its `fits.npz`: one of them would be lost.

    Raises:
        ValueError: they differ.
    """
    snapshot = checkpoint.newest(run.folder / "checkpoints") if run.finished else None
    if snapshot is not None and _decided(dictionaries.load(snapshot / "fits.npz")) != _decided(run.fits):
        raise ValueError(
            f"{run.folder}: fits.npz and {snapshot.name}/fits.npz hold different decisions. Train into the folder once "
            "more, which writes fits.npz anew from the snapshot; or remove checkpoints/, and fits.npz stands."
        )


def _decided(fits: FitDictionary) -> dict[str, bytes]:
    """Rulings and decisions, to be compared."""
    return {name: array.tobytes() for name, array in fits.arrays().items() if name.startswith(("ruling", "decision_"))}


def _write(folder: Path, fits: FitDictionary, finished: bool) -> None:
    """Put a dictionary into a run's newest snapshot and, where the run is finished, its `fits.npz`: into both or none.

    What needs room comes first; at the end one name changes. Should the process be killed just before that, the
    snapshot knows all: the run that trains again writes the file from it.

    Raises:
        OSError: nothing has changed.
    """
    draft, published = folder / ".fits.npz.draft", None
    try:
        if finished:
            packed = io.BytesIO()
            np.savez_compressed(packed, **fits.arrays())
            storage.write(draft, packed.getvalue())
        if checkpoint.newest(folder / "checkpoints") is not None:
            published = checkpoint.replace_fits(folder / "checkpoints", fits)
        if finished:
            os.replace(draft, folder / "fits.npz")
            storage.sync_folder(folder)
    except OSError:
        if published is not None:
            shutil.rmtree(published, ignore_errors=True)
        raise
    finally:
        draft.unlink(missing_ok=True)


def lines(made: Decisions, saved: int) -> list[str]:
    """Decisions in words, the newest first.

    Args:
        made: all of them.
        saved: how many of these the folder knows.
    """
    told = []
    for i in range(len(made)):
        errors = f"{made.before[i]:.1f} px²"
        if made.before[i] != made.after[i]:
            errors = f"{made.before[i]:.1f} → {made.after[i]:.1f} px²"
        state = "" if i < saved else ", unsaved"
        reason = f": {made.reason[i]}" if made.reason[i] else ""
        what = f"{KINDS[made.kind[i]]} of person {int(made.key[i])} at step {int(made.step[i])}"
        told.append(f"{what}, {errors}{state}{reason}")
    return told[::-1]
