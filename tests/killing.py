"""Trainings that may be killed: a server that has imported all and prepared its people, and forks a child for each.

Run as a program, it answers lines of JSON: `{"folder": ..., "die_at": n, "log": ...}` starts a training into a folder
and returns its process number, `{"wait": pid}` its exit status. A child that is told so kills itself just before its
n-th call that makes something lasting.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from spinkit import hmr, job

LASTING = ((os, "fsync"), (os, "replace"), (os, "rename"), (shutil, "rmtree"), (os, "unlink"))
"""Between two calls of these nothing on the disk changes but the content of a file that has no name yet."""

POCKET = hmr.Plan(hmr.BasicBlock, (1, 1), (8, 16), (1, 2), (3, 8), maxpool=True, hidden=16)
"""A network whose snapshots are small enough to be written hundreds of times."""


def small_preset() -> job.Preset:
    """A training of a second: with the first fits at step 4, and a snapshot after every fourth step."""
    hmr.PLANS["pocket"] = POCKET
    tiny = job.choose("tiny")
    spin = replace(tiny.spin, steps=18, batch_size=4, first_fit_step=4)
    return replace(
        tiny, backbone="pocket", train_people=16, test_people=4, judge_every=8, save_every=4, dropout=0.2, spin=spin
    )


def main() -> None:
    torch.set_num_threads(1)
    prepared = job.prepare(small_preset(), job.Sources(), Path(sys.argv[1]), progress=False)
    # Whatever is made at the first use is made before the fork, so that every child does the same.
    answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer({"status": os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])})
        else:
            answer({"pid": fork(prepared, order)})


def fork(prepared: job.Prepared, order: dict) -> int:
    """Start a child."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    with contextlib.suppress(BaseException):
        calls = count_calls(order.get("die_at", 0))
        with open(order["log"], "w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            job.train(prepared, Path(order["folder"]), progress=False)
        Path(order["log"]).with_suffix(".json").write_text(json.dumps(calls))
        status = 0
    os._exit(status)


def count_calls(die_at: int) -> list[str]:
    """Make the lasting calls note their names in the list that is returned, and the n-th kill this process."""
    made = []

    def noting(name: str, call: Callable) -> Callable:
        def noted(*args, **kwargs):
            made.append(f"{name} {args[0]}")
            if len(made) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return noted

    for module, name in LASTING:
        setattr(module, name, noting(name, getattr(module, name)))
    return made


def answer(content: dict) -> None:
    """One line to whoever asked."""
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
