"""Two solvers for sums of squares, over batches in which every sample stands alone.

A problem knows its residuals and nothing of solvers; a solver knows problems and nothing of bodies. Samples are rows:
no sample's steps, damping or end depend on its neighbours.
"""

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class Problem(Protocol):
    """A batch of least-squares problems."""

    def residuals(self, unknowns: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        """What is to become small; differentiable by autograd."""

    def linearize(
        self, unknowns: Float[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch n n"], Float[Tensor, "batch n"]]:
        """Energy r'r, J'J and J'r, where J is the derivative of the residuals; all new, and the solver's to change."""

    def select(self, rows: Int[Tensor, "k"]) -> "Problem":
        """The problem for some samples only."""


@dataclass(frozen=True)
class Solution:
    """Where a solver ended."""

    unknowns: Float[Tensor, "batch n"]
    energy: Float[Tensor, "batch"]
    iterations: Int[Tensor, "batch"]
    """Steps that each sample took, refused ones included."""
    converged: Bool[Tensor, "batch"]
    """Whether the sample stopped by itself, because no step would gain anything worth having."""


@runtime_checkable
class Solver(Protocol):
    """Anything that takes a problem and a start to a solution: the two below, or your own."""

    def __call__(self, problem: Problem, start: Float[Tensor, "batch n"]) -> Solution: ...


@dataclass(frozen=True)
class Adam:
    """First-order descent, as SPIN uses it.

    What descends is the sum over the batch. That leaves samples alone, because Adam scales every entry by itself.
    """

    steps: int = 100
    """Iterations; every sample takes all of them."""
    step_size: float = 1e-2
    """Shared by radians, metres and shape units. The two averages decay as PyTorch's defaults say."""

    def __post_init__(self):
        if self.steps < 0:
            raise ValueError(f"Adam.steps must not be negative, got {self.steps}")

    def __call__(self, problem: Problem, start: Float[Tensor, "batch n"]) -> Solution:
        unknowns = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([unknowns], lr=self.step_size)
        with torch.enable_grad():
            for _ in range(self.steps):
                optimizer.zero_grad()
                problem.residuals(unknowns).square().sum().backward()
                optimizer.step()
        unknowns = unknowns.detach()
        with torch.no_grad():
            energy = problem.residuals(unknowns).square().sum(dim=1)
        iterations = torch.full((len(start),), self.steps, device=start.device)
        return Solution(unknowns, energy, iterations, torch.zeros_like(iterations, dtype=torch.bool))


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Damped Gauss-Newton steps, with a damping and an end for every sample.

    A step is taken only where it lowers the energy, so no sample ends above its start. Samples that have converged
    leave the batch, and no hard one keeps them waiting. A sample whose energy or derivative is not finite at its start
    stays there, and is not called converged.

    Source: Levenberg 1944 and Marquardt 1963, who scaled the damping by one and by the diagonal of J'J. To let the
    damping follow how well J foresees the gain is Fletcher's idea, 1971.
    """

    steps: int = 30
    """At most so many; most samples stop earlier."""
    tolerance: float = 1e-4
    """A sample stops when an accepted step lowers its energy by less than this share, or when its next step, damped as
    it is, promises no more."""
    damping: float = 1e-2
    """At the start, relative to the diagonal of J'J and `plain`."""
    plain: float = 0.0
    """Added to the diagonal before the damping scales it, as Levenberg did. It holds back unknowns that residuals
    hardly see, which the diagonal alone lets run far; its unit is that of J'J."""
    shrink: float = 0.2
    """Factor on the damping after a step that lowered the energy."""
    leap: float | None = None
    """Factor instead, where the gain ratio is at least `GOOD_RATIO`; `shrink` where not given."""
    grow: float = 6.0
    """Factor on the damping after a step that did not."""
    floor: float = 1e-3
    """Added to the diagonal, for unknowns that no residual sees."""

    def __post_init__(self):
        if self.steps < 0:
            raise ValueError(f"LevenbergMarquardt.steps must not be negative, got {self.steps}")
        if self.leap is not None and not 0 < self.leap <= 1:
            raise ValueError(f"LevenbergMarquardt.leap must lie between 0 and 1, got {self.leap}")

    @torch.no_grad()
    def __call__(self, problem: Problem, start: Float[Tensor, "batch n"]) -> Solution:
        state = _Running(problem, start.detach().clone(), self)
        for number in range(self.steps):
            if not state.rows.shape[0]:
                break
            state.step(last=number == self.steps - 1)
        return state.finish()


HOPELESS_DAMPING = 1e6
"""Beyond it a step is too short to change anything: the sample is as low as it gets."""
GOOD_RATIO = 0.8
"""The gain ratio, by which the energy fell over what J promised, from which on J is believed."""
COMPACT_BELOW = 0.8
"""Reshaping the batch costs more than carrying a few finished samples along, so it waits for this share."""


KEPT = tuple(field.name for field in fields(Solution))
"""What a sample leaves behind when it leaves the batch."""


class _Running:
    """The running batch of one solve. Private, and the only place where something is written to."""

    def __init__(self, problem: Problem, start: Tensor, settings: LevenbergMarquardt):
        self.problem, self.unknowns, self.settings = problem, start, settings
        self.energy, self.hessian, self.gradient = problem.linearize(start)
        batch, device = len(start), start.device
        self.rows = torch.arange(batch, device=device)
        self.damping = torch.full((batch,), settings.damping, dtype=start.dtype, device=device)
        self.iterations = torch.zeros(batch, dtype=torch.int64, device=device)
        self.converged = torch.zeros(batch, dtype=torch.bool, device=device)
        self.solution = Solution(start.clone(), self.energy.clone(), self.iterations.clone(), self.converged.clone())
        self.active = self.energy.isfinite() & self.gradient.isfinite().all(1)
        self.compact()

    def step(self, last: bool) -> None:
        change, promised = self.change()
        # Not worth a trial, which costs more than the step.
        self.end(self.active & (promised < self.settings.tolerance * self.energy))
        change, promised = self.compact(change, promised)
        if not self.rows.shape[0]:
            return
        trial = self.unknowns + change
        if last:
            # Nobody will ask for the derivative where the last step ends.
            found = {"unknowns": trial, "energy": self.problem.residuals(trial).square().sum(1)}
        else:
            found = dict(zip(("energy", "hessian", "gradient"), self.problem.linearize(trial), strict=True))
            found["unknowns"] = trial
        gain = self.energy - found["energy"]
        better = self.active & (gain > 0)  # False for NaN, so that it is never accepted.
        small = gain < self.settings.tolerance * self.energy
        done = self.active & torch.where(better, small, self.damping > HOPELESS_DAMPING)

        self.iterations = self.iterations + self.active
        self.accept(better, found)
        self.damping = self.damping * self.factor(better, gain > GOOD_RATIO * promised)
        self.end(done)
        self.compact()

    def factor(self, better: Tensor, believed: Tensor) -> Float[Tensor, "running"]:
        settings = self.settings
        leap = settings.shrink if settings.leap is None else settings.leap
        return torch.where(better, torch.where(believed, leap, settings.shrink), settings.grow)

    def accept(self, better: Tensor, found: dict[str, Tensor]) -> None:
        """Go on from what was found, where it is better. What was found is nobody else's, and may be written to."""
        if better.is_cuda:
            for name, new in found.items():
                setattr(self, name, torch.where(better.view(-1, *[1] * (new.dim() - 1)), new, getattr(self, name)))
            return
        # Most are better, so that it is quicker to bring back the others.
        rows = (~better).nonzero()[:, 0]
        for name, new in found.items():
            setattr(self, name, new.index_copy_(0, rows, getattr(self, name)[rows]) if rows.shape[0] else new)

    def change(self) -> tuple[Float[Tensor, "running n"], Float[Tensor, "running"]]:
        """The damped step, and by how much the linearised residuals say that it lowers the energy.

        Zero and infinite where the factor failed, which lets the damping grow.
        """
        diagonal = self.hessian.diagonal(dim1=1, dim2=2)
        before = diagonal.clone()
        damped = self.damping[:, None] * (before + self.settings.plain) + self.settings.floor
        diagonal += damped
        # The upper factor, because that of the lower one is copied once more.
        factor, failed = torch.linalg.cholesky_ex(self.hessian, upper=True)
        diagonal.copy_(before)
        change = -torch.cholesky_solve(self.gradient[..., None], factor, upper=True)[..., 0]
        sound = (failed == 0) & change.isfinite().all(1)
        change = torch.where(sound[:, None], change, torch.zeros_like(change))
        # |r|^2 - |r + J d|^2, where (J'J + D) d = -J'r.
        promised = (change * (damped * change - self.gradient)).sum(1)
        return change, torch.where(sound, promised, torch.inf)

    def end(self, done: Tensor) -> None:
        self.converged = self.converged | done
        self.active = self.active & ~done

    def compact(self, *companions: Tensor) -> list[Tensor]:
        """Let the samples that are done leave the batch, once they are many enough.

        Not on a graphics card: to ask how many are left would wait for all that it has been told to do, and samples
        that are done cost it little.

        Args:
            companions: what else belongs to the samples of the batch; returned for those that stay.
        """
        if self.active.is_cuda or self.active.sum() > COMPACT_BELOW * self.active.shape[0]:
            return list(companions)
        self.store()
        index = self.active.nonzero()[:, 0]
        self.problem = self.problem.select(index)
        for name in (*KEPT, "rows", "hessian", "gradient", "damping", "active"):
            setattr(self, name, getattr(self, name)[index])
        return [each[index] for each in companions]

    def store(self) -> None:
        for name in KEPT:
            getattr(self.solution, name).index_copy_(0, self.rows, getattr(self, name))

    def finish(self) -> Solution:
        self.store()
        return self.solution
