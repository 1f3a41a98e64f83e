"""The benchmarks' own arithmetic, and that `fit` runs from end to end at tiny sizes."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import fit as benchmark
from fitting import clock, comparison, floor, initial, memory, report, samples, speed
from fitting.routines import Answer, World

from spinkit import smplify, solvers

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world():
    return World.on(CPU)


@pytest.fixture(scope="module")
def crowd(human):
    return samples.draw(human, 12, seed=3)


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """The report of a quick run, and where it was written."""
    path = tmp_path_factory.mktemp("bench") / "deep" / "fit.json"
    assert benchmark.main(["--quick", "--skip", "memory", "--out", str(path)]) == 0
    return json.loads(path.read_text())


def test_a_quick_run_of_fit_fills_every_part_of_its_report(run_once):
    assert run_once["command"].startswith("./run bench fit --quick")
    assert run_once["machine"]["torch"] == torch.__version__ and run_once["machine"]["threads"] == 1
    routines = run_once["quality"]["groups"]["everybody"]["routines"]
    assert list(routines) == ["start", "published", "adam", "lm"]
    assert routines["published"]["at_most_published"] == 1 and routines["published"]["mpjpe_ratio"] == 1
    assert all(math.isfinite(value) for found in routines.values() for value in found.values())
    assert set(run_once["speed"]) == {"1", "4"}
    assert "memory" not in run_once
    assert len(run_once["initial"]) == 3 and len(run_once["training"]) == 1
    assert max(run_once["layer"]["largest_difference_m"].values()) < 1e-5


def test_our_adam_answers_as_the_published_routine_does(run_once):
    routines = run_once["quality"]["groups"]["everybody"]["routines"]
    for measure in ("objective", "mpjpe_mm", "pa_mpjpe_mm", "pixels"):
        assert routines["adam"][measure] == pytest.approx(routines["published"][measure], rel=1e-3)


def test_the_same_seed_draws_the_same_people_and_starts(human, crowd):
    again = samples.draw(human, 12, seed=3)
    assert torch.equal(again.keypoints.xy, crowd.keypoints.xy) and torch.equal(again.truth.betas, crowd.truth.betas)
    for way in samples.STARTS.values():
        one, other = (way(human, crowd, torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(one.rotvec, other.rotvec)
        assert (one.camera.translation[:, 2] > 0).all() and one.rotvec.isfinite().all()


def test_the_objective_is_that_of_the_fit_that_ends_there(world, crowd):
    start = samples.regressor_starts(world.body, crowd, torch.Generator().manual_seed(0))
    found = smplify.fit(world.body, world.prior, crowd.keypoints, start, smplify.published(steps=3))
    measured = comparison.objective(world, crowd.keypoints, Answer.of(found).at)
    torch.testing.assert_close(measured, found.total)


def test_the_truth_scores_no_error_and_its_keypoints_lie_where_they_were_marked(world, human):
    exact = samples.draw(human, 4, seed=0)
    at = smplify.Start(exact.truth.rotvec, exact.truth.betas, exact.camera)
    verdict = comparison.judge(world, exact, Answer(at, torch.zeros(4)))
    assert verdict.mpjpe.max() < 1e-5 and verdict.pa_mpjpe.max() < 1e-4
    # 2 px of noise in each direction, and an outlier now and then.
    assert 1.5 < verdict.pixels.median() < 4


def test_batches_take_turns_through_everybody():
    assert speed.some(0, 4, 10).tolist() == [0, 1, 2, 3]
    assert speed.some(2, 4, 10).tolist() == [8, 9, 0, 1]
    assert speed.planned([1, 64, 256, 1024], 64, 64)[256] == ["lm"]
    assert speed.planned([64], 0, 64)[64] == ["published", "adam", "lm"]


def test_speed_is_told_by_medians_and_ratios():
    told = speed.summary({2: {"published": [9.0, 8.0, 100.0], "lm": [1.0, 2.0, 3.0]}, 4: {"lm": [0.5]}})
    assert told["2"]["lm"]["seconds"] == 2 and told["2"]["lm"]["fits_per_second"] == 1
    assert told["2"]["lm"]["times_published"] == 4.5 and told["2"]["published"]["times_published"] == 1
    assert told["4"]["lm"]["fits_per_second"] == 8 and "times_published" not in told["4"]["lm"]


def test_the_floor_counts_what_moves_a_keypoint():
    # The annotated right wrist is the joint itself, below collar, shoulder, elbow and four of the trunk.
    assert floor.sizes([31]) == floor.Sizes(points=1, skinned=0, paths=7, pairs=0)
    assert floor.sizes([8]) == floor.Sizes(points=1, skinned=0, paths=0, pairs=0)
    # The nose is one vertex of the head.
    nose = floor.sizes([44])
    assert nose.skinned == 1 and nose.pairs >= 1 and nose.paths >= 6
    both = floor.sizes([31, 44])
    assert both.paths == 7 + nose.paths and both.points == 2


def test_the_floor_agrees_with_torchs_count_of_the_largest_product():
    points = 20
    jacobian = torch.rand(1, 2 * points, 85)
    with FlopCounterMode(display=False) as counter:
        jacobian.mT @ jacobian
    counted = floor.linearisation(floor.Sizes(points, 0, 0, 0))["J'J, J'r"]
    # torch counts the whole product; its symmetric half and J'r are what is needed.
    assert 0.5 < counted / counter.get_total_flops() < 0.55


def test_iterations_are_told_apart_by_stage(world, crowd):
    start = samples.regressor_starts(world.body, crowd, torch.Generator().manual_seed(0))
    settings = smplify.SmplifySettings(
        camera_solver=solvers.LevenbergMarquardt(steps=3, tolerance=0.0),
        body_solver=solvers.LevenbergMarquardt(steps=5, tolerance=0.0),
    )
    camera, body = floor.iterations_by_stage(world, crowd, start, settings)
    assert (camera <= 3).all() and (body <= 5).all()
    assert camera.max() == 3 and body.max() == 5


def test_a_turn_about_the_vertical_is_the_heading_error():
    upright = torch.tensor([[[math.pi, 0.0, 0.0]]]).repeat(1, 24, 1)
    # About y by 30 degrees, seen from above; the composition of half a turn about x with it.
    turned = upright.clone()
    turned[:, 0] = torch.tensor([math.pi * math.cos(math.radians(15)), 0.0, -math.pi * math.sin(math.radians(15))])
    assert initial.heading_error(turned, upright).item() == pytest.approx(math.radians(30), abs=1e-5)
    assert initial.heading_error(upright, upright).item() == 0


def test_memory_is_told_as_json_with_a_peak_that_the_process_reached(capsys):
    memory.main("lm", 2, CPU)
    told = json.loads(capsys.readouterr().out)
    assert told["peak"] >= told["before"] > 1e7


def test_calls_in_turns_are_warm_when_they_are_timed():
    called = []
    seconds = clock.in_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2, CPU)
    assert called == ["a", "a", "b", "b"] * 2
    assert set(seconds) == {"a", "b"} and min(seconds.values()) > 0


def test_tables_are_as_wide_as_their_heads():
    lines = report.table(["x", "y"], [["1", "2"], ["3", "4"]]).splitlines()
    assert {line.count("|") for line in lines} == {3}
    assert report.seconds(0.0125) == "12.50 ms" and report.seconds(12.5) == "12.50 s"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card, so it is not refused")
def test_a_graphics_card_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--device", "cuda"])
    assert "no such graphics card" in capsys.readouterr().err
