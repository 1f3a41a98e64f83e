"""Fits that others keep: SPIN's layouts and EFT's JSON go in and out unchanged, and wrong files are refused."""

import json
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import roma
import torch

from spinkit import camera, fit_files
from spinkit.fit_files import EftFits
from spinkit.fits import FitDictionary
from spinkit.keypoints import NAMES, Keypoints


def bodies(n=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return roma.random_rotvec((n, 24), generator=g), torch.randn(n, 10, generator=g)


def test_static_fits_are_a_bare_array_of_pose_then_shape(tmp_path):
    rotvec, betas = bodies()
    path = fit_files.save_fits(tmp_path / "new" / "coco_fits.npy", rotvec, betas)
    rows = np.load(path)
    assert rows.shape == (5, 82)
    np.testing.assert_array_equal(rows[:, 3:6], rotvec[:, 1].numpy())
    np.testing.assert_array_equal(rows[:, 72:], betas.numpy())
    back = fit_files.read_fits(path, count=5)
    assert torch.equal(back.rotvec, rotvec) and torch.equal(back.betas, betas) and back.valid.all()


@pytest.mark.parametrize(
    "layout, names", [("final", {"pose", "betas", "valid_fit"}), ("multiview", {"pose", "shape", "has_smpl"})]
)
def test_fits_with_flags_make_the_round_trip_under_the_published_names(tmp_path, layout, names):
    (rotvec, betas), valid = bodies(), torch.tensor([True, False, True, True, False])
    path = fit_files.save_fits(tmp_path / "coco.npz", rotvec, betas, valid, layout)
    with np.load(path) as arrays:
        assert set(arrays) == names and arrays["pose"].shape == (5, 72)
    back = fit_files.read_fits(path, count=5)
    assert torch.equal(back.rotvec, rotvec) and torch.equal(back.betas, betas) and torch.equal(back.valid, valid)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_flags_may_be_of_any_kind_of_number(tmp_path, dtype):
    flags = np.array([1, 0, 1], dtype=dtype)
    np.savez(tmp_path / "lsp.npz", pose=np.ones((3, 72)), betas=np.zeros((3, 10)), valid_fit=flags)
    assert fit_files.read_fits(tmp_path / "lsp.npz").valid.tolist() == [True, False, True]


def test_an_invalid_fit_has_an_infinite_error_and_stands_upright_where_it_is_not_finite(tmp_path):
    pose = np.ones((3, 72))
    pose[1] = np.nan
    np.savez(tmp_path / "lsp.npz", pose=pose, betas=np.zeros((3, 10)), valid_fit=[True, False, False])
    stored = fit_files.read_fits(tmp_path / "lsp.npz")
    dictionary = FitDictionary(stored.rotvec, stored.betas, stored.judged(torch.tensor([7.0, 8.0, 9.0])))
    assert dictionary.error.tolist() == [7, torch.inf, torch.inf]
    assert dictionary.rotvec[1, 0].tolist() == pytest.approx([np.pi, 0, 0]) and (dictionary.rotvec[1, 1:] == 0).all()
    assert (dictionary.rotvec[2] == 1).all()


@pytest.mark.parametrize(
    "rows, complaint",
    [
        (np.zeros((3, 85)), r"\(3, 85\); SPIN's static fits are a float array \(N, 82\)"),
        (np.zeros((3, 82), dtype=int), "int64"),
        (np.zeros((0, 82)), "holds no fits"),
        (np.where(np.arange(246).reshape(3, 82) == 90, np.nan, 0.0), "the fit of row 1 is not finite"),
        (np.zeros((4, 82)), "4 fits for 3 samples.*released npz"),
    ],
)
def test_an_array_that_is_no_set_of_fits_is_refused(tmp_path, rows, complaint):
    np.save(tmp_path / "coco_fits.npy", rows)
    with pytest.raises(ValueError, match=rf"coco_fits\.npy.*{complaint}"):
        fit_files.read_fits(tmp_path / "coco_fits.npy", count=3)


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"betas": None}, "holds pose, valid_fit; files of fits have pose, betas, valid_fit or pose, shape, has_smpl"),
        ({"pose": np.zeros((3, 69))}, r"pose holds float64 \(3, 69\), expected numbers \(3, 72\)"),
        ({"pose": np.zeros(())}, r"pose holds float64 \(\)"),
        ({"betas": np.zeros((2, 10))}, r"betas holds float64 \(2, 10\), expected numbers \(3, 10\)"),
        ({"valid_fit": np.array(["y", "y", "n"])}, "valid_fit holds <U1"),
        ({"valid_fit": np.ones(3), "pose": np.full((3, 72), np.inf)}, "the fit of row 0 is not finite"),
        ({"pose": np.array([{}] * 3, dtype=object)}, "not an npz file of plain arrays"),
    ],
)
def test_an_archive_that_is_no_set_of_fits_is_refused(tmp_path, changed, complaint):
    arrays = {"pose": np.zeros((3, 72)), "betas": np.zeros((3, 10)), "valid_fit": np.ones(3)} | changed
    np.savez(tmp_path / "coco.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=rf"coco\.npz.*{complaint}"):
        fit_files.read_fits(tmp_path / "coco.npz")


class Bomb:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["fits.npy", "fits.npz"])
def test_pickled_code_in_a_file_of_fits_is_not_run(tmp_path, name):
    bomb = np.array([Bomb(tmp_path / "ran")], dtype=object)
    if name == "fits.npy":
        np.save(tmp_path / name, bomb, allow_pickle=True)
    else:
        np.savez(tmp_path / name, pose=bomb, betas=bomb, valid_fit=bomb)
    with pytest.raises(ValueError, match=r"fits\.np"):
        fit_files.read_fits(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps(bomb))
    with pytest.raises(ValueError, match=r"fits\.np"):
        fit_files.read_fits(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name, layout", [("fits.npy", "static"), ("fits.npz", "final")])
@pytest.mark.parametrize("kept", [0, 20, -30])
def test_truncated_files_of_fits_are_refused_by_name(tmp_path, name, layout, kept):
    path = fit_files.save_fits(tmp_path / name, *bodies(), layout=layout)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{name}: not an np"):
        fit_files.read_fits(path)


def test_a_missing_file_of_fits_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No fits at .*none\.npy"):
        fit_files.read_fits(tmp_path / "none.npy")


def test_fits_that_a_layout_cannot_hold_are_not_written(tmp_path):
    rotvec, betas = bodies()
    with pytest.raises(ValueError, match="layout must be one of static, final, multiview, got 'mine'"):
        fit_files.save_fits(tmp_path / "fits.npy", rotvec, betas, layout="mine")
    with pytest.raises(ValueError, match=r"in the layout static from a file that ends in \.npy"):
        fit_files.save_fits(tmp_path / "fits.npz", rotvec, betas)
    with pytest.raises(ValueError, match="static has no flags, and 2 fits are not valid"):
        fit_files.save_fits(tmp_path / "fits.npy", rotvec, betas, torch.tensor([True, False, True, True, False]))
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        fit_files.save_fits(tmp_path / "fits.npz", rotvec.where(rotvec != rotvec[2, 3, 1], torch.nan), betas,
                            layout="final")  # fmt: skip
    assert not list(tmp_path.iterdir())


def eft(n=3, seed=0):
    """People of two photos, two of them in the same one."""
    rotvec, betas = bodies(n, seed)
    g = torch.Generator().manual_seed(seed)
    visible = (torch.rand(n, 49, generator=g) < 0.5).float()
    return EftFits(
        names=("a.jpg", "a.jpg", "b.jpg"),
        ids=(11, 12, 0),
        rotmat=roma.rotvec_to_rotmat(rotvec),
        betas=betas,
        cam=torch.tensor([[0.9, 0.09, -0.18], [0.8, 0.0, 0.1], [1.1, 0.2, 0.3]]),
        center=torch.tensor([[50.0, 60.0], [250.0, 60.0], [80.3, 90.7]]),
        scale=torch.tensor([0.37, 0.51, 0.73]),
        keypoints=Keypoints(300 * torch.rand(n, 49, 2, generator=g), visible),
    )


def test_eft_fits_make_the_round_trip_to_the_last_bit(tmp_path):
    made = eft()
    back = fit_files.read_eft(fit_files.save_eft(tmp_path / "new" / "COCO2014-Part-ver01.json", made, "COCO2014"))
    assert (back.names, back.ids) == (made.names, made.ids)
    for field in fields(made):
        one, other = getattr(made, field.name), getattr(back, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other), field.name
    assert torch.equal(back.keypoints.xy, made.keypoints.xy)
    assert torch.equal(back.keypoints.confidence, made.keypoints.confidence)
    torch.testing.assert_close(back.fits().rotvec, bodies(3)[0], atol=1e-5, rtol=0)


def test_a_written_eft_file_has_every_published_field(tmp_path):
    made = eft()
    content = json.loads(fit_files.save_eft(tmp_path / "fits.json", made, "COCO2014").read_text())
    assert content["ver"] == 0.1 and content["meta"]["dbname"] == "COCO2014"
    names = "parm_pose parm_shape parm_cam bbox_scale bbox_center gt_keypoint_2d joint_validity_openpose18"
    assert set(content["data"][0]) == {*names.split(), "smpltype", "annotId", "imageName"}
    order = "Nose,Neck (LSP),Right Shoulder,Right Elbow,Right Wrist,Left Shoulder,Left Elbow,Left Wrist,Right Hip"
    order += ",Right Knee,Right Ankle,Left Hip,Left Knee,Left Ankle,Right Eye,Left Eye,Right Ear,Left Ear"
    annotated = NAMES[25:]
    expected = [made.keypoints.confidence[1, 25 + annotated.index(name)] for name in order.split(",")]
    assert content["data"][1]["joint_validity_openpose18"] == expected


def test_an_eft_camera_puts_a_point_where_efts_formula_does():
    made, point = eft(), torch.tensor([[0.3, -0.4, 0.0]])
    x, y = made.cam[0, 0] * point[0, :2] + made.cam[0, 1:]
    expected = made.center[0] + torch.stack([x, y]) * 100 * made.scale[0]
    # From half crops to pixels of the crop, and on into the photo.
    crop = camera.project(camera.from_weak(made.weak[:1], focal=1e7), point[None])[0, 0]
    landed = made.boxes[0, :2] + (crop - 112) / 224 * made.boxes[0, 2]
    torch.testing.assert_close(landed, expected, atol=1e-2, rtol=0)


def test_eft_fits_go_to_the_samples_of_their_image_and_box():
    made = eft()
    names = ["train2014/b.jpg", "train2014/a.jpg", "train2014/a.jpg", "train2014/c.jpg", "train2014/a.jpg"]
    near = made.boxes[[2, 1, 0, 0, 0]] + torch.tensor([4.0, -4.0, 5.0])
    near[4, 0] += 60
    found = made.matched(names, near)
    assert found.valid.tolist() == [True, True, True, False, False]
    assert torch.equal(found.betas[:3], made.betas[[2, 1, 0]]) and torch.equal(found.rotvec[1], made.fits().rotvec[1])
    assert found.rotvec[3, 0].tolist() == pytest.approx([np.pi, 0, 0])
    with pytest.raises(ValueError, match="none of 3 EFT fits belongs to any of 1 samples"):
        made.matched(["c.jpg"], near[:1])


def spoilt(tmp_path, **changed):
    path = fit_files.save_eft(tmp_path / "eft.json", eft())
    content = json.loads(path.read_text())
    content["data"][1] |= changed
    content["data"][1] = {name: value for name, value in content["data"][1].items() if value is not None}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"parm_shape": None}, "has no 'parm_shape'"),
        ({"imageName": 3}, "imageName is no string"),
        ({"smpltype": "smplx"}, "smpltype is 'smplx'"),
        ({"parm_pose": [[1, 0, 0]] * 24}, r"parm_pose is not \(24, 3, 3\) finite numbers"),
        ({"parm_pose": np.ones((24, 3, 3)).tolist()}, "parm_pose, which holds no rotations"),
        ({"parm_pose": (-np.eye(3) * np.ones((24, 1, 1))).tolist()}, "parm_pose, which holds no rotations"),
        ({"parm_shape": [float("nan")] * 10}, r"parm_shape is not \(10,\) finite numbers"),
        ({"parm_cam": [0.9, "x", 0.1]}, "parm_cam holds something that is no number"),
        ({"parm_cam": [0.0, 0.1, 0.1]}, "parm_cam, whose scale is not positive"),
        ({"bbox_scale": -1}, "bbox_scale, which is not positive"),
    ],
)
def test_a_broken_eft_record_is_refused_by_file_record_and_field(tmp_path, changed, complaint):
    with pytest.raises(ValueError, match=rf"eft\.json: data\[1\].*{complaint}"):
        fit_files.read_eft(spoilt(tmp_path, **changed))


@pytest.mark.parametrize(
    "text, complaint",
    [("", "is not JSON"), ('{"data": [{"parm', "is not JSON"), ("[]", "no list 'data'"), ('{"data": []}', "no list"),
     ('{"data": [3]}', r"data\[0\] is no record")],
)  # fmt: skip
def test_what_is_no_eft_file_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "eft.json").write_text(text)
    with pytest.raises(ValueError, match=rf"eft\.json.*{complaint}"):
        fit_files.read_eft(tmp_path / "eft.json")


def test_eft_fits_that_are_missing_or_not_finite_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No EFT fits at .*none\.json"):
        fit_files.read_eft(tmp_path / "none.json")
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        fit_files.save_eft(tmp_path / "eft.json", replace(eft(), betas=torch.full((3, 10), torch.nan)))
    assert not list(tmp_path.iterdir())
