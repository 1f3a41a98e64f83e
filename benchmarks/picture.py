"""The picture at the top of the README: keypoints, initial fit, the network's answer, and the fit it ended with.

    ./run bench picture [RUN] [KEY]

RUN is the folder of a finished run of the preset `cpu` in the mode `loop`; KEY is a person of its training set, by
default the one among the tracked whose fit gained most against the truth. The person is photographed anew at 224
pixels: the same body, clothes and light as in the set, which shows 64.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from spinkit import evaluate, job, people, spin, view

ROOT = Path(__file__).resolve().parents[1]
RUNNER = 572
"""Somebody of whom one ankle was marked far from where it is: the initial fit believes it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=ROOT / "runs" / "bench" / "loop" / "loop_0")
    parser.add_argument("key", nargs="?", type=int, default=RUNNER)
    given = parser.parse_args()
    ready = job.prepare(job.choose("cpu"), job.Sources(), ROOT / "runs" / "cache")
    state = job.begin(ready)
    if not state.resume(given.run / "checkpoints"):
        parser.error(f"{given.run} holds no snapshot; make one with ./run bench loop")
    key = torch.tensor([given.key])
    figure = picture(ready, state, key)
    path = ROOT / "data" / "readme.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    print(f"person {key.item()}: {path.relative_to(ROOT)}")
    return 0


def picture(ready: job.Prepared, state: spin.Run, key: torch.Tensor):
    """Four panels of one person."""
    small = ready.preset.people
    large = people.make(ready.body, int(key) + 1, job.DATA_SEED, replace(small, image_size=224)).subset(key)
    marked = ready.train.keypoints[key]
    said = evaluate.regress(state.model, ready.train.subset(key), size=ready.preset.spin.image_size)
    before, after = (view.judged(ready.body, marked, f.rotvec[key], f.betas[key]) for f in (ready.fits, state.fits))
    image = view.crops(large, torch.tensor([0]))[0]
    panels = {"initial fit": before, "network": spin.start_from(said), "fit in the end": after}
    pictures = [view.keypoints_on(image, marked[0])]
    pictures += [view.overlay(image, ready.body, fit) for fit in panels.values()]
    return view.contact_sheet(pictures, ["image and keypoints", *panels], columns=4, width=11)


if __name__ == "__main__":
    raise SystemExit(main())
