"""The SPIN loop: a network starts the fit, the better fit is kept, and what is kept supervises the network."""

from spinkit.spin import checkpoint
from spinkit.spin.settings import MODES, SpinSettings, loop_fit
from spinkit.spin.step import Outcome, Target, World, loss_weights, losses, start_from, step, supervise
from spinkit.spin.sweep import both_ways, last_fit, sweep
from spinkit.spin.train import Run, Schedule, batch_keys, labelled_for, learning_rate, one_step, step_generator, train
from spinkit.spin.watching import guarded

__all__ = [
    "MODES",
    "Outcome",
    "Run",
    "Schedule",
    "SpinSettings",
    "Target",
    "World",
    "batch_keys",
    "both_ways",
    "checkpoint",
    "guarded",
    "labelled_for",
    "last_fit",
    "learning_rate",
    "loop_fit",
    "loss_weights",
    "losses",
    "one_step",
    "start_from",
    "step",
    "step_generator",
    "supervise",
    "sweep",
    "train",
]
