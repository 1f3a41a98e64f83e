"""One damaged file after the other, read in a process of its own, which may crash, hang or swallow memory."""

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from fuzzing import annotations, memory, models
from fuzzing.damage import BYTES, CANARY
from fuzzing.kinds import Kind, complaint, flat, same

SECONDS = 20.0
"""Of processor time that a file may take; what takes longer hangs."""
PATIENCE = 10
"""Times as long that the machine may be busy with something else."""
HEADROOM = 4 * 2**30
"""Bytes of address space that reading may take."""
GROWTH = 512 * 2**20
"""Bytes of memory really used that no file of some kilobytes is worth."""
SAID = 300
"""Characters that are kept of an error."""


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged file."""

    kind: str
    number: int
    way: str
    verdict: str
    """`refused` by a clear error, read to the `same` answer as the whole file or an `other` valid one, or `failed`."""
    detail: str = ""


def every_kind() -> dict[str, Kind]:
    """All kinds by name."""
    groups = (annotations.keypoint_kinds, annotations.set_kinds, annotations.result_kinds)
    groups += (models.body_kinds, models.weight_kinds)
    return {kind.name: kind for group in groups for kind in group()}


class Bench:
    """One kind's sample in a folder of its own, and what is done to it."""

    def __init__(self, kind: Kind, seed: int):
        self.kind, self.seed = kind, seed
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
        self.path = kind.make(self.folder)
        self.whole = self.path.read_bytes()
        self.answer = flat(kind.read(self.path))
        problem = complaint(kind, self.answer)
        if problem:
            raise AssertionError(f"{kind.name}: the sample itself: {problem}")

    def damaged(self, number: int) -> tuple[str, bytes]:
        """The way that a number stands for, and what it makes of the file; the same number, the same bytes."""
        ways = list(self.kind.ways.items())
        name, way = ways[number % len(ways)]
        rng = np.random.default_rng([self.seed, zlib.crc32(self.kind.name.encode()), number])
        return name, way(self.whole, rng)

    def attempt(self, number: int) -> Outcome:
        """Read a damaged file, and judge what the reader says."""
        way, data = self.damaged(number)
        self.path.write_bytes(data)
        with memory.growth() as grown:
            verdict, detail = self._verdict(way, data)
        if grown() > GROWTH:
            verdict, detail = "failed", f"took {grown() // 2**20} MB of memory; {detail}"
        if Path(CANARY).exists():
            os.rmdir(CANARY)
            verdict, detail = "failed", "ran code from the file"
        return Outcome(self.kind.name, number, way, verdict, detail)

    def _verdict(self, way: str, data: bytes) -> tuple[str, str]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = flat(self.kind.read(self.path))
        except (ValueError, OSError) as error:
            if self._named(str(error)):
                return "refused", str(error)[:SAID]
            return "failed", f"does not name the file: {error!r}"[:SAID]
        except BaseException as error:
            return "failed", repr(error)[:SAID]
        problem = complaint(self.kind, answer)
        if problem:
            return "failed", f"answered though {problem}"
        if self.kind.sealed and way in (*BYTES, "directory") and not same(answer, self.answer):
            return "failed", "answered otherwise than the whole file, though checksums tell"
        return ("same" if same(answer, self.answer) else "other"), ""

    def _named(self, message: str) -> bool:
        """The file, or the folder that it belongs to."""
        return self.path.name in message or str(self.path.parent) in message

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(link: Connection, seed: int) -> None:
    """Take names of kinds and numbers, and answer with outcomes, until nothing more is sent."""
    torch.set_num_threads(1)
    home = tempfile.mkdtemp(prefix="fuzz_home_")
    os.chdir(home)
    kinds, bench = every_kind(), None
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM,) * 2)
    link.send("ready")
    while (task := link.recv()) is not None:
        name, number = task
        if bench is None or bench.kind.name != name:
            if bench:
                bench.close()
            try:
                bench = Bench(kinds[name], seed)
            except Exception:
                link.send(f"{name}: the sample itself is not read\n{traceback.format_exc()}")
                continue
        link.send(bench.attempt(number))
    if bench:
        bench.close()
    os.chdir("/")
    shutil.rmtree(home, ignore_errors=True)


class Keeper:
    """Keeps a worker, and starts another one where it died or hung."""

    def __init__(self, seed: int):
        self.seed, self.process = seed, None

    def start(self) -> None:
        # A fresh interpreter, because a fork would inherit the threads of whoever asks.
        context = multiprocessing.get_context("spawn")
        self.link, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, self.seed), daemon=True)
        self.process.start()
        other.close()
        self.link.recv()

    def attempt(self, name: str, number: int) -> Outcome:
        """One damaged file, whatever it does to the worker."""
        if self.process is None:
            self.start()
        self.link.send((name, number))
        try:
            if self._answered():
                return self._accepted(self.link.recv())
            detail = f"still reading after {SECONDS:g} s"
        except EOFError:
            self.process.join()
            detail = f"the process died with exit code {self.process.exitcode}"
        self.process.kill()
        self.process.join()
        self.process = None
        return Outcome(name, number, "?", "failed", detail)

    def _accepted(self, answer: Outcome | str) -> Outcome:
        if isinstance(answer, str):
            self.close()
            raise RuntimeError(answer)
        return answer

    def _answered(self) -> bool:
        """Whether an answer came in time: time of the processor, because machines are shared."""
        began, end = self._busy(), time.monotonic() + PATIENCE * SECONDS
        while time.monotonic() < end and self._busy() - began < SECONDS:
            if self.link.poll(1.0):
                return True
        return self.link.poll(0)

    def _busy(self) -> float:
        """Seconds of processor time that the worker has used."""
        try:
            parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        if self.process is not None:
            self.link.send(None)
            self.process.join()
            self.process = None


def outcomes(names: Sequence[str], ways: int, seed: int) -> Iterator[Outcome]:
    """Each kind damaged in so many ways, one after the other."""
    keeper = Keeper(seed)
    try:
        for name in names:
            for number in range(ways):
                yield keeper.attempt(name, number)
    finally:
        keeper.close()
