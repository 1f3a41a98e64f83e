"""The memory that one batch of fits needs, measured in a process of its own.

    python -m fitting.memory ROUTINE SIZE DEVICE      prints bytes as JSON: `before` the batch, `peak` during it

On Linux the high-water mark is set back before the batch, and unused memory is given back to the system, so that what
making the people needed does not count. Elsewhere the mark of the whole process is all there is, and the difference
is a lower bound. On a graphics card what counts is what torch allocates there.
"""

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import torch

from fitting import samples
from fitting.routines import World, routines

STEPS = 2
"""Of Adam in each stage: more need no more memory."""
RESET = Path("/proc/self/clear_refs")
SEED = 5


def measure(routine: str, size: int, device: torch.device) -> dict[str, int]:
    """Bytes before and at the peak of one batch, in a fresh process."""
    folder = str(Path(__file__).resolve().parents[1])
    told = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])}
    told["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    command = [sys.executable, "-m", "fitting.memory", routine, str(size), str(device)]
    done = subprocess.run(command, env=told, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(routine: str, size: int, device: torch.device) -> None:
    world = World.on(device)
    human = world.body.to("cpu")
    crowd = samples.draw(human, size, SEED)
    starts = samples.regressor_starts(human, crowd, torch.Generator().manual_seed(SEED))
    crowd, starts = crowd.to(device), samples.starts_to(starts, device)
    fit = routines(world, STEPS)[routine]
    # The first call loads kernels and starts threads, which stay.
    fit(crowd[:1].keypoints, starts[:1])
    before = begin(device)
    fit(crowd.keypoints, starts)
    print(json.dumps({"before": before, "peak": peak(device)}))


def begin(device: torch.device) -> int:
    """Bytes in use, with the high-water mark set back to them where that can be done."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not RESET.exists():
        return high_water()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    RESET.write_text("5")
    return high_water()


def peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else high_water()


def high_water() -> int:
    """The most that this process held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3]))
