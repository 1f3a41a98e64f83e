"""What do damaged files do? Every kind of file that the package reads, damaged in a thousand ways each.

    ./run bench fuzz [--ways 1000] [--seed 0] [--kinds "EFT json" ...]

A reader has to refuse a damaged file by a ValueError or an OSError that names it, or to answer validly; where checksums
cover the file, by what the whole file says. (Without, as in JSON, a damaged digit is another number: the column `other`
counts such answers.) Anything else is a failure: another exception, a crash, a hang, a gulp of
memory, a wrong answer, or code that ran. The table's figures, and every failure, go to runs/bench/fuzz.json.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from fuzzing.worker import Outcome, every_kind, outcomes

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = ("refused", "same", "other", "failed")
TOLD = 5
"""Failures of a kind that are printed."""


def main(arguments: list[str] | None = None) -> int:
    kinds = list(every_kind())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", type=int, default=1000, help="damaged files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=kinds, metavar="KIND", help="; ".join(kinds))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench" / "fuzz.json")
    given = parser.parse_args(arguments)
    began, report = time.monotonic(), {"ways": given.ways, "seed": given.seed, "kinds": {}}
    print(f"{'kind':<32} " + " ".join(f"{name:>7}" for name in ("tried", *VERDICTS)), flush=True)
    for name, found in groupby(outcomes(given.kinds, given.ways, given.seed), key=lambda outcome: outcome.kind):
        row = summary(found)
        report["kinds"][name] = row
        print(line(name, row), flush=True)
        for failure in row["failures"][:TOLD]:
            print(f"    {failure['number']} ({failure['way']}): {failure['detail']}", flush=True)
    total = {field: sum(row[field] for row in report["kinds"].values()) for field in ("tried", *VERDICTS)}
    print(line("all", total))
    report |= {"total": total, "seconds": round(time.monotonic() - began)}
    report["command"] = f"./run bench fuzz --ways {given.ways} --seed {given.seed}"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1))
    return int(total["failed"] > 0)


def summary(found: Iterable[Outcome]) -> dict:
    """Counts of a kind's outcomes, and its failures."""
    every = list(found)
    counts = Counter(outcome.verdict for outcome in every)
    return {
        "tried": len(every),
        **{verdict: counts[verdict] for verdict in VERDICTS},
        "failures": [asdict(o) for o in every if o.verdict == "failed"],
    }


def line(name: str, row: dict) -> str:
    return f"{name:<32} " + " ".join(f"{row[field]:>7}" for field in ("tried", *VERDICTS))


if __name__ == "__main__":
    raise SystemExit(main())
