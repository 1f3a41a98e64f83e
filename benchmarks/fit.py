"""A fit in how little time, and how well? The published routine, our Adam and our LM on the same people and starts.

    ./run bench fit [--published-limit 256] [--starts regressor] [--device cuda] [--training-step]

One run measures all: seconds by batch size in turns, objective and accuracy on the same 1000 people, the arithmetic
floor, memory, the body layer against smplx, initial fits, how sure fits are, and the share of a training step. Tables
are printed as they come; runs/bench/fit.json holds every number with the machine's name. --quick only shows that
everything runs.
"""

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fitting import certainty, clock, comparison, floor, initial, layer, memory, report, samples, speed, training
from fitting.routines import NAMES, Answer, Routine, World, routines
from fitting.samples import Crowd

from spinkit.smplify import Start

ROOT = Path(__file__).resolve().parents[1]
SEED = 20_000
"""Far from the seeds of any training or test people."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    samples: int = 1000
    batch: int = 64
    """Of the comparison, the floor and the layer."""
    sizes: tuple[int, ...] = (1, 16, 64, 256, 1024, 4096)
    rounds: int = 5
    repeats: int = 15
    """Of short measurements: products, layers, training steps."""
    adam_steps: int = 100
    initial_people: int = 2000
    published_limit: int = 256
    training_cases: tuple[training.Case, ...] = training.USUAL


QUICK = Plan(
    samples=6,
    batch=4,
    sizes=(1, 4),
    rounds=1,
    repeats=1,
    adam_steps=2,
    initial_people=4,
    published_limit=0,
    training_cases=(training.Case("tiny", 4),),
)


@dataclass(frozen=True)
class Bench:
    """Whom and what every part measures."""

    plan: Plan
    world: World
    crowd: Crowd
    starts: Start
    routines: dict[str, Routine]


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    bench = prepare(given)
    found = {
        "command": shlex.join(["./run", "bench", "fit", *(sys.argv[1:] if words is None else words)]),
        "machine": clock.machine(bench.world.device),
        "starts": {"name": given.starts, "meaning": samples.STARTS[given.starts].__doc__},
        "plan": json.loads(json.dumps(vars(bench.plan), default=vars)),
    }
    print("\n".join(f"{name}: {value}" for name, value in found["machine"].items()), flush=True)
    for name, part in PARTS.items():
        if name not in given.skip:
            found[name] = part.measure(bench, found)
            print(f"\n## {name}\n\n{part.table(found)}", flush=True)
    print(f"\n{left_out(bench.plan)}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1))
    return 0


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    limit = f"largest batch for Adam's two routines, {Plan.published_limit} by default; {Plan.batch} they always fit"
    parser.add_argument("--published-limit", type=int, help=limit)
    parser.add_argument("--starts", default="regressor", choices=sorted(samples.STARTS), help="who disturbs the truth")
    parser.add_argument("--samples", type=int, help=f"people of the comparison, {Plan.samples} by default")
    parser.add_argument("--device", default="cpu", type=torch.device, help="cpu or cuda")
    parser.add_argument("--training-step", action="store_true", help="time steps of ResNet-50 at 224 px too")
    parts = [name for name in PARTS if name != "quality"]
    parser.add_argument("--skip", nargs="+", default=[], choices=parts, metavar="PART", help=", ".join(parts))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs and measures nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench" / "fit.json")
    given = parser.parse_args(words)
    if given.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no such graphics card; leave the option out to measure the processor")
    if (given.samples or 1) < 1:
        parser.error(f"--samples must be at least 1, got {given.samples}")
    return given


def prepare(given: argparse.Namespace) -> Bench:
    """Draw everybody and their starts once; parts take from the front."""
    plan = QUICK if given.quick else Plan()
    asked = {name: getattr(given, name) for name in ("samples", "published_limit")}
    plan = replace(plan, **{name: value for name, value in asked.items() if value is not None})
    if given.training_step:
        plan = replace(plan, training_cases=plan.training_cases + training.LARGE)
    world = World.on(given.device)
    human = world.body.to("cpu")
    crowd = samples.draw(human, max(plan.samples, plan.initial_people, *plan.sizes), SEED)
    starts = samples.STARTS[given.starts](human, crowd, torch.Generator().manual_seed(SEED))
    crowd, starts = crowd.to(given.device), samples.starts_to(starts, given.device)
    return Bench(plan, world, crowd, starts, routines(world, plan.adam_steps))


def measure_quality(bench: Bench, found: dict) -> dict:
    """The same people, fitted by all three in batches; the times count as those of that batch size."""
    plan, world = bench.plan, bench.world
    crowd, starts = bench.crowd[: plan.samples], bench.starts[: plan.samples]
    speed.warm_up(routines(world, 2), crowd, starts, {plan.batch: list(NAMES)})
    answers, seconds = comparison.run(bench.routines, crowd, starts, plan.batch, world.device)
    answers = {"start": Answer(starts, torch.zeros(len(crowd), device=world.device)), **answers}
    verdicts = {name: comparison.judge(world, crowd, answer) for name, answer in answers.items()}
    groups = {
        name: {"people": int(rows.sum()), "routines": comparison.summary(verdicts, rows)}
        for name, rows in comparison.groups(crowd).items()
        if rows.any()
    }
    return {"drawn": len(crowd), "groups": groups, "seconds": seconds}


def qualities(found: dict) -> str:
    """One table a group."""
    groups = found["quality"]["groups"]
    return "\n\n".join(
        f"{name}, {group['people']} of {found['quality']['drawn']} drawn:\n\n{report.quality(found, name)}"
        for name, group in groups.items()
    )


def measure_memory(bench: Bench, found: dict) -> dict:
    """A process for each routine and size, which has to start: only as many as the speeds need."""
    allowed = speed.planned(bench.plan.sizes, bench.plan.published_limit, bench.plan.batch)
    return {
        str(size): {name: memory.measure(name, size, bench.world.device) for name in names}
        for size, names in allowed.items()
    }


def measure_speed(bench: Bench, found: dict) -> dict:
    """At the comparison's batch size Adam's routines were timed there already, on all its batches."""
    plan = bench.plan
    allowed = speed.planned(plan.sizes, plan.published_limit, plan.batch)
    allowed[plan.batch] = ["lm"]
    speed.warm_up(routines(bench.world, 2), bench.crowd, bench.starts, allowed)
    seconds = speed.measure(bench.routines, bench.crowd, bench.starts, allowed, plan.rounds, bench.world.device)
    before = found["quality"]["seconds"]
    seconds[plan.batch] = {name: before[name] + seconds[plan.batch].get(name, []) for name in NAMES}
    return speed.summary(seconds)


def measure_floor(bench: Bench, found: dict) -> dict:
    plan = bench.plan
    crowd, starts = bench.crowd[: plan.samples], bench.starts[: plan.samples]
    counted = floor.measure(bench.world, crowd, starts, plan.batch, plan.repeats)
    seconds = statistics.median(found["quality"]["seconds"]["lm"])
    over = {name: seconds / least for name, least in counted["floor_seconds"].items()}
    where = floor.profile(bench.world, crowd, starts, plan.batch)
    return counted | {"seconds": seconds, "over_floor": over, "profile": where}


def measure_layer(bench: Bench, found: dict) -> dict:
    return layer.measure(bench.world, bench.starts[: bench.plan.batch], bench.plan.repeats)


def measure_initial(bench: Bench, found: dict) -> dict:
    return initial.measure(bench.world, bench.crowd[: bench.plan.initial_people])


def measure_certainty(bench: Bench, found: dict) -> dict:
    some = slice(bench.plan.samples)
    return certainty.measure(bench.world, bench.crowd[some], bench.starts[some])


def measure_training(bench: Bench, found: dict) -> list:
    cases, repeats = bench.plan.training_cases, bench.plan.repeats
    return [training.measure(bench.world, bench.crowd, bench.starts, case, repeats) for case in cases]


def left_out(plan: Plan) -> str:
    """What the tables do not hold, and why."""
    missing = [str(size) for size in plan.sizes if size > max(plan.published_limit, plan.batch)]
    if not missing:
        return "Every routine was measured at every size."
    return (
        f"Not measured: (a) and (b) at batches of {', '.join(missing)}, which --published-limit {plan.published_limit} "
        "leaves out for their time."
    )


@dataclass(frozen=True)
class Part:
    """One section of the report: what it measures, knowing what was found before it, and its tables."""

    measure: Callable[[Bench, dict], dict | list]
    table: Callable[[dict], str]


PARTS = {
    "quality": Part(measure_quality, qualities),
    "memory": Part(measure_memory, report.memory),
    "speed": Part(measure_speed, report.speed),
    "floor": Part(measure_floor, report.floor),
    "layer": Part(measure_layer, report.layer),
    "initial": Part(measure_initial, report.initial),
    "certainty": Part(measure_certainty, report.certainty),
    "training": Part(measure_training, report.training),
}
"""In the order in which they run. A new part joins here; all but the first can be skipped."""


if __name__ == "__main__":
    raise SystemExit(main())
