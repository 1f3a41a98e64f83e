"""The floor under a fit's time: its arithmetic, at the rate at which this machine multiplies matrices.

Counted are multiplications and additions in float32 that the closed form cannot do without, as if nothing else took
time: no memory traffic, no calls, and no zero block ever multiplied. `m` keypoints count; a path is a pair of a
keypoint and a joint that moves it; a pair is one of a keypoint on the skin and a joint which that skin follows. There
are n unknowns: 85 with a camera that moves, less three for each joint that is left to the prior. k = n - 16 of them
turn joints.

    one linearisation of the body stage                                     operations
    joints       24 rotations and their derivative, a chain of 23           24 (60 + 54 + 54) + 23 54
    arms         of each path, by betas; each turned                        path (3 10 2 + 15)
    skin         of each pair, by 207 pose features                         pair 3 207 2
    camera       projection, robust weight, two rows of derivative          m 60
    by rotation  two rows: moment of a lever, onto three axes               path (3 + 2 9 + 2 15)
    by skin      a force on each pair, onto 207 features, onto 69 turns     pair (15 + 3 207 2) + 69 18
    by betas     two rows into each joint's frame, onto 10 betas            path 2 (15 + 10 6)
    J'J, J'r     symmetric, from 2 m rows                                   (n (n + 1) + 2 n) 2 m
    prior        8 distances by triangular factors, one gradient            8 k^2 + 2 k^2 + k^2
    one step
    Cholesky     and two triangular solutions                               n^3 / 3 + 2 n^2

The camera stage, with 4 points and 6 unknowns, is counted alike and matters little.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fitting.clock import in_turns
from fitting.routines import World
from fitting.samples import Crowd
from spinkit import body as bodies
from spinkit import files, smplify
from spinkit.body import chain
from spinkit.keypoints import POOL
from spinkit.smplify import SmplifySettings, Start
from spinkit.solvers import LevenbergMarquardt

COMPONENTS = 8
RATE_SIZE = 256
"""Side of the square matrices whose product rate is the machine's: large enough to be limited by arithmetic alone."""


@dataclass(frozen=True)
class Sizes:
    """How much there is to compute for the keypoints that somebody marked."""

    points: int
    skinned: int
    """Points on the skin; the others are joints."""
    paths: int
    pairs: int
    unknowns: int = 85
    """Of every joint, ten betas and a camera that moves."""


def sizes(points: list[int]) -> Sizes:
    """Counted on the shipped body's file, for some of the 49 keypoints."""
    arrays = files.read_npz(bodies.default_path())
    weights, extra = torch.from_numpy(arrays["weights"]), torch.from_numpy(arrays["J_regressor_extra"])
    picked = weights[list(bodies.POOL_VERTICES)] > 0
    mixed = (extra != 0).double() @ (weights != 0).double() > 0
    follows, above = torch.cat([picked, mixed]), chain.ancestry()
    paths = pairs = 0
    for pool in (POOL[point] for point in points):
        if pool < 24:
            # A joint is where its ancestors' turns put it.
            paths += int(above[pool].sum()) - 1
            continue
        row = pool - 24 if pool < bodies.FIRST_REGRESSED else pool - bodies.FIRST_REGRESSED + len(bodies.POOL_VERTICES)
        paths += int(above[follows[row]].any(dim=0).sum())
        pairs += int(follows[row].sum())
    return Sizes(len(points), sum(POOL[point] >= 24 for point in points), paths, pairs)


def linearisation(s: Sizes) -> dict[str, float]:
    """Operations of one linearisation of the body stage, for one sample; see the table above."""
    n, k = s.unknowns, s.unknowns - 16
    return {
        "joints": 24 * (60 + 54 + 54) + 23 * 54,
        "arms": s.paths * (3 * 10 * 2 + 15),
        "skin": s.pairs * 3 * 207 * 2,
        "camera": s.points * 60,
        "by rotation": s.paths * (3 + 2 * 9 + 2 * 15),
        "by skin": s.pairs * (15 + 3 * 207 * 2) + 69 * 18,
        "by betas": s.paths * 2 * (15 + 10 * 6),
        "J'J, J'r": (n * (n + 1) + 2 * n) * 2 * s.points,
        "prior": COMPONENTS * k**2 + 3 * k**2,
    }


def step(s: Sizes) -> float:
    """Operations of one damped step of the body stage, for one sample."""
    return s.unknowns**3 / 3 + 2 * s.unknowns**2


def camera_iteration() -> float:
    """Operations of one iteration of the camera stage: 9 rows and 6 unknowns."""
    return 200 + 4 * (60 + 90) + (6 * 7 + 2 * 6) * 9 + 6**3 / 3 + 2 * 6**2


def iterations_by_stage(world: World, crowd: Crowd, starts: Start, settings: SmplifySettings) -> tuple[Tensor, Tensor]:
    """Steps that every sample took in the camera stage and in the body stage."""
    both = smplify.fit(world.body, world.prior, crowd.keypoints, starts, settings).iterations
    camera_only = replace(settings, body_solver=LevenbergMarquardt(steps=0), rival_gap=0.0)
    camera = smplify.fit(world.body, world.prior, crowd.keypoints, starts, camera_only).iterations
    return camera, both - camera


def unknowns(world: World, crowd: Crowd) -> int:
    """How many a fit of these people searches: all of them have toes marked, or none."""
    left = smplify.left_to_prior(world.body.keypoints_only(), world.prior, crowd.keypoints, smplify.quick())
    return 85 - (0 if left is None else len(left.left))


def product_rates(batch: int, s: Sizes, device: torch.device, repeats: int) -> dict[str, float]:
    """Operations a second of batched float32 products: of large squares, and of J' with J as a fit has them."""
    jacobian = torch.rand(batch, 2 * s.points, s.unknowns, device=device)
    square = torch.rand(batch, RATE_SIZE, RATE_SIZE, device=device)
    calls: dict[str, Callable[[], Tensor]] = {"squares": lambda: square @ square, "J'J": lambda: jacobian.mT @ jacobian}
    seconds = in_turns(calls, repeats, device)
    work = {"squares": 2 * batch * RATE_SIZE**3, "J'J": 4 * batch * s.points * s.unknowns**2}
    return {name: work[name] / spent for name, spent in seconds.items()}


def measure(world: World, crowd: Crowd, starts: Start, batch: int, repeats: int) -> dict[str, object]:
    """The floor of a batch with the settings that are compared, at both rates.

    A linearisation and a factor are counted for each step, the mean over all people. A sample that stops early has one
    of each more: at its start, and for the step that was not worth a trial.
    """
    used = (smplify.counted(crowd.keypoints) > 0).any(dim=0).nonzero()[:, 0].tolist()
    counted = replace(sizes(used), unknowns=unknowns(world, crowd))
    camera, body = iterations_by_stage(world, crowd, starts, smplify.quick())
    camera_steps, body_steps = camera.double().mean().item(), body.double().mean().item()
    parts = linearisation(counted)
    one = sum(parts.values())
    sample = (one + step(counted)) * body_steps + camera_iteration() * camera_steps
    rates = product_rates(batch, counted, world.device, repeats)
    return {
        "sizes": vars(counted),
        "operations": {**parts, "Cholesky and solutions": step(counted)},
        "operations_per_iteration": one + step(counted),
        "camera_iterations": camera_steps,
        "body_iterations": body_steps,
        "operations_per_batch": batch * sample,
        "rates": rates,
        "floor_seconds": {name: batch * sample / rate for name, rate in rates.items()},
    }


def profile(world: World, crowd: Crowd, starts: Start, batch: int, most: int = 10) -> list[dict[str, float | str]]:
    """What stands between the floor and the time: the operations that take longest by themselves, and their calls."""
    keypoints, start = crowd[:batch].keypoints, starts[:batch]
    activities = [torch.profiler.ProfilerActivity.CPU]
    if world.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as watched:
        smplify.fit(world.body, world.prior, keypoints, start, smplify.quick())
    events = watched.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    longest = sorted(events, key=lambda event: event.self_cpu_time_total, reverse=True)[:most]
    rows = [{"operation": e.key, "share": e.self_cpu_time_total / whole, "calls": e.count} for e in longest]
    rest = {"operation": "all others", "share": 1 - sum(row["share"] for row in rows)}
    return [*rows, rest | {"calls": sum(e.count for e in events) - sum(row["calls"] for row in rows)}]
