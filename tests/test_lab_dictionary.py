"""The dictionary explorer and the comparison of two runs: numbers, handles, figures, and the file that still grows."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import explorer as benchmark

from spinkit import evaluate, job, lab, storage
from spinkit.fits import ACCEPTED, REJECTED, Note
from spinkit.lab import dictionary_data as numbers
from spinkit.lab.dictionary_data import Ledger, ShapeLimit, Threshold
from spinkit.lab.dictionary_explorer import Shown
from spinkit.spin import checkpoint

PEOPLE = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished run of made-up fits, and its people."""
    folder = tmp_path_factory.mktemp("runs") / "made_up"
    return folder, benchmark.made_up_run(folder, PEOPLE, updates=4)


@pytest.fixture(scope="module")
def ledger(made):
    return Ledger.of(job.peek(made[0]))


@pytest.fixture(scope="module")
def truth(made, ledger, human):
    return numbers.distance(ledger, made[1], human)


@pytest.fixture
def explored(made, human):
    return lab.dictionary_explorer(*made, human)


def handle(explorer, name):
    found = benchmark._find(explorer.widget, name)
    assert found is not None, name
    return found


def figures(widget):
    """All plotly figures of a widget, in order."""
    inside = [figure for child in getattr(widget, "children", ()) for figure in figures(child)]
    return [widget] if hasattr(widget, "data") else inside


def words(explorer):
    return " ".join(child.value for child in explorer.widget.children if isinstance(getattr(child, "value", 0), str))


def test_everyone_begins_with_what_the_first_update_found(ledger):
    for key in range(0, PEOPLE, 7):
        rows = np.flatnonzero(ledger.key == key)
        assert ledger.began[key] == (ledger.before[rows[0]] if len(rows) else ledger.error[key])


def test_the_line_of_one_person_tells_each_update_from_before_to_after(ledger):
    key = int(np.bincount(ledger.key).argmax())
    rows, (steps, errors) = np.flatnonzero(ledger.key == key), ledger.line(key)
    assert len(steps) == len(errors) == 2 + 2 * len(rows)
    np.testing.assert_array_equal(errors[1:-1:2], ledger.before[rows])
    np.testing.assert_array_equal(errors[2:-1:2], ledger.after[rows])
    assert steps[0] == 0 and steps[-1] == ledger.run.steps_done and (np.diff(steps) >= 0).all()


def test_the_crowd_at_every_moment_is_what_a_slow_count_gives(ledger):
    moments, bands = ledger.crowd()
    for at in (0, 13, len(moments) - 1):
        now = ledger.began.copy()
        for key, step, after in zip(ledger.key, ledger.step, ledger.after, strict=True):
            if step <= moments[at]:
                now[key] = after
        np.testing.assert_array_equal(bands[at], np.percentile(now, numbers.PERCENTILES, method="lower"))
    np.testing.assert_array_equal(bands[-1], np.percentile(ledger.error, numbers.PERCENTILES, method="lower"))


def test_what_a_threshold_keeps_is_what_a_slow_count_gives(made, ledger, truth, human):
    sorted_once, (_, people) = Threshold(ledger, truth), made
    fits = ledger.run.fits
    scores = evaluate.score_fits(human, fits.rotvec, fits.betas, people.judge)
    for threshold in (0.5, 9.0, 18.0, 1e4):
        passed = ledger.error < threshold
        kept = sorted_once.kept(threshold)
        assert kept.count == passed.sum() and kept.share == passed.mean()
        for mean, all_scores in ((kept.pa_mpjpe, scores.pa_mpjpe), (kept.mpjpe, scores.mpjpe)):
            expected = 1000 * all_scores.numpy()[passed].mean() if passed.any() else np.nan
            np.testing.assert_allclose(mean, expected, rtol=1e-4)


def test_rulings_pass_or_stop_a_fit_whatever_the_threshold(ledger):
    fits = job.peek(ledger.run.folder).fits
    low, high = ledger.error.argmin(), ledger.error.argmax()
    fits.rule(int(high), ACCEPTED, Note(0))
    fits.rule(int(low), REJECTED, Note(0))
    ruled = Threshold(Ledger.of(replace(ledger.run, fits=fits)), None)
    assert ruled.kept(1e-6).count == 1 and ruled.order[0] == high
    assert ruled.kept(1e9).count == PEOPLE - 1 and ruled.order[-1] == low


def test_the_rule_for_betas_is_what_a_slow_count_gives(made, ledger, truth):
    limit, betas = ShapeLimit(ledger, truth), ledger.run.fits.betas
    beyond = (betas.abs() > 2.0).any(dim=1)
    assert limit.affected(2.0) == beyond.sum() > 0
    true = made[1].judge.betas
    expected = [(betas - true)[beyond].norm(dim=1).mean(), true[beyond].norm(dim=1).mean()]
    np.testing.assert_allclose(limit.away(2.0), expected, atol=1e-5)
    assert limit.affected(100.0) == 0 and np.isnan(limit.away(100.0)).all()


@pytest.mark.parametrize("sort", [s for s in numbers.SORTS if s != "at the threshold"])
def test_a_gallery_is_in_the_order_that_its_name_says(sort, ledger, truth):
    order = numbers.ranked(ledger, sort, truth)
    assert sorted(order) == list(range(PEOPLE))
    far = np.empty(PEOPLE)
    far[truth.key] = truth.pa_mpjpe
    gain = ledger.began - ledger.error
    falling = {"gained most": gain, "lost most": -gain, "largest error": ledger.error, "smallest error": -ledger.error}
    falling |= {"farthest from the truth": far, "nearest to the truth": -far, "largest beta": ledger.shape}
    falling |= {"most updates": ledger.run.fits.updates.numpy()}
    assert (np.diff(falling[sort][order]) <= 0).all()


def test_the_edge_of_a_threshold_is_who_is_just_kept_and_who_is_just_refused(ledger):
    middle = float(np.median(ledger.error)) + 1e-3
    edge = Threshold(ledger, None).edge(middle, 6)
    kept = ledger.error[edge] < middle
    assert kept.tolist() == [True] * 3 + [False] * 3
    assert ledger.error[edge].max() - ledger.error[edge].min() < 0.5 * np.ptp(ledger.error)


def test_the_threshold_moves_bars_marks_words_and_in_its_gallery_pictures(explored):
    slider, sort = handle(explored, "spinkit-slider-threshold"), handle(explored, "spinkit-choose-sort")
    rules = figures(explored.widget)[1]
    slider.value = 5.0
    before, said = np.array(rules.data[0].y), words(explored)
    slider.value = 18.0
    below, refused = np.array(rules.data[0].y), np.array(rules.data[1].y)
    assert below.sum() > before.sum() and below.sum() + refused.sum() == PEOPLE
    assert rules.layout.shapes[0].x0 == pytest.approx(np.log10(18.0)) == rules.data[4].x[0]
    assert words(explored) != said and "mm" in words(explored) and "did not work" not in words(explored)
    pictures = explored.widget.children[7]
    sort.value = "at the threshold"
    seen = pictures.value
    slider.value = 7.0
    assert pictures.value != seen and bytes(pictures.value[:2]) == b"\xff\xd8"


def test_a_page_a_person_and_a_limit_show_at_once(explored):
    leaf, person = explored.widget.children[6].children[1:]
    pictures, timeline = explored.widget.children[7], figures(explored.widget)[0]
    seen, line = pictures.value, timeline.data[5].name
    leaf.value, person.value = 2, (person.value + 1) % PEOPLE
    assert pictures.value != seen and timeline.data[5].name == f"person {person.value}" != line
    limit, rules = explored.widget.children[3].children[1], figures(explored.widget)[1]
    limit.value = 1.5
    assert sum(rules.data[7].y) == (job.peek(explored_folder(explored)).fits.betas.abs().amax(1) > 1.5).sum()


def explored_folder(explored):
    return handle(explored, "spinkit-choose-run").value


def test_a_callback_that_fails_says_so_in_the_widget(made, human, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    explored = lab.dictionary_explorer(tmp_path / "run", made[1], human)
    (tmp_path / "run" / "fits.npz").write_bytes(b"broken")
    explored.widget.children[0].children[1].click()
    assert "did not work" in words(explored) and "fits.npz" in words(explored)


def snapshot(folder, fits, step):
    model = nn.Linear(2, 2)
    checkpoint.save(folder / "checkpoints", step, model, torch.optim.Adam(model.parameters()), fits, [{"step": step}])


def test_a_run_that_still_trains_is_read_and_looked_at_again(made, human, tmp_path):
    folder, fits = tmp_path / "growing", job.peek(made[0]).fits
    folder.mkdir()
    shutil.copy(made[0] / "settings.json", folder)
    with pytest.raises(FileNotFoundError, match="no snapshot yet"):
        job.peek(folder)
    snapshot(folder, fits, 10)
    explored = lab.dictionary_explorer(folder, made[1], human)
    assert "training" in words(explored) and "step 10 of 5000" in words(explored)
    handle(explored, "spinkit-slider-threshold").value = 9.0
    fits.error[:] = 1.0
    snapshot(folder, fits, 20)
    explored.widget.children[0].children[1].click()
    assert "step 20 of 5000" in words(explored) and f"<b>{PEOPLE}</b> of {PEOPLE}" in words(explored)
    assert handle(explored, "spinkit-slider-threshold").value == 9.0, "looking again leaves the handles alone"


def test_snapshots_that_vanish_while_they_are_read_are_neither_damaged_nor_missing(made, tmp_path, monkeypatch):
    folder, fits, digest = tmp_path / "growing", job.peek(made[0]).fits, storage.digest
    folder.mkdir()
    shutil.copy(made[0] / "settings.json", folder)
    snapshot(folder, fits, 10)
    snapshot(folder, fits, 20)

    def saving(path):
        monkeypatch.setattr(storage, "digest", digest)
        snapshot(folder, fits, 30)
        snapshot(folder, fits, 40)
        return digest(path)

    monkeypatch.setattr(storage, "digest", saving)
    assert job.peek(folder).steps_done == 40
    (folder / "checkpoints" / "step_00000040" / "fits.npz").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="step_00000040: damaged"):
        assert job.peek(folder).steps_done == 30


def test_another_run_is_chosen_and_strangers_have_neither_pictures_nor_truth(made, human, tmp_path):
    shutil.copytree(made[0], tmp_path / "first")
    benchmark.made_up_run(tmp_path / "others", 30, updates=2, seed=5)
    explored = lab.dictionary_explorer(tmp_path / "first", made[1], human)
    choice = handle(explored, "spinkit-choose-run")
    assert {path.name for _, path in choice.options} == {"first", "others"}
    assert "off the truth" in words(explored)
    choice.value = tmp_path / "others"
    assert "of 30 fits" in words(explored) and "off the truth" not in words(explored)
    assert "without its people" in words(explored) and "did not work" not in words(explored)


def test_people_of_another_run_are_refused(made, human):
    folder, people = made
    with pytest.raises(ValueError, match="a run of 60 people, but 10 were given"):
        lab.dictionary_explorer(folder, people.subset(torch.arange(10)), human)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no settings\.json, so no run"):
        lab.dictionary_explorer(tmp_path)


def test_stills_are_drawn_without_a_browser(explored, made, human, tmp_path):
    assert len(explored.still().axes) == 3
    other = shutil.copytree(made[0], tmp_path / "other")
    assert len(lab.compare_runs(made[0], other, made[1], human).still().axes) == 2


def test_of_a_hundred_thousand_people_none_is_posed_but_those_who_are_measured(tmp_path, human, monkeypatch):
    monkeypatch.setattr(np, "savez_compressed", np.savez)  # packing takes longer than all the rest
    people = benchmark.made_up_run(tmp_path / "large", 100_000, updates=1)
    posed, score = [], evaluate.score_fits
    monkeypatch.setattr(
        evaluate, "score_fits", lambda body, rotvec, *a: posed.append(len(rotvec)) or score(body, rotvec, *a)
    )
    monkeypatch.setattr(numbers, "MEASURED", 50)
    explored = lab.dictionary_explorer(tmp_path / "large", people, human)
    assert posed == [50] and "measured on 50 of 100000" in words(explored)
    handle(explored, "spinkit-slider-threshold").value = 12.0
    points = sum(len(trace.x) for figure in figures(explored.widget) for trace in figure.data if trace.x is not None)
    assert points < 2000, "a page that draws every sample would stand still"


def test_two_runs_are_compared_person_by_person(made, human, tmp_path):
    folder, people = made
    other = shutil.copytree(folder, tmp_path / "other")
    arrays = dict(np.load(folder / "fits.npz"))
    arrays["error"] = arrays["error"] + np.where(np.arange(PEOPLE) == 7, -0.9 * arrays["error"][7], 1.0)
    arrays["rotvec"][:] = people.judge.rotvec
    np.savez(other / "fits.npz", **arrays)
    compared = lab.compare_runs(folder, other, people, human)
    measure, which, _ = compared.widget.children[0].children
    (chart,) = figures(compared.widget)
    assert measure.value.startswith("distance") and f"<b>{PEOPLE}</b> of {PEOPLE} are better" in words(compared)
    measure.value = measure.options[0]
    assert f"<b>1</b> of {PEOPLE} are better in the second run, {PEOPLE - 1} worse" in words(compared)
    assert list(chart.data[3].text) == [7]
    seen = compared.widget.children[3].value
    which.value = which.options[1]
    assert 7 not in chart.data[3].text and compared.widget.children[3].value != seen


def test_runs_of_different_people_are_not_compared(made, tmp_path):
    benchmark.made_up_run(tmp_path / "others", 30, updates=2)
    with pytest.raises(ValueError, match="runs of different people"):
        lab.compare_runs(made[0], tmp_path / "others")


def test_with_many_people_the_comparison_counts_them_in_squares(made, human, monkeypatch):
    monkeypatch.setattr("spinkit.lab.dictionary_compare.DOTS", 10)
    (chart,) = figures(lab.compare_runs(made[0], made[0], made[1], human).widget)
    assert len(chart.data[1].x) == 0 and np.isfinite(chart.data[0].z).sum() > 1


def test_history_is_read_where_it_was_noted(made):
    history = json.loads((made[0] / "history.json").read_text())
    steps, values = numbers.history_column([{"step": 0}, *history], "updated")
    assert steps[0] == 25 and len(steps) == len(values) == len(history)
    assert Shown(job.peek(made[0]), None, None).album is None
