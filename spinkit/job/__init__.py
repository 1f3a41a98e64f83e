"""One training run from end to end: a preset and a few choices in, a folder of results out.

The chapter `03_train_spin` and the benchmark `loop` both run through here, so that a number in one means the same in
the other. What a run needs and others may share (synthetic people and initial fits) is made once and kept in a cache.
"""

from spinkit.job.holding import HeldError, hold
from spinkit.job.peek import Peek, peek, runs
from spinkit.job.preparation import DATA_SEED, TEST_SEED, Prepared, Sources, initial_dictionary, prepare
from spinkit.job.preset import Preset, choose, describe, presets
from spinkit.job.running import begin, load_model, load_run, measure, regress, summary, train, truth

__all__ = [
    "DATA_SEED",
    "TEST_SEED",
    "HeldError",
    "Peek",
    "Prepared",
    "Preset",
    "Sources",
    "begin",
    "choose",
    "describe",
    "hold",
    "initial_dictionary",
    "load_model",
    "load_run",
    "measure",
    "peek",
    "prepare",
    "presets",
    "regress",
    "runs",
    "summary",
    "train",
    "truth",
]
