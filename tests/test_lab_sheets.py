"""Pictures in rows with their captions: no word is lost at the edge, and no caption lies over the next picture."""

import numpy as np
import pytest
from PIL import Image

from spinkit.lab.sheets import captioned, sheet

WORDS = "the fit that is kept supervises while its error is below the threshold"


def ink(picture: Image.Image) -> np.ndarray:
    """How dark each pixel is, 0 to 255."""
    return 255 - np.asarray(picture.convert("L")).astype(int)


@pytest.mark.parametrize("width", [150, 300])
def test_a_long_line_goes_on_below(width):
    strip, whole = captioned(WORDS, width), captioned(WORDS, 2000)
    assert strip.width == width and strip.height > whole.height
    assert ink(strip).sum() == pytest.approx(ink(whole).sum(), rel=0.02), "every letter is there"
    assert not ink(strip)[:, -2:].any(), "and none is cut off"


def test_a_word_wider_than_the_strip_stays_in_one_piece():
    assert captioned("incompressibility", 20).height == captioned("in", 20).height


@pytest.mark.parametrize("text", [11, 20])
def test_captions_of_any_size_keep_clear_of_the_next_row(text):
    black = Image.new("RGB", (300, 50))
    page = ink(sheet([black, black], ["one line\njgy", "and\nanother"], columns=1, text=text))
    full = (page[:, :300] == 255).all(axis=1)
    first, second = (np.flatnonzero(full)[[0, 50]]).tolist()
    between = page[first + 50 : second]
    assert full.sum() == 100 and between.any(), "captions stand below the pictures"
    assert not between[-3:].any() and not page[-3:].any(), "and end before the next"


def test_larger_captions_are_larger():
    white = Image.new("RGB", (300, 50), "white")
    small, large = (ink(sheet([white], ["caption"], 1, text=text)) for text in (11, 20))
    assert np.ptp(np.flatnonzero(large.any(axis=0))) > 1.6 * np.ptp(np.flatnonzero(small.any(axis=0)))
