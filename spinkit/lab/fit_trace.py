"""Every body that one fit passed through, and what each of them cost.

The solvers are handed in with the settings, and a problem tells no solver who asks. So a fit is watched from outside:
a solver of the same kind that hands the real one a problem which writes down every question.
"""

import time
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spinkit import smplify
from spinkit.body import Body
from spinkit.camera import Camera
from spinkit.keypoints import Keypoints
from spinkit.priors import Mixture
from spinkit.smplify import BodyStage, CameraStage, Fit, SmplifySettings, Start
from spinkit.solvers import Problem, Solution, Solver


@dataclass(frozen=True)
class Trace:
    """A fit of one person as a film: the start first, the answer last, one frame a solver's step."""

    rotvec: Float[Tensor, "frames 24 3"]
    betas: Float[Tensor, "frames 10"]
    camera: Camera
    turned: int
    """The frame at which the camera stage is done and the body stage begins."""
    energy: dict[str, Float[Tensor, "frames"]]
    """Terms of the body stage, px^2 as weighed, of the camera stage's frames too, though it minimises another sum."""
    seconds: Float[Tensor, "frames"]
    """Processor time at which each frame was known, since the solver of its stage first asked."""
    fit: Fit
    """What `smplify.fit` returns."""

    def __len__(self) -> int:
        return len(self.rotvec)

    def __getitem__(self, frame: int) -> Start:
        """The body of a frame, ready to be drawn or to start from."""
        one = slice(frame, frame + 1) if frame != -1 else slice(-1, None)
        return Start(self.rotvec[one], self.betas[one], self.camera[one])

    @property
    def total(self) -> Float[Tensor, "frames"]:
        """The objective of the body stage, px^2."""
        return torch.stack(list(self.energy.values())).sum(0)


def trace_fit(
    body: Body, prior: Mixture, keypoints: Keypoints, start: Start, settings: SmplifySettings | None = None
) -> Trace:
    """Fit one person as `smplify.fit` does, in the same steps, and keep all of them.

    A step that the solver refused repeats the frame before. Where the settings try a rival valley of the prior, the
    steps in there are left out, and the answer is one more frame if it lies there.

    Args:
        keypoints: crop pixels, (1 49 2).
        start: of one person.

    Raises:
        ValueError: for another number of people than one.
    """
    if len(start.rotvec) != 1 or keypoints.xy.shape[:-2] != (1,):
        raise ValueError(
            f"a fit is traced for one person, got {len(start.rotvec)} starts and keypoints {tuple(keypoints.xy.shape)};"
            " choose one by a slice, such as keypoints[i : i + 1]"
        )
    settings = settings or SmplifySettings()
    turning, bending = [], []
    watched = replace(settings, body_solver=_Recorder(settings.body_solver, bending))
    if settings.camera_solver is not None:
        watched = replace(watched, camera_solver=_Recorder(settings.camera_solver, turning))
    found = smplify.fit(body, prior, keypoints, start, watched)
    turns, bends = _path(turning), _path(bending)
    # The body stage begins where the camera stage ended.
    return _Film(body, prior, keypoints, start, settings).develop(turns, bends[1:] if turns else bends, found)


@dataclass(frozen=True)
class _Asked:
    """A solver's question: what would these unknowns cost?"""

    problem: CameraStage | BodyStage
    unknowns: Float[Tensor, "1 n"]
    energy: Float[Tensor, "1"]
    seconds: float
    linear: bool
    """Asked for the derivative too."""


@dataclass(frozen=True)
class _Recorder:
    """Solves as the solver that it holds, and writes down what that asks for."""

    solver: Solver
    asked: list = field(compare=False)
    """Left out of comparisons, so that settings with a recorder can be looked up in a table."""

    def __call__(self, problem: Problem, start: Float[Tensor, "batch n"]) -> Solution:
        return self.solver(_Watched(problem, self.asked, time.process_time()), start)


@dataclass(frozen=True)
class _Watched:
    """The problem that it holds, and a list of all questions to it."""

    problem: Problem
    asked: list
    begun: float

    def residuals(self, unknowns: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        answer = self.problem.residuals(unknowns)
        self._note(unknowns, answer.detach().square().sum(dim=1), linear=False)
        return answer

    def linearize(self, unknowns: Float[Tensor, "batch n"]) -> tuple[Tensor, Tensor, Tensor]:
        answer = self.problem.linearize(unknowns)
        self._note(unknowns, answer[0], linear=True)
        return answer

    def select(self, rows: Int[Tensor, "k"]) -> "_Watched":
        return replace(self, problem=self.problem.select(rows))

    def _note(self, unknowns: Tensor, energy: Tensor, linear: bool) -> None:
        if len(unknowns):
            at = time.process_time() - self.begun
            self.asked.append(_Asked(self.problem, unknowns.detach().clone(), energy.detach().clone(), at, linear))


def _path(asked: list[_Asked]) -> list[_Asked]:
    """Where the solver stood after each of its questions.

    One that begins with a linearisation takes no step that costs more, and stays where it was; another goes where it
    asks.
    """
    path = asked[:1]
    for question in asked[1:]:
        refused = path[0].linear and not question.energy < path[-1].energy
        path.append(replace(path[-1], seconds=question.seconds) if refused else question)
    return path


@dataclass(frozen=True)
class _Film:
    """What is the same in every frame."""

    body: Body
    prior: Mixture
    keypoints: Keypoints
    start: Start
    settings: SmplifySettings

    def develop(self, turns: list[_Asked], bends: list[_Asked], found: Fit) -> Trace:
        frames = [*(self._turned(asked.unknowns) for asked in turns), *(self._bent(a, found) for a in bends)]
        if not turns:
            # Nothing has moved yet, hidden joints neither.
            frames[0] = replace(frames[0], rotvec=self.start.rotvec)
        seconds = [asked.seconds for asked in (*turns, *bends)]
        last = Start(found.rotvec, found.betas, found.camera)
        if not _same(frames[-1], last):
            frames, seconds = [*frames, last], [*seconds, seconds[-1]]
        rotvec, betas = (torch.cat([getattr(frame, name) for frame in frames]) for name in ("rotvec", "betas"))
        translation = torch.cat([frame.camera.translation for frame in frames])
        camera = Camera(
            translation,
            self.start.camera.focal.expand(len(frames)),
            self.start.camera.center.expand(len(frames), 2),
        )
        turned = max(len(turns) - 1, 0)
        energy = self._energy(rotvec, betas, camera, turned)
        return Trace(rotvec, betas, camera, turned, energy, torch.tensor(seconds), found)

    def _turned(self, unknowns: Tensor) -> Start:
        rotvec = torch.cat([unknowns[:, None, :3], self.start.rotvec[:, 1:]], dim=1)
        return Start(rotvec, self.start.betas, replace(self.start.camera, translation=unknowns[:, 3:]))

    def _bent(self, asked: _Asked, found: Fit) -> Start:
        """Of the body stage, with hidden joints as a fit would leave them that ends there."""
        rotvec, betas, moved = asked.problem.unpack(asked.unknowns)
        # A camera that stands still in the body stage stands where the fit says.
        translation = moved if self.settings.camera_moves else found.camera.translation
        return Start(rotvec, betas, replace(self.start.camera, translation=translation))

    def _energy(self, rotvec: Tensor, betas: Tensor, camera: Camera, turned: int) -> dict[str, Tensor]:
        each = torch.zeros(len(rotvec), dtype=torch.int64, device=rotvec.device)
        # The depth is held where the body stage found it; before that nothing holds it.
        anchor = camera.translation[torch.arange(len(rotvec), device=rotvec.device).clamp(max=turned)]
        held = replace(camera, translation=anchor)
        layer = self.body.keypoints_only()
        stage = smplify.body_stage(layer, self.prior, self.keypoints[each], held, self.start[each], self.settings)
        unknowns = stage.pack(rotvec, betas, camera.translation)
        return {name: term.square().sum(dim=1) for name, term in stage.terms(unknowns).items()}


def _same(one: Start, other: Start) -> bool:
    pairs = ((one.rotvec, other.rotvec), (one.betas, other.betas), (one.camera.translation, other.camera.translation))
    return all(torch.equal(a, b) for a, b in pairs)
