"""What people decide about stored fits, and all that undoing it needs."""

import time
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

NO_RULING, ACCEPTED, REJECTED = 0, 1, 2
"""What a person has said of a stored fit."""
KINDS = ("accept", "reject", "refit", "undo")
"""What a person can do, in the order of the numbers that files hold."""
LONGEST_REASON = 200
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class Decisions:
    """What people decided, in order, each with all that undoing it needs."""

    key: Int[Tensor, "decisions"]
    kind: Int[Tensor, "decisions"]
    """Places in `KINDS`."""
    time: Float[Tensor, "decisions"]
    """Unix time, seconds."""
    step: Int[Tensor, "decisions"]
    """Steps that the training had done."""
    before: Float[Tensor, "decisions"]
    """Error of the fit that was decided on, px^2."""
    after: Float[Tensor, "decisions"]
    """Error of the fit that then stood."""
    ruling: Int[Tensor, "decisions"]
    """Ruling that stood before."""
    updates: Int[Tensor, "decisions"]
    """How often training had updated the sample: where it did again, the decision belongs to a fit that is gone."""
    rotvec: Float[Tensor, "decisions 24 3"]
    """The fit that stood before."""
    betas: Float[Tensor, "decisions 10"]
    reason: tuple[str, ...]
    """Who or why, as the person wrote it."""

    @classmethod
    def none(cls) -> "Decisions":
        """Nothing decided."""
        whole, real = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        moment = torch.zeros(0, dtype=torch.float64)
        return cls(whole, whole, moment, whole, real, real, whole, whole, real.view(0, 24, 3), real.view(0, 10), ())

    def __len__(self) -> int:
        return len(self.key)

    def standing(self, key: int) -> list[int]:
        """The places of the decisions on a sample that were not undone, in order."""
        places = []
        for place in (self.key == key).nonzero()[:, 0].tolist():
            if self.kind[place] != KINDS.index("undo"):
                places.append(place)
            elif places:
                places.pop()
        return places


@dataclass(frozen=True)
class Note:
    """What is written down beside a decision."""

    step: int
    """Steps that the training had done."""
    reason: str = ""
    time: float = field(default_factory=time.time)
    """Unix time, seconds."""


def decided(arrays: dict[str, np.ndarray]) -> tuple[Tensor, Decisions]:
    """Rulings and decisions of a saved dictionary, whose arrays were checked."""
    names = [f"decision_{f.name}" for f in fields(Decisions)]
    reason = tuple(str(text) for text in arrays["decision_reason"])
    numbers = [torch.from_numpy(np.array(arrays[name])) for name in names if name != "decision_reason"]
    return torch.from_numpy(np.array(arrays["ruling"])), Decisions(*numbers, reason)
