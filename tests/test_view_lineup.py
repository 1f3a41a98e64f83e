"""Bodies in a row, numbers on their skin, and tables as shades."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from spinkit import camera, smplify, view
from spinkit.view import lineup


def tallness(picture: np.ndarray) -> int:
    """Rows that hold anything but white."""
    return int((picture.min(axis=(1, 2)) < 245).sum())


def test_a_smaller_body_is_drawn_smaller_and_on_the_same_floor(human):
    bodies = [human.v_template, 0.5 * human.v_template]
    figure = view.line_up(bodies, human.faces, ["tall", "small"])
    tall, small = (np.asarray(place.images[0].get_array()) for place in figure.axes)
    assert tallness(small) == pytest.approx(0.5 * tallness(tall), rel=0.05)
    soles = [np.flatnonzero(picture.min(axis=(1, 2)) < 245)[-1] for picture in (tall, small)]
    # The small body's feet are nearer to the middle of its depth, which perspective shows.
    assert abs(soles[0] - soles[1]) <= 4
    assert [place.get_title() for place in figure.axes] == ["tall", "small"]


def test_a_line_up_of_fitted_bodies_stands_upright(human):
    hanging = human.v_template * torch.tensor([1.0, -1.0, -1.0])
    bodies = {"body": human.v_template, "camera": hanging}
    pictures = [view.line_up([b], human.faces, frame=f).axes[0].images[0].get_array() for f, b in bodies.items()]
    assert np.abs(pictures[0].astype(int) - pictures[1].astype(int)).mean() < 1


def test_a_line_up_leaves_its_bodies_as_they_are_and_needs_one(human):
    before = human.v_template.clone()
    view.line_up([human.v_template], human.faces, turn=90)
    assert torch.equal(before, human.v_template)
    with pytest.raises(ValueError, match="at least one body"):
        view.line_up([], human.faces)
    with pytest.raises(ValueError, match="1 bodies need as many colours, got 2"):
        view.line_up([human.v_template], human.faces, colours=[view.SKIN, view.SKIN])


def test_heat_darkens_with_the_number_and_stops_at_the_top():
    colours = lineup.heat(torch.tensor([0.0, 1.0, 2.0, 5.0]), top=2)
    assert (colours.sum(dim=1).diff()[:2] < 0).all()
    assert torch.equal(colours[2], colours[3])


def test_a_heat_map_paints_where_the_numbers_are(human):
    figure = view.heat_map(human.v_template, human.faces, (human.v_template[:, 0] > 0).float(), "left", turns=(0,))
    picture = np.asarray(figure.axes[0].images[0].get_array()).astype(int)
    red = (picture[..., 0] - picture[..., 1] > 60).mean(axis=0)
    half = len(red) // 2
    # Who faces us has the left side on our right.
    assert red[half + 10 :].mean() > 10 * red[: half - 10].mean()
    assert figure.axes[1].get_ylabel() == "left"


def test_every_joint_has_its_colour_and_weights_mix_them(human):
    pure = view.blended(torch.eye(24))
    assert len(pure.unique(dim=0)) == 24
    assert torch.allclose(view.blended(torch.full((1, 24), 1 / 24)), pure.mean(dim=0))
    assert float(view.blended(human.weights).max()) <= 1 + 1e-5


def test_a_matrix_names_its_rows_and_columns_and_leaves_zeros_white():
    figure = view.matrix(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), ["a", "b"], ["c", "d"], "mm")
    assert isinstance(figure, Figure) and not plt.get_fignums()
    place = figure.axes[0]
    assert [label.get_text() for label in place.get_yticklabels()] == ["a", "b"]
    assert place.images[0].get_array().mask.tolist() == [[True, False], [False, False]]
    with pytest.raises(ValueError, match="as many names, got 1 and 2"):
        view.matrix(torch.zeros(2, 2), ["a"], ["c", "d"], "mm")


def test_two_views_are_the_overlay_and_a_body_of_its_own(human):
    upright = torch.zeros(1, 24, 3)
    upright[:, 0, 0] = torch.pi
    seen = camera.from_weak(torch.tensor([[0.9, 0.0, 0.25]]))
    start, photo = smplify.Start(upright, torch.zeros(1, 10), seen), torch.full((3, 64, 64), 0.2)
    both = np.asarray(view.two_views(photo, human, start, side=128))
    assert both.shape == (256, 128, 3)
    np.testing.assert_array_equal(both[:128], np.asarray(view.overlay(photo, human, start, side=128)))
    alone = (both[128:] < 245).any(axis=2)
    assert 0.03 < alone.mean() < 0.5, "a body on white"
