"""Which body file is taken: by path, by folder and gender, from the environment, from data/smpl; and its regressors."""

import numpy as np
import pytest
import torch
from smpl_files import VERTICES, made, written

from spinkit import body as bodies
from spinkit.body import finding, reader

ORIGINAL_NAMES = {
    "SMPL_NEUTRAL.pkl": "neutral",
    "SMPL_MALE.npz": "male",
    "SMPL_FEMALE.pkl": "female",
    "smpl_female.npz": "female",
    "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl": "neutral",
    "basicModel_f_lbs_10_207_0_v1.0.0.pkl": "female",
    "basicmodel_m_lbs_10_207_0_v1.0.0.pkl": "male",
    "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl": "neutral",
    "basicmodel_f_lbs_10_207_0_v1.1.0.pkl": "female",
    "neutral_smpl_with_cocoplus_reg.pkl": "neutral",
}


@pytest.fixture(autouse=True)
def smpl(tmp_path, monkeypatch):
    """An empty data/smpl of a project whose user has set nothing."""
    folder = tmp_path / "project" / "data" / "smpl"
    folder.mkdir(parents=True)
    monkeypatch.setattr(finding, "smpl_folder", lambda: folder)
    monkeypatch.delenv(finding.VARIABLE, raising=False)
    return folder


def touched(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(("name", "gender"), ORIGINAL_NAMES.items())
def test_every_original_name_is_found_by_its_gender(smpl, name, gender):
    touched(smpl, name, "smpl_mean_params.npz", "SMPLX_MALE.npz", "SMPLH_FEMALE.pkl", "J_regressor_extra.npy")
    assert bodies.find(gender=gender) == smpl / name
    for other in {"neutral", "male", "female"} - {gender}:
        with pytest.raises(FileNotFoundError, match=f"No {other} SMPL model in .*{name} .{gender}."):
            bodies.find(gender=other)


def test_the_argument_goes_before_the_environment_and_that_before_the_projects_folder(smpl, tmp_path, monkeypatch):
    assert bodies.find() is None
    touched(smpl, "SMPL_MALE.pkl")
    assert bodies.find(gender="male") == smpl / "SMPL_MALE.pkl"
    touched(tmp_path / "mine", "SMPL_MALE.pkl")
    monkeypatch.setenv(finding.VARIABLE, str(tmp_path / "mine"))
    assert bodies.find(gender="male") == tmp_path / "mine" / "SMPL_MALE.pkl"
    touched(tmp_path / "yours", "SMPL_MALE.pkl")
    assert bodies.find(tmp_path / "yours", "m") == tmp_path / "yours" / "SMPL_MALE.pkl"


def test_no_place_is_skipped_for_a_later_one_that_would_do(smpl, tmp_path, monkeypatch):
    touched(smpl, "SMPL_FEMALE.pkl")
    monkeypatch.setenv(finding.VARIABLE, str(touched(tmp_path / "mine", "SMPL_MALE.pkl")))
    with pytest.raises(FileNotFoundError, match=r"No female SMPL model in .*mine, only SMPL_MALE\.pkl.*SPINKIT_BODY"):
        bodies.find(gender="female")
    monkeypatch.setenv(finding.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"No SMPL model at .*gone\. SPINKIT_BODY says so"):
        bodies.find(gender="female")


def test_of_several_the_plain_name_the_npz_and_the_older_release_come_first(smpl):
    for name in (
        "basicmodel_m_lbs_10_207_0_v1.1.0.pkl",
        "basicmodel_m_lbs_10_207_0_v1.0.0.pkl",
        "SMPL_MALE.pkl",
        "SMPL_MALE.npz",
    ):
        touched(smpl, name)
        assert bodies.find(gender="male") == smpl / name


@pytest.mark.parametrize("layout", ["", "smpl", "models", "smpl/models"])
def test_the_archives_own_folders_are_looked_into(tmp_path, layout):
    touched(tmp_path / "unpacked" / layout, "SMPL_NEUTRAL.pkl")
    assert bodies.find(tmp_path / "unpacked") == tmp_path / "unpacked" / layout / "SMPL_NEUTRAL.pkl"


def test_a_file_whose_name_tells_another_gender_is_refused(smpl, monkeypatch):
    path = touched(smpl, "SMPL_FEMALE.pkl", "model.npz") / "SMPL_FEMALE.pkl"
    assert bodies.find(path) == path
    with pytest.raises(
        ValueError, match=r"SMPL_FEMALE\.pkl: a male body is asked for, and the file's name tells female"
    ):
        bodies.find(path, "male")
    with pytest.raises(ValueError, match=r"model\.npz: a male body .* tells no gender.*rename it to SMPL_MALE\.npz"):
        bodies.find(smpl / "model.npz", "male")
    monkeypatch.setenv(finding.VARIABLE, str(path))
    with pytest.raises(ValueError, match=r"a neutral body is asked for.*SPINKIT_BODY"):
        bodies.find(gender="neutral")


def test_an_empty_folder_is_refused_with_the_names_that_would_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No SMPL model in .*SMPL_MALE\.pkl.*smpl\.is\.tue\.mpg\.de"):
        bodies.find(touched(tmp_path / "bare"), "male")
    with pytest.raises(ValueError, match="gender must be neutral, male or female, got 'x'"):
        bodies.find(gender="x")


def test_a_body_is_loaded_by_folder_and_gender(smpl, tmp_path):
    genders = ("neutral", "male", "female")
    for seed, gender in enumerate(genders):
        written(smpl / f"SMPL_{gender.upper()}.npz", made(seed=seed))
    for seed, gender in enumerate(genders):
        expected = torch.from_numpy(made(seed=seed)["v_template"].astype(np.float32))
        assert torch.equal(bodies.load(smpl, gender).v_template, expected)
        assert torch.equal(bodies.load(gender=gender).v_template, expected)
    assert bodies.load(str(smpl)).name == "SMPL_NEUTRAL.npz"


def test_without_path_and_gender_the_default_body_stays_the_default(smpl, human, monkeypatch):
    monkeypatch.setenv(finding.VARIABLE, str(written(smpl / "SMPL_NEUTRAL.npz", made())))
    assert torch.equal(bodies.load().v_template, human.v_template)
    monkeypatch.delenv(finding.VARIABLE)
    (smpl / "SMPL_NEUTRAL.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"No neutral SMPL model: SPINKIT_BODY is not set.*body\.load\(\)"):
        bodies.load(gender="neutral")


def test_a_missing_default_body_is_brought_back_by_git(monkeypatch, tmp_path):
    monkeypatch.setattr(bodies, "default_path", lambda: tmp_path / "body.npz")
    with pytest.raises(FileNotFoundError, match=r"No default body .*git checkout data/body\.npz"):
        bodies.load()


@pytest.fixture(scope="module")
def official(root):
    """The default body's arrays as SMPL's own files have them, and the two regressors that those lack."""
    with np.load(root / "data" / "body.npz") as file:
        arrays = {name: file[name] for name in reader.REQUIRED}
        return arrays, file["J_regressor_extra"].astype(np.float64), file["J_regressor_h36m"].astype(np.float64)


def save_regressors(folder, extra, h36m):
    folder.mkdir(exist_ok=True)
    np.save(folder / "J_regressor_extra.npy", extra)
    np.save(folder / "J_regressor_h36m.npy", np.asfortranarray(h36m))  # As SPIN ships it.


@pytest.mark.parametrize("place", ["beside", "above", "project", "given"])
def test_the_regressors_are_found_where_spin_keeps_them(smpl, human, official, tmp_path, place):
    arrays, extra, h36m = official
    mine = tmp_path / "elsewhere" / "smpl"
    mine.mkdir(parents=True)
    path = written(mine / "SMPL_NEUTRAL.npz", arrays)
    folder = {"beside": mine, "above": mine.parent, "project": smpl.parent, "given": tmp_path / "other"}[place]
    save_regressors(folder, extra, h36m)
    body = bodies.load(path, regressors=folder if place == "given" else None)
    still, betas = torch.eye(3).expand(24, 3, 3), torch.ones(10)
    torch.testing.assert_close(body.keypoints(still, betas), human.keypoints(still, betas))
    torch.testing.assert_close(body.h36m_regressor, human.h36m_regressor, atol=0, rtol=0)


def test_a_folder_given_for_regressors_must_hold_one(smpl, tmp_path):
    path = written(smpl / "SMPL_NEUTRAL.npz", made())
    with pytest.raises(FileNotFoundError, match=r"No J_regressor_extra\.npy or J_regressor_h36m\.npy in "):
        bodies.load(path, regressors=tmp_path)


def test_spins_regressors_are_not_taken_for_a_mesh_of_another_size(smpl, official):
    save_regressors(smpl.parent, *official[1:])
    body = bodies.load(written(smpl / "SMPL_NEUTRAL.npz", made(VERTICES)))
    assert body.h36m_regressor is None and body.keypoint_layer is None
    still = torch.eye(3).expand(24, 3, 3)
    assert body.vertices(still, torch.zeros(10)).shape == (VERTICES, 3), "skin and joints need no regressor"
    with pytest.raises(ValueError, match=r"SMPL_NEUTRAL\.npz: no regressor.*J_regressor_extra\.npy"):
        body.keypoints(still, torch.zeros(10))
