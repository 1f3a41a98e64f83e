"""The body explorer: what its handles move, with no page around it."""

import sys

import ipywidgets
import numpy as np
import pytest
import roma
import torch
from plotly.basedatatypes import Undefined

from spinkit import lab, view
from spinkit.keypoints import JOINT_NAMES, JOINT_PARENTS
from spinkit.lab.body_figure import AXES, BONES, JOINTS, SKIN_TRACE
from spinkit.lab.canvas import Canvas
from spinkit.lab.explorer import answering
from spinkit.lab.paint import BLENDED, COLOURS, CORRECTIVES, PLAIN, WEIGHTS, paint

KNEE, ELBOW = JOINT_NAMES.index("Left Knee"), JOINT_NAMES.index("Right Elbow")


def handle(explorer: lab.Explorer, name: str) -> ipywidgets.DOMWidget:
    """The part of a widget that a browser would find by its class."""
    waiting = [explorer.widget]
    while waiting:
        widget = waiting.pop()
        if name in widget._dom_classes:
            return widget
        waiting += getattr(widget, "children", ())
    raise LookupError(name)


def canvas(explorer: lab.Explorer):
    return explorer.widget.children[0].children[1]


def skin(explorer: lab.Explorer) -> np.ndarray:
    mesh = canvas(explorer).data[SKIN_TRACE]
    return np.stack([mesh.x, mesh.y, mesh.z], axis=-1)


def click(explorer: lab.Explorer, trace: int, point: int) -> None:
    """What plotly tells the kernel of a click in the page."""
    points = {"trace_indexes": [trace], "point_indexes": [point], "xs": [0.0], "ys": [0.0], "zs": [0.0]}
    told = {"event_type": "plotly_click", "points": points, "device_state": None, "selector": None}
    canvas(explorer)._js2py_pointsCallback = told


@pytest.fixture
def explorer(human) -> lab.Explorer:
    return lab.body_explorer(human)


def test_it_begins_with_the_body_that_it_is_given(human):
    rotvec = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)) / 4
    betas = torch.linspace(-1, 1, 10)
    explorer = lab.body_explorer(human, rotvec, betas)
    expected = human.vertices(roma.rotvec_to_rotmat(rotvec), betas).numpy()
    np.testing.assert_allclose(skin(explorer), expected, atol=1e-6)
    assert handle(explorer, "spinkit-slider-beta9").value == 1.0


def test_handles_and_body_agree_on_a_start_beyond_the_usual_sliders(human):
    rotvec, betas = torch.zeros(24, 3), torch.zeros(10)
    rotvec[KNEE, 0], betas[3] = -2.9, 4.04
    explorer = lab.body_explorer(human, rotvec, betas)
    turn, shape = (handle(explorer, f"spinkit-slider-{name}") for name in ("x", "beta3"))
    assert turn.value == pytest.approx(-166.2) and shape.value == pytest.approx(4.0)
    begun = skin(explorer)
    handle(explorer, "spinkit-choose-joint").value = ELBOW
    handle(explorer, "spinkit-choose-joint").value = KNEE
    np.testing.assert_array_equal(skin(explorer), begun)


def test_the_figure_is_whole_before_it_is_a_widget(human, monkeypatch):
    made = []
    module = sys.modules["spinkit.lab.body_explorer"]  # the package has a function of that name
    monkeypatch.setattr(module, "canvas", lambda figure: made.append(figure) or Canvas(figure))
    explorer = lab.body_explorer(human)
    (figure,) = made
    mesh = figure.data[SKIN_TRACE]
    np.testing.assert_array_equal(np.stack([mesh.x, mesh.y, mesh.z], axis=-1), skin(explorer))
    assert isinstance(canvas(explorer), Canvas) and len(canvas(explorer)._esm) < 2000


@pytest.mark.parametrize("part", ["joint", "parts"])
def test_a_batch_that_moves_some_traces_sets_nothing_else_on_others(part, explorer):
    """Else the page may lose what the others had."""
    sent = []
    canvas(explorer).observe(lambda change: sent.append(change["new"]), "_py2js_update")
    handle(explorer, "spinkit-choose-colour").value = WEIGHTS
    choice = handle(explorer, f"spinkit-choose-{part}")
    choice.value = {"joint": ELBOW, "parts": "both"}[part]
    assert any(sent)
    for message in filter(None, sent):
        assert not any(value is Undefined for values in message["style_data"].values() for value in values)


def test_a_shape_slider_gives_the_shape(explorer, human):
    handle(explorer, "spinkit-slider-beta1").value = 2.0
    betas = torch.zeros(10)
    betas[1] = 2.0
    np.testing.assert_allclose(skin(explorer), human.shaped(betas).rest_vertices.numpy(), atol=1e-6)


def test_a_turn_belongs_to_the_chosen_joint_alone(explorer, human):
    handle(explorer, "spinkit-choose-joint").value = ELBOW
    handle(explorer, "spinkit-slider-y").value = 90.0
    rotvec = torch.zeros(24, 3)
    rotvec[ELBOW, 1] = torch.pi / 2
    posed = human.shaped(torch.zeros(10)).posed(roma.rotvec_to_rotmat(rotvec))
    np.testing.assert_allclose(skin(explorer), posed.vertices().numpy(), atol=1e-5)
    dots = canvas(explorer).data[JOINTS]
    np.testing.assert_allclose(np.stack([dots.x, dots.y, dots.z], axis=-1), posed.joints.numpy(), atol=1e-6)
    handle(explorer, "spinkit-choose-joint").value = KNEE
    assert handle(explorer, "spinkit-slider-y").value == 0
    handle(explorer, "spinkit-choose-joint").value = ELBOW
    assert handle(explorer, "spinkit-slider-y").value == 90


def test_a_click_takes_the_joint_that_is_clicked_or_that_the_skin_follows_most(explorer, human):
    chosen = handle(explorer, "spinkit-choose-joint")
    vertex = int(human.weights[:, ELBOW].argmax())
    click(explorer, SKIN_TRACE, vertex)
    assert chosen.value == ELBOW
    click(explorer, JOINTS, KNEE)
    assert chosen.value == KNEE


def test_the_axes_are_those_of_the_parent_at_the_joint(human):
    rotvec = torch.zeros(24, 3)
    hip = JOINT_PARENTS[KNEE]
    rotvec[hip] = torch.tensor([-torch.pi / 2, 0, 0])
    explorer = lab.body_explorer(human, rotvec)
    axes = canvas(explorer).data[AXES]
    ends = np.stack([axes.x, axes.y, axes.z], axis=-1).reshape(3, 3, 3)
    directions = ends[:, 1] - ends[:, 0]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    np.testing.assert_allclose(directions, roma.rotvec_to_rotmat(rotvec[hip]).numpy().T, atol=1e-6)
    knee = human.joints(roma.rotvec_to_rotmat(rotvec), torch.zeros(10))[KNEE]
    np.testing.assert_allclose(ends[:, 0], knee.expand(3, 3).numpy(), atol=1e-6)


def test_colours_say_what_they_are_called(explorer, human):
    mesh, choose = canvas(explorer).data[SKIN_TRACE], handle(explorer, "spinkit-choose-colour")
    choose.value = WEIGHTS
    np.testing.assert_array_equal(mesh.intensity, human.weights[:, KNEE].numpy())
    handle(explorer, "spinkit-choose-joint").value = ELBOW
    np.testing.assert_array_equal(mesh.intensity, human.weights[:, ELBOW].numpy())
    choose.value = BLENDED
    assert mesh.intensity is None and not mesh.showscale and len(mesh.vertexcolor) == len(human.weights)
    choose.value = CORRECTIVES
    assert mesh.showscale and "mm" in mesh.colorbar.title.text and not mesh.intensity.any()
    handle(explorer, "spinkit-slider-z").value = 90.0
    assert mesh.intensity.max() > 5, "a bent elbow is corrected by more than 5 mm"
    choose.value = PLAIN
    assert mesh.intensity is None and mesh.vertexcolor is None


def test_correctives_are_how_far_the_pose_moves_the_skin_at_rest(human):
    posed = human.shaped(torch.zeros(10)).posed(roma.rotvec_to_rotmat(torch.full((24, 3), 0.3)))
    feature = (posed.rotmat[1:] - torch.eye(3)).flatten()
    expected = 1000 * (human.posedirs @ feature).norm(dim=-1)
    torch.testing.assert_close(paint(posed, KNEE, CORRECTIVES).values, expected, atol=1e-3, rtol=1e-4)


def test_an_unknown_colour_is_refused_with_the_known_ones(human):
    posed = human.shaped(torch.zeros(10)).posed(torch.eye(3).expand(24, 3, 3))
    with pytest.raises(ValueError, match=COLOURS[1]):
        paint(posed, KNEE, "plaid")


def test_skin_that_was_hidden_comes_back_where_the_body_is(explorer, human):
    parts, figure = handle(explorer, "spinkit-choose-parts"), canvas(explorer)
    parts.value = "joints"
    assert not figure.data[SKIN_TRACE].visible and figure.data[BONES].visible
    handle(explorer, "spinkit-slider-beta0").value = 1.0
    parts.value = "both"
    assert figure.data[SKIN_TRACE].visible and figure.data[SKIN_TRACE].opacity < 1
    betas = torch.eye(10)[0]
    np.testing.assert_allclose(skin(explorer), human.shaped(betas).rest_vertices.numpy(), atol=1e-6)


def test_reset_leads_back_to_the_start_and_rest_to_the_body_without_a_pose(human):
    rotvec = torch.zeros(24, 3)
    rotvec[KNEE, 0] = 1.0
    explorer = lab.body_explorer(human, rotvec, torch.ones(10))
    begun = skin(explorer)
    handle(explorer, "spinkit-slider-x").value = 10.0
    handle(explorer, "spinkit-slider-beta5").value = -1.0
    assert np.abs(skin(explorer) - begun).max() > 0.01
    handle(explorer, "spinkit-press-reset").click()
    np.testing.assert_array_equal(skin(explorer), begun)
    assert handle(explorer, "spinkit-slider-beta5").value == 1.0
    handle(explorer, "spinkit-press-rest").click()
    np.testing.assert_allclose(skin(explorer), human.v_template.numpy(), atol=1e-6)
    assert handle(explorer, "spinkit-slider-x").value == 0


def test_a_move_sends_what_it_changes_and_nothing_else(explorer):
    sent = []
    canvas(explorer).observe(lambda change: sent.append(change["new"]), "_py2js_update")
    handle(explorer, "spinkit-slider-beta0").value = 1.0
    (message,) = filter(None, sent)
    assert set(message["style_data"]) == {"x", "y", "z"}


def test_the_still_shows_what_the_widget_shows_at_that_moment(explorer):
    first = view.png(explorer.still())
    handle(explorer, "spinkit-slider-x").value = 90.0
    assert view.png(explorer.still()) != first


def test_a_handle_that_fails_says_so_until_one_succeeds():
    line = ipywidgets.HTML()

    def act(value: int) -> None:
        if value < 0:
            raise ValueError("no value below <0>")

    with pytest.raises(ValueError, match="below"):
        answering(line, act)(-1)
    assert "ValueError: no value below &lt;0&gt;" in line.value
    answering(line, act)(1)
    assert line.value == ""


def test_whether_a_page_looks_on_is_what_the_session_says_or_who_starts_it(monkeypatch):
    for session, told, expected in ((0, "", 0), (1, "", 1), (0, "1", 1), (1, "1", 1), (0, "0", 0), (1, "0", 0)):
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        if session:
            monkeypatch.setenv("JPY_SESSION_NAME", "00_body.ipynb")
        monkeypatch.setenv("SPINKIT_WIDGETS", told)
        assert lab.has_front_end() == bool(expected)
    monkeypatch.setenv("SPINKIT_WIDGETS", "yes")
    with pytest.raises(ValueError, match="SPINKIT_WIDGETS is 1 for widgets or 0 for stills, got 'yes'"):
        lab.has_front_end()


def test_a_page_gets_the_widget_and_a_light_still_and_a_page_without_hands_the_still_alone(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("spinkit.lab.explorer.display", lambda what, **how: shown.append(what))
    monkeypatch.setattr("spinkit.lab.explorer.has_front_end", lambda: False)
    explorer._ipython_display_()
    monkeypatch.setattr("spinkit.lab.explorer.has_front_end", lambda: True)
    explorer._ipython_display_()
    alone, widget, folded = shown
    assert set(alone) == {"image/png", "text/plain"}
    assert widget is explorer.widget
    assert len(folded["image/png"]) + len(folded["text/html"]) < 1.2 * len(alone["image/png"])
    assert "<details>" in folded["text/html"] and "joint&#x27;s" in folded["text/html"]
