"""Timing that forgives a drifting machine: what is compared takes turns."""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

Result = TypeVar("Result")


def timed(call: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Seconds that a call takes, to the end of what it left on a graphics card, and its result."""
    synchronize(device)
    began = time.perf_counter()
    result = call()
    synchronize(device)
    return time.perf_counter() - began, result


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turns(calls: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each call; every round runs all of them, each once uncounted and once against the clock.

    Without the first, a small call after a large one would be charged for the caches and the heap that it finds.
    """
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            call()
            seconds[name].append(timed(call, device)[0])
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine(device: torch.device) -> dict[str, object]:
    """What the figures were measured on."""
    found = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "smplx": version("smplx"),
        "spinkit": version("spinkit"),
    }
    if device.type == "cpu":
        found["instructions"] = torch.backends.cpu.get_cpu_capability()
    return found


def processor() -> str:
    """The processor's name as the system gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
