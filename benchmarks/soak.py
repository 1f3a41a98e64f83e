"""Does a long training keep its memory? The preset `cpu`, trained for hours, interrupted and resumed again and again.

    ./run bench soak [--hours 2] [--leg 15]

Every leg ends as a Ctrl-C would end it, and the next goes on from the snapshot in a run of its own. Resident memory is
noted all the while; after a warm-up a line is fitted through it. A dictionary's history grows with every update by
design, so its bytes are told beside. The numbers go to runs/bench/soak.json.
"""

import argparse
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from spinkit import job, spin
from spinkit.fits import FitDictionary
from spinkit.spin import Run, Schedule

ROOT = Path(__file__).resolve().parents[1]
ENDLESS = 10_000_000
"""Steps that no soak reaches."""
WARM_UP = 0.2
"""Share of the time that the fitted line leaves out: caches fill, the allocator settles."""
EVERY = 5.0
"""Seconds between two looks at the memory."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--leg", type=float, default=15.0, help="minutes until the next interruption")
    parser.add_argument("--preset", default="cpu", choices=sorted(job.presets()))
    given = parser.parse_args()
    # In the background of a shell Ctrl-C is ignored, and no leg would ever end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = ROOT / "runs" / "bench" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    prepared = job.prepare(job.choose(given.preset, steps=ENDLESS), job.Sources(), ROOT / "runs" / "cache")
    report = soak(prepared, folder, given.hours * 3600, given.leg * 60)
    report["command"] = f"./run bench soak --hours {given.hours:g} --leg {given.leg:g} --preset {given.preset}"
    (folder.parent / "soak.json").write_text(json.dumps(report, indent=1))
    print("\n".join(f"{name}: {value}" for name, value in report.items() if name != "memory"))
    return 0


def soak(prepared: job.Prepared, folder: Path, seconds: float, leg: float) -> dict[str, object]:
    """Train leg after leg until the time is over, and say what became of the memory."""
    watch = Watch()
    watch.start()
    end, legs, run = time.monotonic() + seconds, 0, None
    while (left := end - time.monotonic()) > 0:
        run = None  # or two networks would be alive at once
        run = one_leg(prepared, folder, min(leg, left))
        legs += 1
    watch.stop.set()
    watch.join()
    return {
        **slope(watch.noted, history_bytes(run.fits)),
        "steps": run.steps_done,
        "legs": legs,
        "skipped_steps": sum(record.get("skipped", 0) for record in run.history),
        "threads": torch.get_num_threads(),
        "memory": watch.noted,
    }


def one_leg(prepared: job.Prepared, folder: Path, seconds: float) -> Run:
    """Go on from the newest snapshot, until a Ctrl-C after so many seconds."""
    run = job.begin(prepared)
    run.resume(folder)
    preset = prepared.preset
    world = replace(prepared.world, settings=preset.spin)
    schedule = Schedule(preset.judge_every, preset.save_every, folder, progress=False)
    timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    try:
        spin.train(run, prepared.train, world, schedule, lambda state: job.measure(prepared, state))
    except KeyboardInterrupt:
        pass
    finally:
        timer.cancel()
    return run


class Watch(threading.Thread):
    """Notes this process's resident memory every few seconds: (seconds since the start, megabytes)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop, self.noted, self.began = threading.Event(), [], time.monotonic()

    def run(self) -> None:
        while not self.stop.wait(EVERY):
            self.noted.append((round(time.monotonic() - self.began, 1), round(resident(), 2)))


def resident() -> float:
    """Megabytes of memory that this process holds, from Linux' own account of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def history_bytes(fits: FitDictionary) -> int:
    """What a dictionary's history takes: the part that grows with every update."""
    return sum(array.nbytes for name, array in fits.arrays().items() if name.startswith(("event_", "snapshot_")))


def slope(noted: list[tuple[float, float]], history: int) -> dict[str, float]:
    """The line through the memory after the warm-up, and what the history adds to it."""
    seconds, megabytes = np.array(noted).T
    later = seconds >= WARM_UP * seconds[-1]
    rise = np.polyfit(seconds[later] / 3600, megabytes[later], 1)[0]
    return {
        "hours": round(seconds[-1] / 3600, 3),
        "megabytes_per_hour": round(float(rise), 2),
        "history_megabytes_per_hour": round(history / 1e6 / (seconds[-1] / 3600), 2),
        "first_megabytes": round(float(megabytes[later][0]), 1),
        "last_megabytes": round(float(megabytes[-1]), 1),
        "peak_megabytes": round(float(megabytes.max()), 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
