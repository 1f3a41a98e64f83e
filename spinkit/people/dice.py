"""Random numbers for a row of people: one generator, always the same count."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Dice:
    """Draws `count` of whatever is asked for. Same generator state, same questions: same answers."""

    generator: torch.Generator
    count: int

    def uniform(self, low: float | int, high: float | int, *shape: int) -> Float[Tensor, "count ..."]:
        """Evenly between two bounds."""
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def normal(self, mean: float | int, deviation: float | int, *shape: int) -> Float[Tensor, "count ..."]:
        """Around a mean."""
        return mean + deviation * torch.randn(self.count, *shape, generator=self.generator)

    def chance(self, probability: float, *shape: int) -> Bool[Tensor, "count ..."]:
        """True with a probability."""
        return torch.rand(self.count, *shape, generator=self.generator) < probability

    def choice(self, weights: list[float | int], *shape: int) -> Int[Tensor, "count ..."]:
        """An index, by its weight."""
        edges = torch.tensor(weights).cumsum(0) / sum(weights)
        drawn = torch.rand(self.count, *shape, generator=self.generator)
        return torch.bucketize(drawn, edges[:-1], right=True)
