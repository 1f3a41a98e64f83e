"""Seconds by batch size, and the memory that a batch needs."""

import statistics
from collections.abc import Iterable

import torch

from fitting.clock import timed
from fitting.routines import NAMES, Routine
from fitting.samples import Crowd
from spinkit.smplify import Start

CHEAP = 256
"""Batches smaller than this are measured more than once a round."""


def measure(
    routines: dict[str, Routine],
    crowd: Crowd,
    starts: Start,
    plan: dict[int, list[str]],
    rounds: int,
    device: torch.device,
) -> dict[int, dict[str, list[float]]]:
    """Seconds of every routine at every size of the plan; each round runs the whole plan once, on other people.

    Args:
        plan: for each batch size, the routines that are measured at it.
    """
    seconds = {size: {name: [] for name in names} for size, names in plan.items()}
    for number in range(rounds):
        for size, names in plan.items():
            for repeat in range(min(8, max(1, CHEAP // size))):
                rows = some(number * 8 + repeat, size, len(crowd))
                keypoints, start = crowd[rows].keypoints, starts[rows]
                for name in names:
                    spent, _ = timed(lambda n=name, k=keypoints, s=start: routines[n](k, s), device)
                    seconds[size][name].append(spent)
    return seconds


def warm_up(short: dict[str, Routine], crowd: Crowd, starts: Start, plan: dict[int, list[str]]) -> None:
    """One call of every routine at every size, with few of Adam's steps: first calls are slower."""
    for size, names in plan.items():
        rows = some(0, size, len(crowd))
        for name in names:
            short[name](crowd[rows].keypoints, starts[rows])


def some(number: int, size: int, count: int) -> torch.Tensor:
    """The people of a batch: the next ones, from the beginning again after the last."""
    return (torch.arange(size) + number * size) % count


def planned(sizes: Iterable[int], limit: int, always: int) -> dict[int, list[str]]:
    """Which routines run at which size: Adam's up to a limit and at the main size, ours at all."""
    return {size: list(NAMES) if size <= max(limit, always) else ["lm"] for size in sizes}


def summary(seconds: dict[int, dict[str, list[float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """By size and routine: median, extremes, fits a second and how often (a)'s time holds it."""
    report = {}
    for size, by_name in sorted(seconds.items()):
        medians = {name: statistics.median(values) for name, values in by_name.items() if values}
        report[str(size)] = {
            name: {
                "seconds": median,
                "least": min(by_name[name]),
                "most": max(by_name[name]),
                "repeats": len(by_name[name]),
                "fits_per_second": size / median,
                **({"times_published": medians["published"] / median} if "published" in medians else {}),
                **({"times_adam": medians["adam"] / median} if "adam" in medians else {}),
            }
            for name, median in medians.items()
        }
    return report
