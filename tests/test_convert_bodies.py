"""data/convert for Human3.6M and 3DPW: miniature downloads, numbers by hand."""

import importlib.util
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
from converting import convert, detected, grey, photo, script, stand_in_for_cv2, write_openpose

TO_24 = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
H36M_17 = [11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27]
VIEWS = ["Walking.60457274", "Directions 1.60457274", "Directions 1.54138969", "_ALL.54138969"]
FRAMES = 11


def write_cdf(path, poses):
    """A real CDF file where cdflib is installed, otherwise an array that the stand-in reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        from cdflib.cdfwrite import CDF
    except ImportError:
        with open(path, "wb") as file:
            np.save(file, poses)
        return
    path.unlink(missing_ok=True)
    single_precision = 44
    how = {"Variable": "Pose", "Data_Type": single_precision, "Num_Elements": 1, "Rec_Vary": True}
    file = CDF(path)
    file.write_var(how | {"Dim_Sizes": list(poses.shape[1:])}, var_data=poses.astype(np.float32))
    file.close()


class StandIn:
    """As much of cdflib as is used."""

    def __init__(self, path):
        self.path = path

    def varget(self, name):
        assert name == "Pose"
        return np.load(self.path)


@pytest.fixture(autouse=True)
def cdflib(monkeypatch):
    """The stand-in, where cdflib is not installed."""
    if importlib.util.find_spec("cdflib") is None:
        monkeypatch.setitem(sys.modules, "cdflib", SimpleNamespace(CDF=StandIn))


def write_h36m(root, subjects, with_photos=True):
    """Joint j of frame f is at (j, 2 j, 4000 + j + f) mm and (20 + j, 5 + f) px; its mask is 10 x 20 at (f, 4)."""
    j, f = np.mgrid[:32, :FRAMES]
    solid = np.stack([j, 2 * j, 4000 + j + f], axis=-1).transpose(1, 0, 2).reshape(1, FRAMES, 96).astype(float)
    flat = np.stack([20 + j, 5 + f], axis=-1).transpose(1, 0, 2).reshape(1, FRAMES, 64).astype(float)
    masks = np.empty((1, FRAMES), object)
    for frame in range(FRAMES):
        masks[0, frame] = np.zeros((40, 60), np.uint8)
        masks[0, frame][4:24, frame : frame + 10] = 1
    for subject in subjects:
        for view in VIEWS:
            poses = root / subject / "MyPoseFeatures"
            write_cdf(poses / "D3_Positions_mono" / f"{view}.cdf", solid)
            write_cdf(poses / "D2_Positions" / f"{view}.cdf", flat)
            boxes = root / subject / "MySegmentsMat" / "ground_truth_bb"
            boxes.mkdir(parents=True, exist_ok=True)
            scipy.io.savemat(boxes / f"{view}.mat", {"Masks": masks})
            for frame in range(1, FRAMES + 1) if with_photos else []:
                photo(root / "images" / f"{subject}_{view.replace(' ', '_')}_{frame:06d}.jpg")


def test_every_fifth_frame_of_the_protocols_is_in_metres_from_the_pelvis(tmp_path):
    write_h36m(tmp_path, ["S9", "S11"])
    rows = convert("h36m", tmp_path)
    # Two subjects, three views, frames 0, 5 and 10; subjects by number, views by name.
    assert len(rows["imgname"]) == 18 and set(rows) == {"imgname", "center", "scale", "S"}
    assert rows["imgname"][:4].tolist() == [
        "images/S9_Directions_1.54138969_000001.jpg",
        "images/S9_Directions_1.54138969_000006.jpg",
        "images/S9_Directions_1.54138969_000011.jpg",
        "images/S9_Directions_1.60457274_000001.jpg",
    ]
    for joint, slot in zip(H36M_17, TO_24, strict=True):
        expected = [0.001 * (joint - 11), 0.002 * (joint - 11), 0.001 * (joint - 11), 1]
        np.testing.assert_allclose(rows["S"][1, slot], expected, atol=1e-9)
    # Frame 5: columns 5 to 14, rows 4 to 23, so corners (5, 4) and (15, 24); 0.9 x 20 / 200 = 0.09.
    assert rows["center"][1].tolist() == [10, 14] and rows["scale"] == pytest.approx([0.09] * 18)

    frontal = convert("h36m", tmp_path, "--split", "protocol2")["imgname"]
    assert len(frontal) == 12 and all(".60457274_" in name for name in frontal)


def test_training_subjects_have_points_in_the_photo_as_well(tmp_path):
    write_h36m(tmp_path, ["S1", "S5", "S6", "S7", "S8"])
    rows = convert("h36m", tmp_path, "--split", "train")
    assert len(rows["imgname"]) == 45 and rows["imgname"][9].startswith("images/S5_")
    for joint, slot in zip(H36M_17, TO_24, strict=True):
        assert rows["part"][1, slot].tolist() == [20 + joint, 10, 1]
    part = rows["part"][0]
    write_openpose(tmp_path / "op" / "S1_Directions_1.54138969_000001_keypoints.json", detected(part, 1))
    rows = convert("h36m", tmp_path, "--split", "train", "--openpose", str(tmp_path / "op"))
    np.testing.assert_allclose(rows["openpose"][0], detected(part, 1), rtol=1e-6)


def test_photos_are_cut_at_their_pose_and_faithfully_one_frame_late(tmp_path, monkeypatch, capsys):
    write_h36m(tmp_path, ["S9", "S11"], with_photos=False)
    for subject in ("S9", "S11"):
        (tmp_path / subject / "Videos").mkdir()
        for view in VIEWS:
            (tmp_path / subject / "Videos" / f"{view}.mp4").touch()
    stand_in_for_cv2(monkeypatch, {f"{view}.mp4": FRAMES for view in VIEWS})
    rows = convert("h36m", tmp_path, "--videos")
    assert [grey(tmp_path / name) for name in rows["imgname"][:3]] == [0, 50, 100]
    assert "left out" not in capsys.readouterr().out
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    # The last pose has no later frame: it goes, in all six views.
    late = convert("h36m", tmp_path, "--videos", "--faithful")
    assert [grey(tmp_path / name) for name in late["imgname"][:2]] == [10, 60] and len(late["imgname"]) == 12
    assert "left out: 6 x the video ends before this frame" in capsys.readouterr().out
    np.testing.assert_array_equal(late["S"][:2], rows["S"][:2])


def test_an_empty_mask_leaves_its_frame_out(tmp_path, capsys):
    write_h36m(tmp_path, ["S9", "S11"])
    path = tmp_path / "S9" / "MySegmentsMat" / "ground_truth_bb" / "Walking.60457274.mat"
    masks = scipy.io.loadmat(path)["Masks"]
    masks[0, 5][:] = 0
    scipy.io.savemat(path, {"Masks": masks})
    assert len(convert("h36m", tmp_path)["imgname"]) == 17 and "1 x empty mask" in capsys.readouterr().out


def test_a_download_of_human36m_that_misses_something_is_refused_by_name(tmp_path, monkeypatch):
    run = script("h36m").main
    with pytest.raises(FileNotFoundError, match=r"no folder .*D3_Positions_mono; fetch it from Human3\.6M's site"):
        run([str(tmp_path)])
    write_h36m(tmp_path, ["S9", "S11"], with_photos=False)
    with pytest.raises(FileNotFoundError, match=r"18 photos are missing.*extract the frames"):
        run([str(tmp_path)])
    with pytest.raises(SystemExit):
        run([str(tmp_path), "--openpose", str(tmp_path)])
    boxes = tmp_path / "S9" / "MySegmentsMat" / "ground_truth_bb" / "Directions 1.54138969.mat"
    scipy.io.savemat(boxes, {"Masks": scipy.io.loadmat(boxes)["Masks"][:, :7]})
    with pytest.raises(ValueError, match=r"Directions 1\.54138969\.mat: .*fewer frames than the 11 poses"):
        run([str(tmp_path)])
    poses = tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions_mono" / "Directions 1.54138969.cdf"
    write_cdf(poses, np.zeros((1, 3, 95)))
    with pytest.raises(ValueError, match=r"Directions 1\.54138969\.cdf: Pose has shape \(1, 3, 95\)"):
        run([str(tmp_path)])
    poses.write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"Directions 1\.54138969\.cdf is damaged.*; fetch"):
        run([str(tmp_path)])
    monkeypatch.setitem(sys.modules, "cdflib", None)
    with pytest.raises(ModuleNotFoundError, match=r"Directions 1\.54138969\.cdf is a CDF file.*pip install cdflib"):
        run([str(tmp_path)])


@pytest.fixture
def pw3d(tmp_path):
    """Two sequences; in b two people of 3 frames, the first invalid in frame 1; the camera is turned by 90 degrees."""
    (tmp_path / "sequenceFiles" / "test").mkdir(parents=True)
    quarter = np.eye(4)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    points = np.zeros((3, 3, 18))
    points[:, 0], points[:, 1], points[:, 2] = np.arange(18) + 10, 20, 0.5
    # Not detected: must not stretch the box.
    points[:, :, 17] = [400, 400, 0]
    pose = np.full((3, 72), 0.1)
    pose[:, :3] = [0, 0, np.pi / 6]

    def write(name, valid, **changed):
        content = {
            "sequence": name,
            "poses": [pose.copy() for _ in valid],
            "betas": [np.arange(300.0) for _ in valid],
            "genders": ["m", "f"][: len(valid)],
            "poses2d": [points.copy() for _ in valid],
            "cam_poses": np.stack([quarter] * 3),
            "campose_valid": [np.array(flags) for flags in valid],
            **changed,
        }
        with open(tmp_path / "sequenceFiles" / "test" / f"{name}.pkl", "wb") as file:
            pickle.dump({k: v for k, v in content.items() if v is not None}, file, protocol=2)
        for frame in range(3):
            photo(tmp_path / "imageFiles" / name / f"image_{frame:05d}.jpg")
        return tmp_path

    write("b_01", [[1, 0, 1], [1, 1, 1]])
    write("a_00", [[0, 0, 1]])
    return write


def test_people_of_3dpw_come_by_sequence_and_person_turned_into_the_cameras_frame(pw3d, tmp_path):
    rows = convert("pw3d", tmp_path)
    frames = [("a_00", 2), ("b_01", 0), ("b_01", 2), ("b_01", 0), ("b_01", 1), ("b_01", 2)]
    assert rows["imgname"].tolist() == [f"imageFiles/{name}/image_{frame:05d}.jpg" for name, frame in frames]
    assert rows["gender"].tolist() == ["m", "m", "m", "f", "f", "f"]
    # 30 degrees about z, seen from a camera turned by 90 degrees about z: 120 degrees.
    np.testing.assert_allclose(rows["pose"][:, :3], [[0, 0, 2 * np.pi / 3]] * 6, atol=1e-12)
    assert (rows["pose"][:, 3:] == 0.1).all() and rows["shape"][0].tolist() == list(range(10))
    # x from 10 to 26: 1.2 x 16 / 200 = 0.096.
    assert rows["center"].tolist() == [[18, 20]] * 6 and rows["scale"] == pytest.approx([0.096] * 6)


def test_a_frame_of_3dpw_without_detected_points_is_left_out(pw3d, tmp_path, capsys):
    points = np.zeros((3, 3, 18))
    points[0] = 1 + np.arange(18)
    pw3d("c_02", [[1, 1, 1]], poses2d=[points])
    assert len(convert("pw3d", tmp_path)["imgname"]) == 7
    assert "2 x fewer than two points detected" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"cam_poses": None}, "has no field 'cam_poses'"),
        ({"poses2d": [np.zeros((2, 3, 18))]}, r"poses2d of person 0 has shape \(2, 3, 18\)"),
        ({"betas": []}, "betas has no entry for person 0"),
        ({"betas": [np.zeros(4)]}, r"betas of person 0 has shape \(4,\)"),
        ({"poses": [SimpleNamespace()]}, "not loaded: it asks for types.SimpleNamespace"),
    ],
)
def test_a_broken_sequence_of_3dpw_is_refused_by_name(pw3d, tmp_path, changed, complaint):
    pw3d("a_00", [[0, 0, 1]], **changed)
    with pytest.raises(ValueError, match=complaint) as refusal:
        script("pw3d").main([str(tmp_path)])
    assert "a_00.pkl" in str(refusal.value)


def test_a_download_of_3dpw_without_sequences_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*test; fetch sequenceFiles"):
        script("pw3d").main([str(tmp_path)])
    (tmp_path / "sequenceFiles" / "test").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no \*\.pkl in .*test; fetch sequenceFiles"):
        script("pw3d").main([str(tmp_path)])
