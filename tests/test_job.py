"""A run from end to end: what it leaves behind, how it goes on, and what it refuses before any work."""

import errno
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from spinkit import job, spin
from spinkit.job import Sources
from spinkit.keypoints import Keypoints


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """What runs share: synthetic people and initial fits, made once for all of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(cache):
    return job.prepare(job.choose("tiny"), Sources(), cache, progress=False)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """A finished tiny run and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "loop"
    return job.train(prepared, folder, progress=False), folder


def with_steps(prepared, **settings):
    preset = prepared.preset
    return replace(prepared, preset=replace(preset, spin=replace(preset.spin, **settings)))


def test_the_summary_says_what_ran_on_what_and_how_well(finished, prepared):
    run, folder = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["preset"]["name"] == "tiny" and summary["preset"]["spin"]["mode"] == "loop"
    assert summary["sources"] == {"body": "", "data": "people", "weights": ""}
    assert summary["body"] == "body.npz"
    assert summary["samples"] == {"train": 64, "test": 32, "few_keypoints": prepared.few_keypoints}
    assert summary["refused"] is None
    assert summary["parameters"] == sum(p.numel() for p in run.model.parameters())
    assert {"python", "torch", "numpy", "roma", "spinkit"} == set(summary["versions"])
    assert {"people", "initial_fits", "train"} == set(summary["seconds"])
    assert summary["updates"] == int(run.fits.updates.sum()) >= summary["samples_updated"] > 0
    initial, final = summary["metrics"]["initial"], summary["metrics"]["final"]
    assert initial["step"] == 0 and final["step"] == 12
    measures = {"test_mpjpe", "test_pa_mpjpe", "dictionary_mpjpe", "dictionary_pa_mpjpe"}
    assert measures | {"step"} == set(initial) == set(final)
    # Millimetres of people, not metres and not pixels.
    assert all(20 < final[name] < 2000 for name in measures)


def test_a_run_is_read_back_as_it_ended(finished, prepared):
    run, folder = finished
    summary, history, fits = job.load_run(folder)
    assert history == run.history and summary["metrics"]["final"] in history
    assert torch.equal(fits.rotvec, run.fits.rotvec) and torch.equal(fits.updates, run.fits.updates)
    model = job.load_model(folder, prepared)
    assert not model.training
    for name, value in run.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_finished_run_is_not_run_again(finished, prepared):
    run, folder = finished
    again = job.train(prepared, folder, progress=False)
    assert again.history == run.history and again.steps_done == run.steps_done


def test_initial_fits_are_tracked_evenly_and_never_written_to(finished, prepared):
    run, _ = finished
    assert prepared.fits.updates.sum() == 0 and run.fits.updates.sum() > 0
    tracked = prepared.fits.tracked.nonzero()[:, 0]
    assert len(tracked) == 8 and tracked[0] == 0 and tracked[-1] == 63
    assert torch.equal(run.fits.tracked, prepared.fits.tracked)


def test_what_was_prepared_once_comes_from_the_cache(prepared, cache):
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    again = job.prepare(job.choose("tiny", mode="static", seed=3), Sources(), cache, progress=False)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
    assert torch.equal(again.fits.rotvec, prepared.fits.rotvec)
    assert torch.equal(again.train.keypoints.xy, prepared.train.keypoints.xy)


def test_an_interrupted_run_ends_as_an_unbroken_one(finished, prepared, tmp_path, monkeypatch):
    unbroken, _ = finished
    measure = job.measure

    def stop_after_six(prepared, run):
        if run.steps_done == 12:
            raise SystemExit
        return measure(prepared, run)

    monkeypatch.setattr("spinkit.job.running.measure", stop_after_six)
    with pytest.raises(SystemExit):
        job.train(prepared, tmp_path / "run", progress=False)
    monkeypatch.undo()
    assert not (tmp_path / "run" / "summary.json").exists()
    resumed = job.train(prepared, tmp_path / "run", progress=False)
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert torch.equal(resumed.fits.rotvec, unbroken.fits.rotvec)
    assert [r["step"] for r in resumed.history] == [r["step"] for r in unbroken.history]


@pytest.mark.parametrize("change", [{"mode": "static"}, {"seed": 1}, {"steps": 13}])
def test_a_folder_of_other_settings_is_refused(finished, prepared, change):
    _, folder = finished
    with pytest.raises(ValueError, match=r"holds a run of other settings \(settings\.json\)"):
        job.train(with_steps(prepared, **change), folder, progress=False)


def test_photos_join_the_synthetic_people(realdata, cache, tmp_path):
    photos = realdata / "coco_images" / "person_keypoints.json"
    if not photos.is_file():
        pytest.skip("no coco_images/person_keypoints.json among the real data")
    sources = Sources(data=f"people+{photos}")
    preset = job.choose("tiny", steps=2)
    preset = replace(preset, spin=replace(preset.spin, first_fit_step=0))
    mixed = job.prepare(preset, sources, cache, progress=False)
    synthetic = mixed.train.judge.has_smpl
    assert synthetic[:64].all() and not synthetic[64:].any() and len(synthetic) > 70
    run = job.train(mixed, tmp_path / "run", progress=False)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["samples"]["train"] == len(synthetic)
    assert summary["refused"] == mixed.refused.counts
    assert all(value.isfinite().all() for value in run.model.state_dict().values())


def test_a_missing_data_file_is_refused_before_any_work(tmp_path):
    sources = Sources(data=f"people+{tmp_path / 'none.json'}")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        job.prepare(job.choose("tiny"), sources, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("source", ["body", "weights"])
def test_another_missing_file_is_refused_before_any_work(tmp_path, source):
    sources = Sources(**{source: str(tmp_path / "none.npz")})
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        job.prepare(job.choose("tiny"), sources, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


def test_a_preset_for_photos_refuses_synthetic_people(tmp_path):
    with pytest.raises(ValueError, match="preset spin2019 trains on photos"):
        job.prepare(job.choose("spin2019"), Sources(), tmp_path / "cache", progress=False)


def test_a_full_disk_is_noticed_before_people_are_made(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("spinkit.job.preparation.shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="GB are needed for 64 people"):
        job.prepare(job.choose("tiny"), Sources(), tmp_path / "cache", progress=False)
    assert not list((tmp_path / "cache").iterdir())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_room_in_the_cache_the_initial_fits_are_made_all_the_same(prepared, tmp_path, monkeypatch, capsys):
    few = prepared.train.subset(torch.arange(4))
    monkeypatch.setattr(np, "savez", full_disk)
    fits = job.initial_dictionary(few, prepared.body, prepared.prior, tmp_path)
    assert fits.error.isfinite().all() and not list(tmp_path.iterdir())
    assert "not kept ([Errno 28] No space left" in capsys.readouterr().out


def test_results_that_find_no_room_leave_a_snapshot_to_go_on_from(finished, prepared, tmp_path, monkeypatch):
    unbroken, _ = finished
    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match=r"results not written .*make room and run again"):
        job.train(prepared, tmp_path, progress=False)
    assert not (tmp_path / "summary.json").exists()
    monkeypatch.undo()
    again = job.train(prepared, tmp_path, progress=False)
    assert again.history == job.load_run(tmp_path)[1]
    assert torch.equal(again.fits.rotvec, unbroken.fits.rotvec)


@pytest.mark.parametrize("name", ["summary.json", "history.json", "fits.npz"])
def test_a_damaged_file_of_a_finished_run_is_named(finished, tmp_path, name):
    _, folder = finished
    for kept in ("summary.json", "history.json", "fits.npz"):
        shutil.copy(folder / kept, tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        job.load_run(tmp_path)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="preset 'huge' is unknown; choose one of tiny, cpu, gpu, spin2019"):
        job.choose("huge")
    with pytest.raises(ValueError, match="mode must be one of static, loop, reprojection, oracle, got 'dreams'"):
        job.choose("tiny", mode="dreams")
    with pytest.raises(ValueError, match="steps must not be negative, got -1"):
        job.choose("tiny", steps=-1)


def test_choices_change_what_they_name_and_nothing_else():
    base, chosen = job.presets()["cpu"], job.choose("cpu", mode="static", seed=5, steps=7)
    assert chosen.spin == replace(base.spin, mode="static", seed=5, steps=7)
    assert replace(chosen, spin=base.spin) == base
    assert job.choose("cpu").spin.steps == base.spin.steps


@pytest.mark.parametrize("name", job.presets())
def test_every_preset_fits_together(name):
    preset = job.presets()[name]
    assert preset.people.image_size == preset.spin.image_size
    assert preset.spin.mode in spin.MODES and preset.spin.first_fit_step < preset.spin.steps


def test_a_folder_without_a_finished_run_says_so(tmp_path, prepared):
    with pytest.raises(FileNotFoundError, match=r"no summary\.json"):
        job.load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no snapshot"):
        job.load_model(tmp_path, prepared)


def test_samples_that_cannot_be_fitted_start_at_an_infinite_error(prepared, tmp_path):
    xy, confidence = prepared.train.keypoints.xy[:4], prepared.train.keypoints.confidence[:4].clone()
    confidence[1] = 0
    few = prepared.train.subset(torch.arange(4))
    few = replace(few, keypoints=Keypoints(xy, confidence))
    fits = job.initial_dictionary(few, prepared.body, prepared.prior, tmp_path, tracked=2)
    assert fits.error.isinf().tolist() == [False, True, False, False]
    assert fits.rotvec.isfinite().all() and fits.tracked.tolist() == [True, False, False, True]
    # Read again from the cache, it is the same.
    again = job.initial_dictionary(few, prepared.body, prepared.prior, tmp_path, tracked=2)
    assert torch.equal(again.rotvec, fits.rotvec) and torch.equal(again.betas, fits.betas)
