"""A fit's film is the fit; the explorer's handles move all its pictures; a race replays what was recorded."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from crowd import draw_exactly
from matplotlib.figure import Figure

from spinkit import data, lab, priors, smplify, solvers
from spinkit.keypoints import NAMES
from spinkit.lab import canvas as canvases
from spinkit.lab import fit_panels
from spinkit.lab.fit_choice import Choice
from spinkit.lab.fit_explorer import Desk, Sitter
from spinkit.lab.fit_handles import DRAGS
from spinkit.lab.fit_trace import trace_fit

STEPS = {"body_solver": solvers.LevenbergMarquardt(steps=6, damping=1.0, shrink=0.6, plain=3000.0)}
RULES = {
    "Levenberg-Marquardt": smplify.SmplifySettings(**STEPS),
    "to the end": smplify.SmplifySettings(),
    "quick": smplify.quick(),
    "published": smplify.published(4),
    "no camera stage": smplify.SmplifySettings(camera_solver=None, **STEPS),
    "too few keypoints": smplify.SmplifySettings(min_keypoints=49, **STEPS),
}


@pytest.fixture(scope="module")
def one(human):
    """One person: body, prior, keypoints, and a start that faces the camera."""
    person, prior = draw_exactly(human, 1, seed=3), priors.load()
    return person, prior, smplify.heading_starts(human, prior, person.keypoints, headings=1)[0]


@pytest.fixture(scope="module")
def sitter(human, one):
    person, prior, start = one
    truth = data.Truth(person.rotvec, person.betas, torch.ones(1).bool(), torch.zeros(1, 24, 4), torch.zeros(1).bool())
    near = replace(start, rotvec=person.rotvec)
    return Sitter(human, prior, torch.zeros(3, 32, 32), person.keypoints, {"mean": start, "near": near}, truth)


@pytest.fixture
def desk(sitter):
    return Desk(sitter)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_last_frame_is_the_answer_of_the_fit(human, one, rule):
    person, prior, start = one
    trace = trace_fit(human, prior, person.keypoints, start, rule)
    plain = smplify.fit(human, prior, person.keypoints, start, rule)
    for found, wanted in ((trace[-1].rotvec, plain.rotvec), (trace[-1].camera.translation, plain.camera.translation)):
        torch.testing.assert_close(found, wanted)
    assert trace.fit.usable.equal(plain.usable)
    if plain.usable.all():
        torch.testing.assert_close(trace.total[-1:], plain.total)
        assert set(trace.energy) == set(plain.energy)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_frame_is_where_the_fit_would_end_after_so_many_steps(human, one, steps):
    person, prior, start = one
    rule = RULES["to the end"]
    trace = trace_fit(human, prior, person.keypoints, start, rule)
    short = replace(rule, body_solver=replace(rule.body_solver, steps=steps))
    cut = smplify.fit(human, prior, person.keypoints, start, short)
    frame = trace[trace.turned + steps]
    # Not rotation vectors: until the first step the film shows hidden joints as they were at the start.
    filmed, ended = (human.keypoints(roma.rotvec_to_rotmat(a.rotvec), a.betas) for a in (frame, cut))
    torch.testing.assert_close(filmed, ended, atol=1e-5, rtol=0)
    torch.testing.assert_close(trace.total[trace.turned + steps], cut.total[0])


def test_a_film_has_a_frame_for_every_step_and_only_goes_downhill_in_the_body_stage(human, one):
    person, prior, start = one
    trace = trace_fit(human, prior, person.keypoints, start)
    assert len(trace) == 1 + int(trace.fit.iterations)
    assert (trace.total[trace.turned :].diff() <= 0).all()
    torch.testing.assert_close(trace[0].rotvec, start.rotvec)
    assert (trace.seconds[trace.turned + 1 :].diff() > 0).all()


def test_a_fit_of_two_people_is_not_filmed(human, one):
    person, prior, start = one
    two = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="one person, got 2 starts"):
        trace_fit(human, prior, person.keypoints[two], start[two])


def test_a_choice_becomes_settings_and_keypoints_and_leaves_what_was_marked(one):
    marked = one[0].keypoints
    before = marked.xy.clone(), marked.confidence.clone()
    choice = Choice("mean", steps=3, weights={"pose_weight": 0.0}, dropped=frozenset({30}), moved={27: (5.0, -2.0)})
    told, rule = choice.keypoints(marked), choice.settings()
    assert told.confidence[0, 30] == 0 and rule.pose_weight == 0 and rule.body_solver.steps == 3
    torch.testing.assert_close(told.xy[0, 27] - marked.xy[0, 27], torch.tensor([5.0, -2.0]))
    assert marked.xy.equal(before[0]) and marked.confidence.equal(before[1])
    assert Choice("mean").settings() == smplify.SmplifySettings()


def test_a_weight_of_no_term_is_refused_by_its_name():
    with pytest.raises(ValueError, match="pose_wait"):
        Choice("mean", weights={"pose_wait": 1.0}).settings()


def contents(desk: Desk) -> dict[str, object]:
    """What the four pictures and the line below them hold."""
    space = next(line for line in desk.space.data if line.name == "now")
    return {
        "arrows": tuple(np.nan_to_num(desk.crop.data[fit_panels.ARROWS].x)),
        "overlay": desk.picture.value,
        "space": tuple(np.nan_to_num(space.x)),
        "energy": desk.energy.layout.shapes[1].x0,
        "told": desk.told.value,
    }


def test_the_iteration_slider_moves_all_pictures_there_and_back(desk):
    last = contents(desk)
    desk.handles.iteration.value = 0
    first = contents(desk)
    assert not [name for name in last if last[name] == first[name]]
    desk.handles.iteration.value = len(desk.trace) - 1
    assert contents(desk) == last


def test_handles_ask_and_the_button_answers(desk):
    before = desk.trace
    desk.handles.start.value = "near"
    assert desk.trace is before and desk.handles.press.description == "fit again"
    desk.handles.press.click()
    assert desk.trace is not before and desk.handles.press.description == "fit"
    torch.testing.assert_close(desk.trace[0].rotvec, desk.sitter.starts["near"].rotvec)


def test_a_term_that_is_switched_off_costs_nothing_and_its_slider_weighs_it(desk):
    desk.handles.at_once.value = True
    switch, slider = desk.handles.weights["pose_weight"]
    switch.value = False
    assert (desk.trace.energy["pose"] == 0).all()
    switch.value = True
    slider.value = 50.0
    assert desk.choice.settings().pose_weight == pytest.approx(50.0)
    assert desk.handles.iteration.value == desk.handles.iteration.max == len(desk.trace) - 1


def said_by_the_page(desk: Desk, point: int) -> None:
    """A click on a marked keypoint, as the page reports it."""
    points = {"trace_indexes": [fit_panels.MARKED], "point_indexes": [point], "xs": [0.0], "ys": [0.0]}
    nobody = {"device_state": None, "selector": None}
    desk.crop._js2py_pointsCallback = {"event_type": "plotly_click", "points": points, **nobody}


def test_a_click_drops_a_keypoint_and_another_restores_it(desk):
    index = NAMES.index("Left Wrist")
    point = desk.shown.nonzero()[:, 0].tolist().index(index)
    said_by_the_page(desk, point)
    marked = desk.crop.data[fit_panels.MARKED]
    assert desk.choice.dropped == {index} and marked.marker.symbol[point] == "x"
    said_by_the_page(desk, point)
    assert not desk.choice.dropped and marked.marker.symbol[point] == "circle"


def test_a_keypoint_in_hand_follows_its_ring_and_its_sliders(desk):
    desk.handles.mode.value = DRAGS
    said_by_the_page(desk, 8)
    index, ring = desk.handles.keypoint.value, desk.crop.layout.shapes[0]
    assert ring.visible and not desk.choice.dropped
    moved = {"shapes[0].x0": ring.x0 + 20, "shapes[0].x1": ring.x1 + 20, "shapes[0].y0": ring.y0 - 6}
    moved["shapes[0].y1"] = ring.y1 - 6
    desk.crop._js2py_relayout = {"relayout_data": moved, "source_view_id": "page"}
    assert desk.choice.moved[index] == pytest.approx((20.0, -6.0), abs=0.01)
    desk.handles.down.value = 11.0
    assert desk.choice.moved[index] == pytest.approx((20.0, 11.0), abs=0.01)
    told = desk.choice.keypoints(desk.sitter.keypoints).xy[0, index]
    torch.testing.assert_close(fit_panels.ring_place(desk.crop), told, atol=1e-3, rtol=0)
    desk.handles.restore.click()
    assert not desk.choice.moved and desk.handles.down.value == 0


def test_a_fit_with_too_few_keypoints_says_so(desk):
    desk.choice = replace(desk.choice, dropped=frozenset(range(46)))
    desk.fit()
    assert "Too few keypoints" in desk.told.value
    torch.testing.assert_close(desk.trace[-1].rotvec, desk.sitter.starts["mean"].rotvec)


def test_a_handle_that_fails_says_why(desk, monkeypatch):
    def broken(*said):
        raise RuntimeError("the solver is on strike")

    monkeypatch.setattr(Sitter, "answer", broken)
    desk.handles.press.click()
    assert "on strike" in desk.trouble.value


def test_the_explorer_has_a_still_and_wants_a_start(human, one, sitter):
    explorer = lab.fit_explorer(human, sitter.prior, sitter.image, sitter.keypoints, sitter.starts)
    assert isinstance(explorer.still(), Figure)
    assert "spinkit-fit" in explorer.widget._dom_classes
    with pytest.raises(ValueError, match="needs a start"):
        lab.fit_explorer(human, sitter.prior, sitter.image, sitter.keypoints, {})


def test_a_race_replays_both_solvers_from_the_common_start_to_both_ends(human, sitter, monkeypatch):
    # In the room, the file and its function have one name, and the function is what the room shows.
    monkeypatch.setattr(sys.modules["spinkit.lab.race"], "ADAM_STEPS", 12)
    start = sitter.starts["mean"]
    explorer = lab.race(human, sitter.prior, sitter.image, sitter.keypoints, start, RULES["Levenberg-Marquardt"])
    replay = explorer.draw.__self__
    newton, adam = replay.course.runners
    assert newton.energy[0] == pytest.approx(adam.energy[0]) and len(adam.energy) == 13
    replay.progress.value = 0
    assert replay.steps == [0, 0]
    replay.progress.value = replay.progress.max
    assert replay.steps == [len(newton.energy) - 1, 12]
    replay.by.value = "steps taken"
    assert replay.steps == [len(newton.energy) - 1, 12] and replay.chart.layout.xaxis.title.text == "steps taken"
    np.testing.assert_allclose(replay.chart.data[1].y, adam.energy[1:])
    assert isinstance(explorer.still(), Figure)


def test_figures_share_one_copy_of_plotlys_javascript(desk):
    carrier = canvases._carrier()
    assert len(carrier.source) > 1e6 and len(desk.space._esm) < 1000
    assert canvases._carrier() is carrier
