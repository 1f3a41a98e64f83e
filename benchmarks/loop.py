"""Does the loop help? Static fits, the loop, and the truth as supervisors of the same network on the same people.

    ./run bench loop [--preset cpu] [--seeds 0 1 2] [--modes static loop oracle]

Every run writes its folder under runs/bench/loop/ and is not made again where it is finished; an interrupted one goes
on. The table, and runs/bench/loop.json, hold mean and spread over the seeds.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from spinkit import job

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("dictionary_pa_mpjpe", "dictionary_mpjpe", "test_pa_mpjpe", "test_mpjpe")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cpu", choices=sorted(job.presets()))
    parser.add_argument("--modes", nargs="+", default=["static", "loop", "oracle"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=0, help="zero for the preset's")
    given = parser.parse_args()
    folder = ROOT / "runs" / "bench" / ("loop" if given.preset == "cpu" else f"loop_{given.preset}")
    results = {
        (mode, seed): one_run(given, mode, seed, folder / f"{mode}_{seed}")
        for seed in given.seeds
        for mode in given.modes
    }
    report = summarise(results, given.modes, given.seeds)
    report["command"] = "./run bench loop " + " ".join(sys.argv[1:])
    (folder.parent / f"{folder.name}.json").write_text(json.dumps(report, indent=1))
    print(table(report))
    return 0


def one_run(given: argparse.Namespace, mode: str, seed: int, folder: Path) -> dict:
    """The summary of one run, made or found."""
    if not (folder / "summary.json").is_file():
        print(f"\n{mode}, seed {seed}: {folder}", flush=True)
        preset = job.choose(given.preset, mode, seed, given.steps)
        prepared = job.prepare(preset, job.Sources(), ROOT / "runs" / "cache")
        job.train(prepared, folder)
    return json.loads((folder / "summary.json").read_text())


def summarise(results: dict, modes: list[str], seeds: list[int]) -> dict:
    """Final metrics by mode, their ratios by seed, and how far the loop goes from static fits to the truth."""
    final = {mode: {m: [results[mode, s]["metrics"]["final"][m] for s in seeds] for m in METRICS} for mode in modes}
    report = {"seeds": seeds, "final": final, "ratio": {}, "covered": {}}
    if {"static", "loop"} <= set(modes):
        for metric in METRICS:
            pairs = zip(final["loop"][metric], final["static"][metric], strict=True)
            report["ratio"][metric] = [loop / static for loop, static in pairs]
    if {"static", "loop", "oracle"} <= set(modes):
        for metric in ("test_pa_mpjpe", "test_mpjpe"):
            runs = zip(*(final[mode][metric] for mode in ("static", "loop", "oracle")), strict=True)
            report["covered"][metric] = [(static - loop) / (static - oracle) for static, loop, oracle in runs]
    return report


def table(report: dict) -> str:
    """Markdown: millimetres as mean and spread (standard deviation over seeds); ratios as mean and worst seed."""

    def cell(values: list[float], digits: int = 1) -> str:
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"

    head = "| supervised by | dictionary PA-MPJPE | dictionary MPJPE | test PA-MPJPE | test MPJPE |"
    lines = [head, "|---|---|---|---|---|"]
    for mode, metrics in report["final"].items():
        # The oracle does not look at its dictionary, which stays as it began.
        cells = ["" if mode == "oracle" and m.startswith("dict") else cell(metrics[m]) for m in METRICS]
        lines.append(f"| {mode} | " + " | ".join(cells) + " |")
    if report["ratio"]:
        worst = [f"{statistics.mean(v):.3f} (worst seed {max(v):.3f})" for v in report["ratio"].values()]
        lines.append("| loop / static | " + " | ".join(worst) + " |")
    text = "\n".join(lines)
    for metric, shares in report["covered"].items():
        text += f"\n\nOf the way from static to oracle in {metric}, the loop covers {cell(shares, 2)}."
    return text


if __name__ == "__main__":
    raise SystemExit(main())
