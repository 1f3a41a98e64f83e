"""Does a fit from nothing hold on real people? Initial fits of 2D poses that were annotated in photographs.

    ./run bench real_poses [person_keypoints.json]

Every pose is fitted with the default settings. There is no 3D truth: what is measured is how far the fitted body's
keypoints lie from the annotated ones, under the fit's own camera. The numbers go to runs/bench/real_poses.json.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import body as bodies
from spinkit import camera, data, priors, smplify
from spinkit.body import Body
from spinkit.keypoints import Keypoints
from spinkit.smplify import Fit
from spinkit.smplify.fit import counted
from spinkit.spin import SpinSettings

ROOT = Path(__file__).resolve().parents[1]
POSES = ROOT.parent / "shared" / "realdata" / "coco_keypoints" / "person_keypoints.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("poses", nargs="?", type=Path, default=POSES, help="a COCO person_keypoints file; no photos")
    given = parser.parse_args()
    if not given.poses.is_file():
        print(f"real_poses: no keypoints at {given.poses}; name a COCO person_keypoints file", file=sys.stderr)
        return 2
    report = measure(given.poses)
    report["command"] = shlex.join(["./run", "bench", "real_poses", *sys.argv[1:]])
    path = ROOT / "runs" / "bench" / "real_poses.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print("\n".join(f"{name}: {value}" for name, value in report.items()))
    return 0


def measure(path: Path) -> dict[str, object]:
    """Fit every pose of a file, and say how well it went."""
    poses, refused = data.read_coco_keypoints(path)
    body, prior = bodies.load(), priors.load()
    body.keypoints_only()
    began = time.perf_counter()
    fits = smplify.initial_fits(body, prior, poses)
    seconds = time.perf_counter() - began
    threshold = SpinSettings().reprojection_threshold
    pixels = pixel_error(body, fits, poses).nan_to_num(nan=torch.inf)
    return {
        "poses": len(fits),
        "refused": refused.counts,
        "finite": share(finite(fits)),
        "under_threshold": share(fits.error < threshold),
        "threshold_px2": threshold,
        "median_px": round(float(pixels.median()), 2),
        "ninety_percent_px": round(float(pixels.quantile(0.9)), 2),
        "worst_px": round(float(pixels.max()), 2),
        "seconds": round(seconds, 2),
        "fits_per_second": round(len(fits) / seconds, 1),
        "threads": torch.get_num_threads(),
    }


def pixel_error(body: Body, fits: Fit, keypoints: Keypoints) -> Float[Tensor, "n"]:
    """Mean distance, in pixels of the 224-pixel crop, of the keypoints that count from where the fit sees them."""
    seen = camera.project(fits.camera, body.keypoints(roma.rotvec_to_rotmat(fits.rotvec), fits.betas))
    counts = (counted(keypoints) > 0).to(seen)
    return (counts * (seen - keypoints.xy).norm(dim=-1)).sum(-1) / counts.sum(-1)


def finite(fits: Fit) -> Tensor:
    """Fits of finite numbers only, that a dictionary could hold."""
    return fits.usable & fits.rotvec.isfinite().flatten(1).all(1) & fits.betas.isfinite().all(1)


def share(mask: Tensor) -> float:
    """The part of a mask that is true, between 0 and 1."""
    return round(float(mask.double().mean()), 4)


if __name__ == "__main__":
    raise SystemExit(main())
