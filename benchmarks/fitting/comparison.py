"""How well the three routines fit the same people from the same starts, judged by one objective and by the truth."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from fitting.clock import timed
from fitting.routines import Answer, Routine, World
from fitting.samples import Crowd
from spinkit import camera as cameras
from spinkit import evaluate, smplify
from spinkit.keypoints import Keypoints
from spinkit.smplify import SmplifySettings, Start
from spinkit.solvers import LevenbergMarquardt

TORSO = [27, 28, 33, 34]
ROUNDING = 1e-5
"""Share of an objective by which float32 may put equal ones apart."""


@dataclass(frozen=True)
class Verdict:
    """What bodies score, one number a sample."""

    objective: Tensor
    """Of the body stage with the published weights, each under its own camera, px^2."""
    mpjpe: Tensor
    """Metres, the 14 LSP keypoints, between the hips."""
    pa_mpjpe: Tensor
    pixels: Tensor
    """Mean distance of the keypoints that count from where the body's are seen."""
    iterations: Tensor

    def __getitem__(self, rows: Tensor) -> "Verdict":
        return Verdict(*(value[rows] for value in vars(self).values()))


def run(
    routines: dict[str, Routine], crowd: Crowd, starts: Start, batch: int, device: torch.device
) -> tuple[dict[str, Answer], dict[str, list[float]]]:
    """Every routine's answers, and its seconds for each full batch; on every batch the routines take turns."""
    answers = {name: [] for name in routines}
    seconds = {name: [] for name in routines}
    for first in range(0, len(crowd), batch):
        rows = slice(first, first + batch)
        keypoints, start = crowd[rows].keypoints, starts[rows]
        for name, routine in routines.items():
            spent, answer = timed(lambda r=routine, k=keypoints, s=start: r(k, s), device)
            answers[name].append(answer)
            if len(start.rotvec) == batch:
                seconds[name].append(spent)
    return {name: joined(parts) for name, parts in answers.items()}, seconds


def joined(parts: list[Answer]) -> Answer:
    """Several batches as one."""

    def cat(pick: Callable[[Answer], Tensor]) -> Tensor:
        return torch.cat([pick(part) for part in parts])

    camera = cameras.crop_camera(cat(lambda p: p.at.camera.translation))
    return Answer(Start(cat(lambda p: p.at.rotvec), cat(lambda p: p.at.betas), camera), cat(lambda p: p.iterations))


def objective(world: World, keypoints: Keypoints, at: Start) -> Tensor:
    """Our terms with the published weights, wherever the body came from; a fit of no steps says what it starts at."""
    still = LevenbergMarquardt(steps=0)
    settings = replace(smplify.published(), camera_solver=still, body_solver=still)
    return smplify.fit(world.body, world.prior, keypoints, at, settings).total


def judge(world: World, crowd: Crowd, answer: Answer) -> Verdict:
    """Compare answers with the truth and with the keypoints."""
    at = answer.at
    scores = evaluate.score_fits(world.body, at.rotvec, at.betas, crowd.truth)
    seen = cameras.project(at.camera, world.body.keypoints(roma.rotvec_to_rotmat(at.rotvec), at.betas))
    counts = (smplify.counted(crowd.keypoints) > 0).to(seen)
    away = (counts * (seen - crowd.keypoints.xy).norm(dim=-1)).sum(-1) / counts.sum(-1).clamp(min=1)
    return Verdict(
        objective(world, crowd.keypoints, at), scores.mpjpe, scores.pa_mpjpe, away, answer.iterations.to(away)
    )


def groups(crowd: Crowd) -> dict[str, Tensor]:
    """Whom the tables are about: all that can be fitted, and those whose torso was marked whole.

    The released camera stage is pulled to wherever a missing hip or shoulder is stored, which is not its solver's
    fault; the second group shows the routines without it.
    """
    fittable = ~smplify.too_few(crowd.keypoints, SmplifySettings())
    return {"everybody": fittable, "torso marked whole": fittable & crowd.keypoints.visible[:, TORSO].all(dim=1)}


def summary(verdicts: dict[str, Verdict], rows: Tensor) -> dict[str, dict[str, float]]:
    """Means over some samples; shares and ratios are against `published`."""
    chosen = {name: verdict[rows] for name, verdict in verdicts.items()}
    base = chosen["published"]
    return {
        name: {
            "at_most_published": (v.objective <= (1 + ROUNDING) * base.objective).double().mean().item(),
            "objective": v.objective.double().mean().item(),
            "mpjpe_mm": 1000 * v.mpjpe.mean().item(),
            "pa_mpjpe_mm": 1000 * v.pa_mpjpe.mean().item(),
            "mpjpe_ratio": (v.mpjpe.mean() / base.mpjpe.mean()).item(),
            "pa_mpjpe_ratio": (v.pa_mpjpe.mean() / base.pa_mpjpe.mean()).item(),
            "pixels": v.pixels.mean().item(),
            "median_pixels": v.pixels.median().item(),
            "iterations": v.iterations.mean().item(),
            "most_iterations": v.iterations.max().item(),
        }
        for name, v in chosen.items()
    }
