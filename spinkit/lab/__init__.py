"""Widgets for the chapters: the body, a fit, a step of the loop and the dictionary, to be touched."""

from spinkit.lab.body_explorer import body_explorer
from spinkit.lab.dictionary_compare import compare_runs
from spinkit.lab.dictionary_explorer import dictionary_explorer
from spinkit.lab.explorer import Explorer, has_front_end
from spinkit.lab.fit_explorer import fit_explorer
from spinkit.lab.live import Live, live
from spinkit.lab.loop_step import loop_step
from spinkit.lab.race import race
from spinkit.lab.review import review
from spinkit.lab.slow_step import slow_step

__all__ = [
    "Explorer",
    "Live",
    "body_explorer",
    "compare_runs",
    "dictionary_explorer",
    "fit_explorer",
    "has_front_end",
    "live",
    "loop_step",
    "race",
    "review",
    "slow_step",
]
