"""The stages of one step of the loop as pictures: a row of people a stage, and the losses as bars."""

import io
from functools import cached_property

import roma
from jaxtyping import Int
from PIL import Image as PillowImage
from torch import Tensor

from spinkit import view
from spinkit.body import Body
from spinkit.lab.sheets import captioned, light, sheet, stacked
from spinkit.lab.slow_step import SlowStep, weighed
from spinkit.spin import SpinSettings
from spinkit.view.bodies import FitLike

STAGES = ("image", "regression", "fit", "accept or reject", "target", "loss")
PEOPLE = 5
"""In a row."""
SIDE = 150
"""Pixels of a person's picture."""
IN_STILL = 4
"""People in a row of the still."""
UNITS = {
    "keypoints": "half crops²",
    "joints": "m²",
    "pose": "squared entries of rotation matrices",
    "betas": "squared betas",
    "points": "m²",
    "vertices": "m",
    "sign": "no unit",
}


class StepPictures:
    """Draws a step, and remembers what it has drawn.

    Args:
        step: to be drawn.
        body: that its fits are of.
        settings: of the loop.
        order: rows of the batch in the order in which everybody is shown; the step's own by default.
    """

    def __init__(self, step: SlowStep, body: Body, settings: SpinSettings, order: Int[Tensor, "rows"] | None = None):
        self.step, self.body, self.settings = step, body, settings
        self.order = step.order if order is None else order
        self._drawn: dict[tuple[str, int], PillowImage.Image] = {}

    @cached_property
    def groups(self) -> dict[str, Int[Tensor, "rows"]]:
        """Rows of the batch by what became of them."""
        won, valid = self.step.outcome.updated, self.step.target.valid
        found = {
            "everybody": self.order,
            "the new fit wins": won.nonzero()[:, 0],
            "the stored fit stays": (~won).nonzero()[:, 0],
            "no fit supervises": (~valid).nonzero()[:, 0],
        }
        return {f"{name} ({len(rows)})": rows for name, rows in found.items() if len(rows)}

    def picture(self, stage: str, rows: Int[Tensor, "k"]) -> PillowImage.Image:
        """One stage for some rows of the batch; of the losses there is one picture for all."""
        if stage == "loss":
            return self.losses
        parts = {
            "image": [("image", self._name)],
            "regression": [("start", self._name)],
            "fit": [("new", self._made)],
            "accept or reject": [("stored", self._stays), ("kept new", self._wins)],
            "target": [("target", self._supervises)],
        }[stage]
        if self.step.new is None and stage in ("fit", "accept or reject"):
            return captioned(f"no fits are made at step {self.step.number} in the mode {self.settings.mode}", 5 * SIDE)
        chosen = rows.tolist()
        strips = [sheet([self._of(kind, i) for i in chosen], [say(i) for i in chosen], PEOPLE) for kind, say in parts]
        return stacked(strips)

    @cached_property
    def losses(self) -> PillowImage.Image:
        """What every loss adds to the total, and how large it is in its own unit."""
        parts = weighed(self.step, self.settings)
        raw = self.step.outcome.losses
        named = {f"{name}: {float(raw[name].detach()):.2g} {UNITS[name]}": parts[name] for name in parts}
        drawn = view.energy_bars({"batch": named | {"total": sum(parts.values())}}, "what it adds to the total")
        return PillowImage.open(io.BytesIO(view.png(drawn))).convert("RGB")

    def told(self, stage: str) -> str:
        """What happens at a stage, in a sentence with numbers."""
        step, many = self.step, len(self.step.batch)
        valid, won = int(step.target.valid.sum()), int(step.outcome.updated.sum())
        bent = int((step.bent & step.target.valid).sum())
        rule = "charge" if step.charges else "error"
        return {
            "image": f"{many} people are drawn, cropped anew, mirrored and tinted; their keypoints move along.",
            "regression": "The network says pose, shape and camera of each crop.",
            "fit": "From that answer, a few steps of the solver fit the body to the keypoints.",
            "accept or reject": f"Stored fits above, new ones below. Kept (✓) is that of lower {rule}: "
            f"{won} new ones of {many}.",
            "target": f"{valid} of {many} kept fits supervise, {bent} of them with betas of zero, their own being "
            "improbable. Else keypoints alone teach.",
            "loss": "How far the answer is from the target and from the keypoints. The sum is what descends.",
        }[stage]

    def still(self) -> PillowImage.Image:
        """All stages, one below the other, for the first people of all."""
        rows = next(iter(self.groups.values()))[:IN_STILL]
        strips = []
        for number, stage in enumerate(STAGES, 1):
            strips += [captioned(f"{number} {stage}. {self.told(stage)}", PEOPLE * SIDE), self.picture(stage, rows)]
        return light(stacked(strips))

    def _of(self, kind: str, row: int) -> PillowImage.Image:
        if (kind, row) not in self._drawn:
            self._drawn[kind, row] = self._draw(kind, row)
        return self._drawn[kind, row]

    def _draw(self, kind: str, row: int) -> PillowImage.Image:
        image = self.step.batch.image[row]
        if kind == "image" or (kind == "target" and not self.step.target.valid[row]):
            return view.keypoints_on(image, self.step.batch.keypoints[row], side=SIDE)
        return view.overlay(image, self.body, self._bodies[kind], row, side=SIDE)

    @cached_property
    def _bodies(self) -> dict[str, FitLike]:
        """What is drawn over the crops; a body that is judged stands where its best camera sees it."""
        step, new = self.step, self.step.new
        target = roma.rotmat_to_rotvec(step.target.rotmat)
        found = {"stored": (step.stored.rotvec, step.stored.betas), "target": (target, step.target.betas)}
        found |= {} if new is None else {"kept new": (new.rotvec, new.betas)}
        placed = {name: view.judged(self.body, step.batch.keypoints, *bodies) for name, bodies in found.items()}
        return placed | {"start": step.start} | ({} if new is None else {"new": new})

    def _name(self, row: int) -> str:
        return f"person {int(self.step.batch.key[row])}"

    def _made(self, row: int) -> str:
        return f"{self._name(row)}: {_short(self.step.new.error[row])} px²"

    def _stays(self, row: int) -> str:
        return self._judged(row, 0, not self.step.outcome.updated[row])

    def _wins(self, row: int) -> str:
        return self._judged(row, 1, bool(self.step.outcome.updated[row]))

    def _judged(self, row: int, which: int, wins: bool) -> str:
        error = _short((self.step.outcome.old_error, self.step.outcome.new_error)[which][row])
        charged = f", charge {_short(self.step.charges[which][row])}" if self.step.charges else ""
        return ("✓ " if wins else "") + f"{error} px²{charged}"

    def _supervises(self, row: int) -> str:
        if not self.step.target.valid[row]:
            return "keypoints alone"
        return "the kept fit" + (", betas of zero" if self.step.bent[row] else "")


def _short(value: Tensor) -> str:
    """A number in three digits, or whole where it is larger."""
    return f"{float(value):,.0f}" if value >= 100 else f"{float(value):.3g}"
