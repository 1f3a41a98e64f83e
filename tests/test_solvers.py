"""The solvers on problems whose minima are known: every sample on its own, and never uphill."""

from dataclasses import dataclass

import pytest
import torch

from spinkit.solvers import Adam, LevenbergMarquardt


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Differentiated:
    """A problem whose derivative is automatic."""

    def linearize(self, unknowns):
        residual = self.residuals(unknowns)
        jacobian = torch.func.jacrev(lambda x: self.residuals(x).sum(0))(unknowns).movedim(1, 0)
        gradient = (jacobian.mT @ residual[..., None])[..., 0]
        return residual.square().sum(1), jacobian.mT @ jacobian, gradient


@dataclass(frozen=True)
class Linear(Differentiated):
    """|A x - b|^2."""

    matrix: torch.Tensor
    right: torch.Tensor

    def residuals(self, unknowns):
        return (self.matrix @ unknowns[..., None])[..., 0] - self.right

    def select(self, rows):
        return Linear(self.matrix[rows], self.right[rows])

    @classmethod
    def draw(cls, batch=5):
        g = seeded()
        matrix = torch.randn(batch, 9, 4, generator=g, dtype=torch.float64)
        return cls(matrix, torch.randn(batch, 9, generator=g, dtype=torch.float64))


@dataclass(frozen=True)
class Rosenbrock(Differentiated):
    """The curved valley, of a width of its own for each sample; its only minimum is zero at (1, 1)."""

    steepness: torch.Tensor

    def residuals(self, unknowns):
        x, y = unknowns.unbind(-1)
        return torch.stack([self.steepness * (y - x**2), 1 - x], dim=-1)

    def select(self, rows):
        return Rosenbrock(self.steepness[rows])


STARTS = torch.tensor([[-1.2, 1.0], [1.0, 1.0], [3.0, -7.0], [0.0, 0.0], [-40.0, 2.0], [1.1, 1.2]], dtype=torch.float64)
VALLEYS = Rosenbrock(torch.tensor([10.0, 10.0, 1.0, 30.0, 3.0, 10.0], dtype=torch.float64))


def test_linear_least_squares_are_solved_exactly():
    problem = Linear.draw()
    found = LevenbergMarquardt(steps=40, tolerance=1e-14)(problem, torch.zeros(5, 4, dtype=torch.float64))
    expected = torch.linalg.lstsq(problem.matrix, problem.right[..., None]).solution[..., 0]
    torch.testing.assert_close(found.unknowns, expected, atol=1e-6, rtol=0)
    assert found.converged.all()


def test_the_curved_valley_is_followed_to_its_minimum():
    found = LevenbergMarquardt(steps=300)(VALLEYS, STARTS)
    torch.testing.assert_close(found.unknowns, torch.ones(6, 2, dtype=torch.float64), atol=1e-3, rtol=0)
    assert found.energy.max() < 1e-5


@pytest.mark.parametrize("solver", [LevenbergMarquardt(steps=12), Adam(steps=12, step_size=0.1)], ids=["LM", "Adam"])
def test_a_sample_is_solved_as_if_it_were_alone(solver):
    together = solver(VALLEYS, STARTS)
    for i in range(len(STARTS)):
        alone = solver(VALLEYS.select(torch.tensor([i])), STARTS[i : i + 1])
        torch.testing.assert_close(together.unknowns[i], alone.unknowns[0], atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(together.energy[i], alone.energy[0], atol=1e-9, rtol=1e-9)
        assert together.iterations[i] == alone.iterations[0] and together.converged[i] == alone.converged[0]


@pytest.mark.parametrize("steps", [1, 3, 30])
@pytest.mark.parametrize("damping", [1e-8, 1.0])
def test_no_sample_ends_above_its_start(steps, damping):
    start = 20 * torch.randn(200, 2, generator=seeded(), dtype=torch.float64)
    problem = Rosenbrock(torch.logspace(-2, 3, 200, dtype=torch.float64))
    before = problem.residuals(start).square().sum(1)
    found = LevenbergMarquardt(steps=steps, damping=damping)(problem, start)
    assert (found.energy <= before).all()
    torch.testing.assert_close(found.energy, problem.residuals(found.unknowns).square().sum(1))
    assert found.iterations.max() <= steps


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e200])
def test_a_start_without_a_finite_energy_stays_and_is_not_converged(value):
    start = STARTS.clone()
    start[2] = value
    found = LevenbergMarquardt()(VALLEYS, start)
    torch.testing.assert_close(found.unknowns[2], start[2], equal_nan=True)
    assert not found.converged[2] and found.iterations[2] == 0
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(found.unknowns[others], LevenbergMarquardt()(VALLEYS, STARTS).unknowns[others])


def test_unknowns_that_nothing_depends_on_stay_where_they_were():
    problem = Linear.draw()
    blind = Linear(torch.cat([problem.matrix, torch.zeros(5, 9, 1, dtype=torch.float64)], dim=2), problem.right)
    found = LevenbergMarquardt()(blind, torch.full((5, 5), 7.0, dtype=torch.float64))
    assert (found.unknowns[:, 4] == 7).all() and found.converged.all()


def test_adam_steps_as_torch_does():
    found = Adam(steps=25, step_size=0.05)(VALLEYS, STARTS)
    unknowns = STARTS.clone().requires_grad_()
    optimizer = torch.optim.Adam([unknowns], lr=0.05, betas=(0.9, 0.999), eps=1e-8)
    for _ in range(25):
        optimizer.zero_grad()
        VALLEYS.residuals(unknowns).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(found.unknowns, unknowns.detach(), atol=0, rtol=0)
    assert (found.iterations == 25).all() and not found.converged.any()


@pytest.mark.parametrize("solver", [LevenbergMarquardt(), Adam(steps=3)], ids=["LM", "Adam"])
def test_the_start_is_left_alone_and_an_empty_batch_solved(solver):
    start = STARTS.clone()
    solver(VALLEYS, start)
    assert torch.equal(start, STARTS)
    nobody = solver(Rosenbrock(torch.zeros(0, dtype=torch.float64)), start[:0])
    assert nobody.unknowns.shape == (0, 2) and nobody.energy.shape == (0,)


def test_adam_runs_where_gradients_are_switched_off():
    with torch.no_grad():
        found = Adam(steps=3)(VALLEYS, STARTS)
    assert not torch.equal(found.unknowns, STARTS) and not found.unknowns.requires_grad


def test_no_steps_return_the_start_and_negative_steps_are_refused():
    assert torch.equal(LevenbergMarquardt(steps=0)(VALLEYS, STARTS).unknowns, STARTS)
    with pytest.raises(ValueError, match=r"LevenbergMarquardt\.steps must not be negative, got -1"):
        LevenbergMarquardt(steps=-1)
    with pytest.raises(ValueError, match=r"Adam\.steps must not be negative, got -1"):
        Adam(steps=-1)


def test_a_step_that_promises_nothing_worth_having_is_not_tried():
    problem = Linear.draw()
    solution = torch.linalg.lstsq(problem.matrix, problem.right[..., None]).solution[..., 0]
    solution[1] += 1.0
    found = LevenbergMarquardt(steps=9, tolerance=1e-6)(problem, solution)
    assert (found.iterations > 0).tolist() == [False, True, False, False, False]
    assert found.converged.all() and torch.equal(found.unknowns[[0, 2, 3, 4]], solution[[0, 2, 3, 4]])


def test_damping_leaps_only_where_the_gain_is_as_promised():
    problem = Linear.draw()
    start = torch.full((5, 4), 50.0, dtype=torch.float64)
    # Of a linear problem every promise is kept, and steps that are damped less get there sooner.
    slow, fast = (LevenbergMarquardt(steps=40, damping=1e3, shrink=0.5, leap=leap) for leap in (None, 0.05))
    slow, fast = slow(problem, start), fast(problem, start)
    assert (fast.iterations < slow.iterations).all() and (fast.energy <= slow.energy * (1 + 1e-3)).all()


@dataclass(frozen=True)
class Bowl(Differentiated):
    """(x^2 + 1, y): J sees a slope where the valley is round, and promises more than there is."""

    def residuals(self, unknowns):
        x, y = unknowns.unbind(-1)
        return torch.stack([x**2 + 1, y], dim=-1)

    def select(self, rows):
        return self


def test_a_leap_is_not_taken_where_the_gain_falls_short():
    # To (0, 0), where the energy is 1, and J promised 0.
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    ends = [LevenbergMarquardt(steps=2, damping=0.05, leap=leap)(Bowl(), start) for leap in (None, 1e-9)]
    assert (ends[0].iterations == 2).all() and 1 < ends[0].energy < 1.01
    torch.testing.assert_close(ends[0].unknowns, ends[1].unknowns)


@pytest.mark.parametrize("leap", [0.0, -1.0, 2.0])
def test_a_leap_that_is_no_factor_is_refused(leap):
    with pytest.raises(ValueError, match="leap must lie between 0 and 1"):
        LevenbergMarquardt(leap=leap)
