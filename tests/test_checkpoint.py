"""Snapshots: all of a run or nothing, the newest two, and plain words about damage and full disks."""

import json

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from spinkit.fits import FitDictionary
from spinkit.spin import checkpoint


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
    (tmp_path / "step_00000011").mkdir()
    assert checkpoint.newest(tmp_path) == whole


def test_saving_leaves_no_pickle_behind(tmp_path):
    snapshot = Trainee().save(tmp_path, 5)
    names = {p.name for p in snapshot.iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "fits.npz", "state.json"}
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
    with pytest.raises(ValueError, match="format 99, this program reads 1"):
        Trainee().load(snapshot)


FULL = {
    "save_file": SafetensorError("I/O error: No space left on device"),
    "np.savez": OSError(28, "No space left on device"),
    "os.replace": OSError(28, "No space left on device"),
}


@pytest.mark.parametrize("function", FULL)
def test_on_a_full_disk_the_snapshot_before_stays_whole(tmp_path, monkeypatch, function):
    trainee = Trainee()
    before = trainee.save(tmp_path, 5)

    def fail(*args, **kwargs):
        raise FULL[function]

    monkeypatch.setattr(f"spinkit.spin.checkpoint.{function}", fail)
    with pytest.raises(OSError, match=r"step_00000010: .*No space left.*step_00000005 is whole; make room"):
        trainee.save(tmp_path, 10)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [before.name]
    assert Trainee(steps=0).load(before) == 5


def test_on_a_full_disk_without_a_snapshot_it_says_so(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spinkit.spin.checkpoint.np.savez", fail)
    with pytest.raises(OSError, match="There is no earlier snapshot"):
        Trainee().save(tmp_path, 10)
