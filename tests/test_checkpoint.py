"""Snapshots: all of a run or nothing, the newest two, and plain words about damage and full disks."""

import contextlib
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from spinkit.fits import FitDictionary
from spinkit.spin import Run, checkpoint


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(width=5):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


class Trainee:
    """A small network, its optimiser and a dictionary, some steps into a training."""

    def __init__(self, steps=4, width=5):
        self.model = network(width)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.fits = FitDictionary(torch.zeros(6, 24, 3), torch.zeros(6, 10), torch.full((6,), torch.inf))
        self.history = [{"step": 0, "loss_total": 2.5, "skipped": 0}]
        for step in range(steps):
            self.step(step)

    def step(self, number):
        self.optimizer.zero_grad()
        self.model(torch.randn(8, 4, generator=seeded(number))).square().sum().backward()
        self.optimizer.step()

    def save(self, folder, step):
        return checkpoint.save(folder, step, self.model, self.optimizer, self.fits, self.history)

    def load(self, snapshot):
        step, self.fits, self.history = checkpoint.load(snapshot, self.model, self.optimizer)
        return step


def assert_same_weights(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_snapshot_gives_back_all_of_a_run(tmp_path):
    trained, fresh = Trainee(), Trainee(steps=0)
    trained.fits.error[2] = 17
    assert fresh.load(trained.save(tmp_path, 4)) == 4
    assert_same_weights(trained.model, fresh.model)
    assert fresh.history == trained.history and torch.equal(fresh.fits.error, trained.fits.error)
    # Both optimisers go on alike.
    trained.step(4)
    fresh.step(4)
    assert_same_weights(trained.model, fresh.model)


def test_only_the_newest_two_are_kept(tmp_path):
    trainee = Trainee()
    for step in (5, 10, 100, 99):
        trainee.save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000099", "step_00000100"]
    assert checkpoint.newest(tmp_path).name == "step_00000100"


def test_saving_a_step_again_replaces_its_snapshot(tmp_path):
    trainee = Trainee()
    trainee.save(tmp_path, 5)
    trainee.step(9)
    fresh = Trainee(steps=0)
    fresh.load(trainee.save(tmp_path, 5))
    assert_same_weights(trainee.model, fresh.model)


def test_a_folder_that_was_never_finished_does_not_count(tmp_path):
    assert checkpoint.newest(tmp_path / "none") is None
    whole = Trainee().save(tmp_path, 5)
    (tmp_path / ".draft_00000010").mkdir()
    assert checkpoint.newest(tmp_path) == whole
    (tmp_path / "step_00000011").mkdir()
    with pytest.warns(UserWarning, match=r"step_00000011: damaged .*Instead step_00000005, the one before, is used"):
        assert checkpoint.newest(tmp_path) == whole


def test_saving_leaves_no_pickle_behind(tmp_path):
    snapshot = Trainee().save(tmp_path, 5)
    names = {p.name for p in snapshot.iterdir()}
    tensors = {"model.safetensors", "optimizer.safetensors", "tally.safetensors"}
    assert names == tensors | {"fits.npz", "state.json", "manifest.json"}
    with np.load(snapshot / "fits.npz", allow_pickle=False) as file:
        assert all(not file[name].dtype.hasobject for name in file.files)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "fits.npz", "state.json"])
@pytest.mark.parametrize("kept", [0, 20, -20])
def test_a_damaged_snapshot_is_refused_by_name(tmp_path, name, kept):
    snapshot = Trainee().save(tmp_path, 5)
    path = snapshot / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"step_00000005.*(damaged|not an npz file)"):
        Trainee().load(snapshot)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "fits.npz"])
def test_a_snapshot_that_lost_a_file_is_refused_by_name(tmp_path, name):
    snapshot = Trainee().save(tmp_path, 5)
    (snapshot / name).unlink()
    with pytest.raises(ValueError, match=r"step_00000005: damaged"):
        Trainee().load(snapshot)


def test_a_snapshot_of_a_newer_program_or_another_network_is_refused(tmp_path):
    snapshot = Trainee().save(tmp_path, 5)
    with pytest.raises(ValueError, match=r"model\.safetensors: of another network"):
        Trainee(width=7).load(snapshot)
    state = json.loads((snapshot / "state.json").read_text())
    (snapshot / "state.json").write_text(json.dumps(state | {"format": 99}))
    # One file that says so may be a flipped bit.
    with pytest.raises(ValueError, match=r"step_00000005: damaged \(state\.json: not as it was written\)"):
        Trainee().load(snapshot)
    manifest = json.loads((snapshot / "manifest.json").read_text())
    (snapshot / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match="format 99, this program reads 2; a newer spinkit wrote it"):
        Trainee().load(snapshot)


FULL = ("os.fsync", "os.replace")


@pytest.mark.parametrize("function", FULL)
def test_on_a_full_disk_the_snapshot_before_stays_whole(tmp_path, monkeypatch, function):
    trainee = Trainee()
    before = trainee.save(tmp_path, 5)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function, fail)
    with pytest.raises(OSError, match=r"step_00000010: .*No space left.*step_00000005 is whole; make room"):
        trainee.save(tmp_path, 10)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [before.name]
    assert Trainee(steps=0).load(before) == 5


def test_where_no_large_file_fits_the_snapshot_is_refused_and_the_one_before_stays(tmp_path):
    trainee = Trainee()
    with small_files_only(), pytest.raises(OSError, match=r"File too large.*There is no earlier snapshot"):
        trainee.save(tmp_path, 5)
    before = trainee.save(tmp_path, 5)
    with small_files_only(), pytest.raises(OSError, match=r"step_00000010: .*File too large.*step_00000005 is whole"):
        trainee.save(tmp_path, 10)
    assert [p.name for p in tmp_path.iterdir()] == [before.name]


@contextlib.contextmanager
def small_files_only(limit=1000):
    """As a quota would: writing beyond so many bytes of a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def flip(path, place=-5):
    """One bit, as a disk may."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("name", checkpoint.shelf.FILES)
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["flipped", "cut", "missing"])
def test_a_damaged_newest_snapshot_is_passed_over_with_a_warning_that_names_both(tmp_path, name, harm):
    trainee = Trainee()
    before, damaged = trainee.save(tmp_path, 5), trainee.save(tmp_path, 10)
    harm(damaged / name)
    with pytest.warns(UserWarning, match=r"step_00000010: damaged .*Instead step_00000005, the one before, is used"):
        assert checkpoint.newest(tmp_path) == before
    # What comes after it is not hidden by it, and the last whole one is not removed for its sake.
    trainee.save(tmp_path, 7)
    assert {p.name for p in tmp_path.iterdir()} == {"step_00000005", "step_00000007", "damaged_step_00000010"}
    assert checkpoint.newest(tmp_path).name == "step_00000007"


def test_where_no_snapshot_is_whole_nothing_is_trained_from_the_start_unasked(tmp_path):
    trainee = Trainee()
    flip(trainee.save(tmp_path, 5) / "fits.npz")
    run = Run(trainee.model, trainee.optimizer, trainee.fits)
    with (
        pytest.warns(UserWarning, match=r"step_00000005: damaged .*No snapshot before it is whole"),
        pytest.raises(ValueError, match=r"none of .*step_00000005 is whole.*or remove .* to train from the start"),
    ):
        run.resume(tmp_path)
    assert (tmp_path / "step_00000005").is_dir()


def as_format_1(snapshot):
    """A snapshot as this program's first version wrote it."""
    state = json.loads((snapshot / "state.json").read_text())
    (snapshot / "state.json").write_text(
        json.dumps({name: state[name] for name in ("step", "history")} | {"format": 1})
    )
    (snapshot / "manifest.json").unlink()
    (snapshot / "tally.safetensors").unlink()
    return snapshot


def test_snapshots_of_the_first_format_still_load_and_are_joined_by_new_ones(tmp_path):
    trained, fresh = Trainee(), Trainee(steps=0)
    old = as_format_1(trained.save(tmp_path, 4))
    assert checkpoint.newest(tmp_path) == old and fresh.load(old) == 4
    assert checkpoint.beside(old) == checkpoint.Beside()
    trained.step(4)
    fresh.step(4)
    assert_same_weights(trained.model, fresh.model)
    flip(fresh.save(tmp_path, 8) / "fits.npz")
    with pytest.warns(UserWarning, match="Instead step_00000004"):
        assert checkpoint.newest(tmp_path) == old


def test_snapshots_of_a_newer_program_are_neither_passed_over_nor_removed(tmp_path):
    trainee = Trainee()
    for step in (5, 6):
        newer = trainee.save(tmp_path, step)
    for name in ("state.json", "manifest.json"):
        content = json.loads((newer / name).read_text())
        (newer / name).write_text(json.dumps(content | {"format": 3}))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for act in (lambda: trainee.save(tmp_path, 7), lambda: trainee.save(tmp_path, 6)):
        with pytest.raises(ValueError, match=r"step_00000006: format 3.*Update spinkit, or.*another folder"):
            act()
    with pytest.raises(ValueError, match="format 3"):
        checkpoint.newest(tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_step_saved_again_never_leaves_the_folder_without_it(tmp_path, monkeypatch):
    trainee = Trainee()
    trainee.save(tmp_path, 5)
    seen = []
    for name in ("replace", "rename", "fsync"):
        call = getattr(os, name)

        def looking(*args, call=call):
            seen.append(checkpoint.newest(tmp_path) is not None)
            return call(*args)

        monkeypatch.setattr(os, name, looking)
    for _ in range(3):
        trainee.save(tmp_path, 5)
    assert len(seen) > 20 and all(seen)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000005_002", "step_00000005_003"]


def test_another_dictionary_takes_the_place_of_the_newest_snapshots(tmp_path):
    trainee, fresh = Trainee(), Trainee(steps=0)
    told = checkpoint.Beside({"seed": 3}, {"bad": 2}, {"00000": torch.arange(3)})
    model, optimizer = trainee.model, trainee.optimizer
    before = checkpoint.save(tmp_path, 5, model, optimizer, trainee.fits, trainee.history, told)
    better = FitDictionary(torch.ones(6, 24, 3), torch.zeros(6, 10), torch.zeros(6))
    after = checkpoint.replace_fits(tmp_path, better)
    assert checkpoint.newest(tmp_path) == after != before
    assert fresh.load(after) == 5 and fresh.history == trainee.history
    assert_same_weights(fresh.model, trainee.model)
    assert torch.equal(fresh.fits.rotvec, better.rotvec)
    held = checkpoint.beside(after)
    assert (held.settings, held.tally) == (told.settings, told.tally)
    assert torch.equal(held.tensors["00000"], torch.arange(3))
    # The one before keeps what it had.
    fresh.load(before)
    assert torch.equal(fresh.fits.rotvec, trainee.fits.rotvec)
    with pytest.raises(ValueError, match="holds 6 fits, the new dictionary 2; give one for each sample"):
        checkpoint.replace_fits(tmp_path, FitDictionary(torch.ones(2, 24, 3), torch.zeros(2, 10), torch.zeros(2)))
    with pytest.raises(FileNotFoundError, match="no whole snapshot; train first"):
        checkpoint.replace_fits(tmp_path / "none", better)


def test_a_dictionary_replaces_that_of_a_snapshot_of_the_first_format(tmp_path):
    as_format_1(Trainee().save(tmp_path, 5))
    better = FitDictionary(torch.ones(6, 24, 3), torch.zeros(6, 10), torch.zeros(6))
    fresh = Trainee(steps=0)
    assert fresh.load(checkpoint.replace_fits(tmp_path, better)) == 5
    assert torch.equal(fresh.fits.rotvec, better.rotvec)
