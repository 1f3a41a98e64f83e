"""The picture of where a file's points are, in our names."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from spinkit import keypoints, view
from spinkit.keypoints import NAMES
from spinkit.view.mapping import _spread, missing_lines
from spinkit.view.style import LEFT, MIDDLE, RIGHT


def person(count=17, kind="coco17", missing=(), score=0.75):
    number = torch.arange(count)
    xy = torch.stack([100 + 7.0 * number, 400 - 11.0 * number], dim=-1)
    confidence = torch.full((count,), score)
    confidence[list(missing)] = 0
    return keypoints.place(xy, confidence, kind)


def labels(figure):
    return {text.get_text().rsplit("  ", 1)[0]: text for text in figure.axes[0].texts}


def test_every_visible_point_is_named_once_with_its_score_and_points_to_its_place():
    somebody = person(missing=[3])
    found = labels(view.mapping(somebody))
    assert set(found) == {name for name, seen in zip(NAMES, somebody.visible, strict=True) if seen}
    wrist = found["Right Wrist"]
    assert wrist.xy == pytest.approx((100 + 7 * 10, 400 - 11 * 10)) and wrist.get_text().endswith("0.75")


def test_left_right_and_midline_have_their_colours():
    found = labels(view.mapping(person()))
    for name, colour in (("Left Knee", LEFT), ("Right Ear", RIGHT), ("Nose", MIDDLE)):
        np.testing.assert_allclose(found[name].arrow_patch.get_edgecolor()[:3], colour, atol=0.01)


def test_a_doubtful_point_is_a_ring():
    sure, doubtful = (view.mapping(person(score=score)).axes[0].lines for score in (0.75, 0.15))
    dots = [[line for line in lines if line.get_marker() == "o"] for lines in (sure, doubtful)]
    assert [{line.get_markerfacecolor() == "none" for line in few} for few in dots] == [{False}, {True}]


def test_missing_points_are_told_by_the_reason():
    lines = " ".join(missing_lines(person(missing=[0, 9]), "coco17")).replace("\N{NO-BREAK SPACE}", " ")
    assert lines.startswith("15 of 49 keypoints not found in this file of coco17: Nose, Left Wrist not among")
    assert "not among the points of coco17: all 25 of OpenPose (OP), Neck (LSP), Top of Head (LSP), Pelvis" in lines
    unknown = " ".join(missing_lines(person(25, "openpose25", missing=[4])))
    assert unknown.replace("\N{NO-BREAK SPACE}", " ") == (
        "24 of 49 keypoints missing: all 24 that are annotated, OP RWrist"
    )


def test_the_photo_is_shown_where_its_pixels_are():
    photo = np.zeros((600, 240, 3), np.uint8)
    photo[:300] = (250, 0, 0)
    shown = view.mapping(person(), Image.fromarray(photo)).axes[0].images[0]
    left, right, bottom, top = shown.get_extent()
    pixels = np.asarray(shown.get_array())
    rows = top + (np.arange(len(pixels)) + 0.5) * (bottom - top) / len(pixels)
    columns = left + (np.arange(len(pixels)) + 0.5) * (right - left) / len(pixels)
    inside = pixels[:, (columns > 5) & (columns < 235)]
    assert (inside[rows < 298] == (250, 0, 0)).all() and (inside[rows > 302] == 0).all()
    assert (pixels[:, columns > 245] == 255).all() and (columns > 245).any()


@pytest.mark.parametrize("wished", [[0.0] * 9, [10.0] * 9, [1.0, 1.0, 1.0, 9.0, 9.5], [5.0], [], [0.0] * 40])
def test_names_keep_their_distance_and_their_order_within_the_picture(wished):
    heights = _spread(wished, 0.0, 10.0, 0.5)
    step = min(0.5, 10 / max(1, len(wished)))
    assert all(b - a > step - 1e-9 for a, b in pairwise(heights))
    assert all(step / 2 - 1e-9 <= h <= 10 - step / 2 + 1e-9 for h in heights)


def test_names_that_do_not_crowd_stay_at_their_points():
    assert _spread([2.0, 4.0, 7.0], 0.0, 10.0, 0.5) == [2.0, 4.0, 7.0]


def test_a_person_without_two_points_has_no_picture():
    with pytest.raises(ValueError, match="no visible keypoint"):
        view.mapping(person(missing=range(17)))
