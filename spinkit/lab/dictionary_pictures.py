"""Cards of the dictionary explorer: a person's keypoints, the fits beside them, two lines of text below."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image as PillowImage

from spinkit import view
from spinkit.body import Body
from spinkit.data import Samples
from spinkit.fits import FitDictionary
from spinkit.lab.sheets import captioned, sheet, stacked
from spinkit.view import Judged

SIDE = 168
"""Pixels of a picture's side on a card."""
REMEMBERED = 200
"""Cards that are kept, so that turning back a page costs nothing."""


class Album:
    """Draws people of one set with their fits, and remembers what it has drawn.

    Args:
        people: the set.
        body: that the fits are of.
        books: one dictionary, or two to be compared; each adds a picture to a card.
    """

    def __init__(self, people: Samples, body: Body, *books: FitDictionary):
        self.people, self.body, self.books = people, body, books
        self._drawn: dict[int, PillowImage.Image] = {}

    def sheet(
        self, keys: Int[np.ndarray, "k"], captions: Sequence[str], columns: int = 3, text: int = 11
    ) -> PillowImage.Image:
        """Cards in rows, the captions in a font of so many pixels."""
        keys = keys.tolist()
        self._draw([key for key in dict.fromkeys(keys) if key not in self._drawn])
        return cards([self._drawn[key] for key in keys], captions, columns, text)

    def _draw(self, keys: list[int]) -> None:
        if not keys:
            return
        chosen = torch.tensor(keys)
        fits = [judged_now(self.people, self.body, book, chosen) for book in self.books]
        for row, (image, key) in enumerate(zip(view.crops(self.people, chosen), keys, strict=True)):
            parts = [view.keypoints_on(image, self.people.keypoints[key], side=SIDE)]
            parts += [view.overlay(image, self.body, fit, row, side=SIDE) for fit in fits]
            self._drawn[key] = PillowImage.fromarray(np.concatenate([np.asarray(part) for part in parts], axis=1))
        while len(self._drawn) > REMEMBERED:
            del self._drawn[next(iter(self._drawn))]


def judged_now(people: Samples, body: Body, book: FitDictionary, keys: torch.Tensor) -> Judged:
    """Stored fits of some people, in their untouched crops."""
    return view.judged(body, people.keypoints[keys], book.rotvec[keys], book.betas[keys])


def cards(
    pictures: Sequence[PillowImage.Image], captions: Sequence[str], columns: int, text: int = 11
) -> PillowImage.Image:
    """Pictures in rows above their captions; captions alone, or a word, where there are no pictures."""
    if pictures:
        return sheet(pictures, captions, min(columns, len(pictures)), text)
    lines = [line for caption in captions for line in caption.split("\n")] or ["nobody to show"]
    return stacked([captioned(line, 6 * SIDE) for line in lines])
