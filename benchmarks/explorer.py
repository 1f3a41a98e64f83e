"""How long does the dictionary explorer take with a hundred thousand people? A run is made up for it.

    ./run bench explorer [--people 100000] [--updates 30]

The people share one picture, have keypoints and a known truth, and were updated millions of times. Opening, moving the
threshold and turning a page are timed; the numbers go to runs/bench/explorer.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from spinkit import body as bodies
from spinkit import job, lab
from spinkit.data import Samples, StoredImages, Truth
from spinkit.fits import NEVER, FitDictionary
from spinkit.keypoints import Keypoints

ROOT = Path(__file__).resolve().parents[1]
STEPS = 5000
MOVES = 20
"""Moves of the threshold that are timed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--updates", type=int, default=30, help="of each person, on average")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        people = made_up_run(Path(folder) / "made_up", given.people, given.updates)
        report = timed(Path(folder) / "made_up", people)
    report |= {"people": given.people, "updates": given.people * given.updates, "threads": torch.get_num_threads()}
    path = ROOT / "runs" / "bench" / "explorer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print("\n".join(f"{name}: {value}" for name, value in report.items()))
    return 0


def made_up_run(folder: Path, people: int, updates: int, seed: int = 0) -> Samples:
    """Write a finished run of made-up fits, whose errors fall with every update, and return its people.

    Args:
        folder: of the run; made here.
        people: their number.
        updates: of each, on average.
        seed: of all that is drawn.
    """
    g = torch.Generator().manual_seed(seed)
    truth = Truth.none(people)
    pose, betas = 0.2 * torch.randn(people, 24, 3, generator=g), torch.randn(people, 10, generator=g)
    fits = FitDictionary(pose + 0.1 * torch.randn(pose.shape, generator=g), betas.clone(), torch.ones(people))
    arrays = fits.arrays() | _events(people, updates, g)
    arrays["error"] = _after(arrays, people)
    arrays["updates"] = np.bincount(arrays["event_key"], minlength=people)
    arrays["updated_at"] = np.full(people, NEVER)
    arrays["updated_at"][arrays["event_key"]] = arrays["event_step"]
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "fits.npz", **arrays)
    settings = {"preset": asdict(job.choose("cpu", steps=STEPS)), "sources": asdict(job.Sources())}
    history = [{"step": s, "updated": 0.3, "valid": 0.9} for s in range(25, STEPS + 1, 25)]
    for name, content in (("settings", settings), ("summary", settings), ("history", history)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    truth = Truth(pose, betas, torch.ones(people, dtype=torch.bool), truth.joints, truth.has_pose_3d)
    xy = 60 + 100 * torch.rand(people, 49, 2, generator=g)
    one = torch.full((1, 3, 80, 80), 200, dtype=torch.uint8).expand(people, -1, -1, -1)
    return Samples("made up", StoredImages(one), Keypoints(xy, torch.ones(people, 49)), truth, truth, 1.25)


def _events(people: int, updates: int, g: torch.Generator) -> dict[str, np.ndarray]:
    count = people * updates
    before = 30 * torch.rand(count, generator=g).numpy() + 1
    return {
        "event_key": torch.randint(people, (count,), generator=g).numpy(),
        "event_step": np.sort(torch.randint(STEPS + 1, (count,), generator=g).numpy()),
        "event_before": before,
        "event_after": before * 0.9,
    }


def _after(arrays: dict[str, np.ndarray], people: int) -> np.ndarray:
    """Errors of the last updates; of who had none, 400 px^2."""
    error = np.full(people, 400, dtype=np.float32)
    error[arrays["event_key"]] = arrays["event_after"]
    return error


def timed(folder: Path, people: Samples) -> dict[str, dict[str, float]]:
    """Seconds of opening and of moving the handles, by the clock and of the processor; of moves, the median."""
    human = bodies.load()
    human.keypoints_only()
    made = []
    opening = _clocked(lambda: made.append(lab.dictionary_explorer(folder, people, human)))
    handles = {name: _find(made[0].widget, name) for name in ("spinkit-slider-threshold", "spinkit-choose-sort")}
    threshold, sort = handles.values()
    moves = [_clocked(lambda v=v: setattr(threshold, "value", v)) for v in np.linspace(3, 30, MOVES)]
    sorts = [_clocked(lambda s=s: setattr(sort, "value", s)) for s in sort.options[1:]]
    return {"open": opening, "threshold": _median(moves), "sort": _median(sorts)}


def _clocked(act: Callable[[], object]) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    act()
    return {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}


def _median(times: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([one[name] for one in times])) for name in times[0]}


def _find(widget: object, name: str) -> object | None:
    """The widget below one that carries a class of the page."""
    if name in getattr(widget, "_dom_classes", ()):
        return widget
    below = (_find(child, name) for child in getattr(widget, "children", ()))
    return next((found for found in below if found is not None), None)


if __name__ == "__main__":
    raise SystemExit(main())
