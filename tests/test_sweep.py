"""The last fits of a run."""

from dataclasses import replace

import pytest
import roma
import torch

from spinkit import crop, job, spin
from spinkit.crop import Change
from spinkit.job import Sources


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return job.prepare(job.choose("tiny"), Sources(), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def trained(prepared):
    run = job.begin(prepared)
    return spin.train(run, prepared.train, prepared.world, spin.Schedule(progress=False))


def test_an_answer_both_ways_does_not_depend_on_which_way_comes_first(trained):
    model = trained.model.eval()
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        straight, mirrored = spin.both_ways(model, image), spin.both_ways(model, image.flip(-1))
    flip = replace(Change.none(3), mirror=torch.ones(3, dtype=torch.bool))
    back = crop.restore_rotvec(flip, roma.rotmat_to_rotvec(mirrored.rotmat))
    torch.testing.assert_close(roma.rotvec_to_rotmat(back), straight.rotmat, atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored.betas, straight.betas, atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored.weak * torch.tensor([1.0, -1.0, 1.0]), straight.weak, atol=1e-5, rtol=0)


def test_the_last_fits_reach_every_sample_and_are_noted_in_the_dictionary(trained, prepared):
    before = trained.fits.updates.clone()
    was = {name: value.clone() for name, value in trained.model.state_dict().items()}
    trained.model.train()
    replaced = spin.sweep(trained, prepared.train, prepared.world, progress=False)
    assert replaced == int((trained.fits.updates - before).sum()) > 0
    assert (trained.fits.updates - before).max() == 1
    assert trained.model.training
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, was[name]), f"{name} changed, though nothing was to be learned"


def test_a_run_makes_its_last_fits_once(prepared, tmp_path):
    run = job.train(prepared, tmp_path, progress=False)
    noted = [record for record in run.history if "last_fits" in record]
    assert len(noted) == 1 and noted[0]["step"] == prepared.preset.spin.steps
    again = job.train(prepared, tmp_path, progress=False)
    assert again.history == run.history
    assert torch.equal(again.fits.rotvec, run.fits.rotvec)


def test_static_fits_stay_as_they_are(prepared, tmp_path):
    static = replace(prepared, preset=replace(prepared.preset, spin=replace(prepared.preset.spin, mode="static")))
    run = job.train(static, tmp_path, progress=False)
    assert not any("last_fits" in record for record in run.history)
    assert torch.equal(run.fits.rotvec, prepared.fits.rotvec)
