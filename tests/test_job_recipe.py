"""A run by a recipe: sets in SPIN's format, each with its fits, mixed in proportion, and resumed where it stopped."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from spinkit import camera, data, fit_files, job, priors, shelf, smplify
from spinkit.job import Sources
from spinkit.keypoints import Keypoints

SIZES = {"first": 4, "second": 3, "third": 9}
"""Samples of each set."""
SIDE = 100
"""Pixels of the photos' sides; each is one box."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def bodies(human, n, seed):
    """Poses near the mean one before a camera: rotvec, betas and the keypoints in pixels of the photo."""
    g = torch.Generator().manual_seed(seed)
    rotvec = torch.cat([torch.tensor([torch.pi, 0, 0]), priors.load().mean_pose()]).reshape(1, 24, 3)
    rotvec = rotvec + 0.1 * torch.randn(n, 24, 3, generator=g)
    betas = 0.5 * torch.randn(n, 10, generator=g)
    points = human.keypoints(roma.rotvec_to_rotmat(rotvec), betas)
    pixels = camera.project(camera.from_weak(torch.tensor([0.9, 0.0, 0.2]).expand(n, 3)), points)
    return rotvec, betas, pixels * SIDE / camera.RESOLUTION


def write_set(folder, human, name, n, seed):
    """A set in SPIN's format with its photos; returns the truth of it."""
    rotvec, betas, pixels = bodies(human, n, seed)
    (folder / name).mkdir(parents=True)
    names = [f"{i}.png" for i in range(n)]
    for i, file in enumerate(names):
        Image.new("RGB", (SIDE, SIDE), (40 + 10 * i, 90, 120)).save(folder / name / file)
    seen = np.concatenate([pixels[:, 25:].numpy(), np.ones((n, 24, 1))], axis=-1)
    center, scale = np.full((n, 2), SIDE / 2), np.full(n, SIDE / 200)
    np.savez(folder / f"{name}.npz", imgname=np.array(names), center=center, scale=scale, part=seen)
    return rotvec, betas


def recipe_file(folder, **changed):
    first = {"name": "first", "file": "first.npz", "photos": "first", "fits": "first_fits.npy"} | changed
    second = {"name": "second", "file": "second.npz", "photos": "second", "fits": "second.json"}
    third = {"name": "third", "file": "third.npz", "photos": "third"}
    drawn = {"name": "drawn", "file": "people"}
    portions = [{"share": 2, "sets": [first]}, {"share": 1, "sets": [drawn]}, {"share": 1, "sets": [second, third]}]
    content = {"portions": portions}
    (folder / "recipe.json").write_text(json.dumps(content))
    return Sources(data=str(folder / "recipe.json"))


def eft_of(names, rotvec, betas):
    """What EFT would keep of people whose boxes are whole photos."""
    n = len(names)
    return fit_files.EftFits(
        names=tuple(names),
        ids=(0,) * n,
        rotmat=roma.rotvec_to_rotmat(rotvec),
        betas=betas,
        cam=torch.tensor([0.9, 0.0, 0.2]).expand(n, 3),
        center=torch.full((n, 2), SIDE / 2),
        scale=torch.full((n,), SIDE / 200),
        keypoints=Keypoints(torch.zeros(n, 49, 2), torch.ones(n, 49)),
    )


@pytest.fixture(scope="module")
def sets(human, tmp_path_factory):
    """Three sets in one folder: static fits for the first, EFT's for two people of the second, none for the third."""
    folder = tmp_path_factory.mktemp("sets")
    truth = {name: write_set(folder, human, name, n, seed) for seed, (name, n) in enumerate(SIZES.items())}
    fit_files.save_fits(folder / "first_fits.npy", *truth["first"])
    rotvec, betas = truth["second"]
    fit_files.save_eft(folder / "second.json", eft_of(["2.png", "0.png"], rotvec[[2, 0]], betas[[2, 0]]))
    return folder, truth


@pytest.fixture(scope="module")
def prepared(sets, cache):
    preset = job.choose("tiny", steps=4)
    spin = replace(preset.spin, first_fit_step=0, batch_size=8)
    preset = replace(preset, train_people=3, test_people=2, spin=spin, save_every=2, judge_every=4)
    return job.prepare(preset, recipe_file(sets[0]), cache, progress=False)


def test_every_set_is_drawn_as_the_recipe_says(prepared):
    assert prepared.train.judge.has_smpl.tolist() == [False] * 4 + [True] * 3 + [False] * 12
    weight = prepared.train.weight
    torch.testing.assert_close(weight[:4], torch.full((4,), 0.5 / 4))
    torch.testing.assert_close(weight[4:7], torch.full((3,), 0.25 / 3))
    torch.testing.assert_close(weight[7:], torch.full((12,), 0.25 / 12))


def test_fits_of_files_are_begun_with_and_the_others_are_made(prepared, sets, human):
    first, second = sets[1]["first"], sets[1]["second"]
    fits, keypoints = prepared.fits, prepared.train.keypoints
    assert torch.equal(fits.rotvec[:4], first[0]) and torch.equal(fits.betas[:4], first[1])
    torch.testing.assert_close(fits.rotvec[[7, 9]], second[0][[0, 2]], atol=1e-4, rtol=0)
    # They are the truth, so they explain the keypoints; the person without a record has no usable fit.
    assert (fits.error[[0, 1, 2, 3, 7, 9]] < 1).all() and fits.error[8] == torch.inf
    made = smplify.initial_fits(human, prepared.prior, keypoints[10:], smplify.SmplifySettings())
    torch.testing.assert_close(fits.rotvec[10:], made.rotvec)
    torch.testing.assert_close(fits.error[10:], made.error)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    with pytest.MonkeyPatch.context() as patch:
        # The first snapshot too, to go on from.
        patch.setattr(shelf, "KEPT", 9)
        return job.train(prepared, folder, progress=False), folder


def test_a_resumed_run_by_a_recipe_equals_an_unbroken_one(prepared, finished, tmp_path):
    unbroken, folder = finished
    first = "checkpoints/step_00000002"
    shutil.copytree(folder / first, tmp_path / first)
    resumed = job.begin(prepared)
    assert resumed.resume(tmp_path / "checkpoints") and resumed.steps_done == 2
    resumed = job.train(prepared, tmp_path, progress=False)
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert torch.equal(unbroken.fits.rotvec, resumed.fits.rotvec) and unbroken.fits.updates.any()


def test_a_folder_of_another_recipe_is_refused(prepared, finished):
    folder = finished[1]
    assert json.loads((folder / "summary.json").read_text())["recipe"]["portions"][0]["share"] == 2
    with pytest.raises(ValueError, match="holds a run of other settings"):
        job.train(replace(prepared, recipe=data.RECIPES["paper"]), folder, progress=False)


@pytest.mark.parametrize(
    "changed, kind, complaint",
    [
        ({"fits": "none.npy"}, FileNotFoundError, r"set 'first': no fits at .*none\.npy; .*leave fits empty"),
        ({"fits": "short_fits.npy"}, ValueError, r"short_fits\.npy: 3 fits for 4 samples"),
        ({"file": "none.npz"}, FileNotFoundError, r"no data set at .*none\.npz"),
        ({"photos": "elsewhere"}, FileNotFoundError, r"4 photos of imgname are missing"),
        ({"photos": ""}, FileNotFoundError, r"the first is .*images.0\.png"),
        ({"file": "first.csv"}, FileNotFoundError, r"no COCO annotation at .*first\.csv"),
    ],
)
def test_what_a_recipe_names_wrongly_is_refused_before_any_work(sets, tmp_path, changed, kind, complaint):
    folder = sets[0]
    fit_files.save_fits(folder / "short_fits.npy", *(column[:3] for column in sets[1]["first"]))
    sources = recipe_file(folder, **changed)
    with pytest.raises(kind, match=complaint):
        job.prepare(job.choose("tiny"), sources, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


def test_a_preset_without_people_refuses_a_recipe_with_them(sets, tmp_path):
    with pytest.raises(ValueError, match="trains on photos"):
        job.prepare(job.choose("spin2019"), recipe_file(sets[0]), tmp_path / "cache", progress=False)
