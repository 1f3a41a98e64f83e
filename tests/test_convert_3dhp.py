"""data/convert for MPI-INF-3DHP: miniature downloads of its two halves, numbers by hand."""

from collections import Counter

import numpy as np
import pytest
import scipy.io
from converting import convert, detected, grey, photo, script, stand_in_for_cv2, write_openpose

TO_24 = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
TRAIN_17 = [4, 18, 19, 20, 23, 24, 25, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16]
TEST_17 = [14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
CAMERAS = [0, 1, 2, 4, 5, 6, 7, 8]
FRAMES = 3


def cells(arrays):
    column = np.empty((len(arrays), 1), object)
    column[:, 0] = arrays
    return column


def write_train(root, frames=FRAMES, with_photos=True):
    """Joint j of frame f in camera c is at (100 + 3 j + f, 200 + c) px and (10 j + f, 1000, 2000 + 7 j) mm."""
    j, f = np.mgrid[:28, :frames]
    for subject in range(1, 9):
        for sequence in (1, 2):
            flat = [np.stack([100 + 3 * j + f, np.full_like(j, 200 + c)], axis=-1) for c in range(14)]
            solid = [np.stack([10 * j + f, np.full_like(j, 1000), 2000 + 7 * j], axis=-1) for _ in range(14)]
            place = root / f"S{subject}" / f"Seq{sequence}"
            place.mkdir(parents=True)
            fields = {
                "annot2": cells([a.transpose(1, 0, 2).reshape(frames, -1).astype(float) for a in flat]),
                "annot3": cells([a.transpose(1, 0, 2).reshape(frames, -1).astype(float) for a in solid]),
            }
            scipy.io.savemat(place / "annot.mat", fields)
            for camera in CAMERAS if with_photos else []:
                for frame in range(frames):
                    photo(place / "imageFrames" / f"video_{camera}" / f"frame_{frame + 1:06d}.jpg", 8, 8)


def test_every_tenth_frame_of_all_views_is_labelled_in_metres_from_the_pelvis(tmp_path):
    write_train(tmp_path)
    rows = convert("mpi_inf_3dhp_train", tmp_path)
    # 8 subjects x 2 sequences x 8 cameras x 3 frames = 384 frames: numbers 1, 11, ... 381 of them, which is 39.
    assert len(rows["imgname"]) == 39
    assert rows["imgname"][0] == "S1/Seq1/imageFrames/video_0/frame_000001.jpg"
    # Number 11 is the second frame of the fourth camera in use, which is camera 4; number 25 starts Seq2.
    assert rows["imgname"][1] == "S1/Seq1/imageFrames/video_4/frame_000002.jpg"
    assert rows["imgname"][3] == "S1/Seq2/imageFrames/video_2/frame_000001.jpg"
    for joint, slot in zip(TRAIN_17, TO_24, strict=True):
        assert rows["part"][1, slot].tolist() == [100 + 3 * joint + 1, 204, 1]
        # From joint 4, the pelvis.
        np.testing.assert_allclose(rows["S"][1, slot], [0.01 * (joint - 4), 0, 0.007 * (joint - 4), 1], atol=1e-12)
    assert (rows["S"][:, [13, 15, 19, 20, 21, 22, 23]] == 0).all()
    # Joints 3 to 25: x from 109 to 175 in the first frame; 1.2 x 66 / 200 = 0.396.
    assert rows["center"][0].tolist() == [142, 200] and rows["scale"][0] == pytest.approx(0.396)


def test_frames_with_a_joint_outside_are_neither_kept_nor_counted(tmp_path, capsys):
    write_train(tmp_path)
    path = tmp_path / "S1" / "Seq1" / "annot.mat"
    content = scipy.io.loadmat(path)
    content["annot2"][0, 0][0, 2 * 25 + 1] = 2048
    # Joint 0 is none of the 17.
    content["annot2"][0, 0][1, 0] = -1
    scipy.io.savemat(path, {field: content[field] for field in ("annot2", "annot3")})
    rows = convert("mpi_inf_3dhp_train", tmp_path)
    assert rows["imgname"][0].endswith("video_0/frame_000002.jpg") and "1 x not all joints" in capsys.readouterr().out


def test_a_lost_photo_moves_labels_only_when_faithful(tmp_path):
    write_train(tmp_path)
    lost = tmp_path / "S1" / "Seq1" / "imageFrames" / "video_4" / "frame_000001.jpg"
    lost.unlink()
    rows = convert("mpi_inf_3dhp_train", tmp_path)
    assert rows["imgname"][1].endswith("video_4/frame_000002.jpg") and rows["part"][1, 14, 0] == 100 + 12 + 1
    # Published: its second photo, frame 3, gets the second annotation, and number 11 is one photo on.
    published = convert("mpi_inf_3dhp_train", tmp_path, "--faithful")
    assert published["imgname"][1].endswith("video_4/frame_000003.jpg") and published["part"][1, 14, 0] == 100 + 12 + 1


def test_photos_are_cut_out_of_the_videos_where_asked(tmp_path, monkeypatch):
    write_train(tmp_path, with_photos=False)
    for subject in range(1, 9):
        for sequence in (1, 2):
            place = tmp_path / f"S{subject}" / f"Seq{sequence}" / "imageSequence"
            place.mkdir()
            for camera in CAMERAS:
                (place / f"video_{camera}.avi").touch()
    stand_in_for_cv2(monkeypatch, {f"video_{camera}.avi": FRAMES for camera in CAMERAS})
    rows = convert("mpi_inf_3dhp_train", tmp_path, "--videos")
    # Only what is used is written; the second frame has the grey value 10.
    assert len(rows["imgname"]) == 39 == len(list(tmp_path.rglob("*.jpg")))
    assert grey(tmp_path / rows["imgname"][1]) == 10

    (tmp_path / rows["imgname"][1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 photos are missing.*; extract the frames with --videos"):
        script("mpi_inf_3dhp_train").main([str(tmp_path)])
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"video_0\.avi cannot be read.*pip install opencv-python-headless"):
        script("mpi_inf_3dhp_train").main([str(tmp_path), "--videos"])


def test_annotations_beyond_the_last_picture_of_a_view_are_left_out_and_gaps_are_not(tmp_path):
    common = script("common")
    rows = [common.Person(f"{frame}.jpg", [0, 0], 1.0) for frame in range(5)]
    for frame in (0, 2):
        photo(tmp_path / f"{frame}.jpg")
    left_out = Counter()
    assert common.before_the_end(rows, tmp_path, left_out) == rows[:3] and left_out.total() == 2
    # Nothing extracted is no early end: all rows stay, and the look at the photos refuses them.
    assert common.before_the_end(rows, tmp_path / "empty", left_out) == rows and left_out.total() == 2


def test_frames_of_a_real_video_are_cut_where_they_are_asked_for(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    videos = script("videos")
    film = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for k in range(4):
        film.write(np.full((48, 64, 3), 40 * k, np.uint8))
    film.release()
    videos.cut(tmp_path / "a.avi", {k: tmp_path / "frames" / f"{k}.jpg" for k in (1, 3, 9)})
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["1.jpg", "3.jpg"]
    assert [grey(tmp_path / "frames" / f"{k}.jpg") for k in (1, 3)] == [40, 120]
    (tmp_path / "b.avi").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.avi has no frame that OpenCV can decode; fetch"):
        videos.cut(tmp_path / "b.avi", {0: tmp_path / "0.jpg"})
    with pytest.raises(FileNotFoundError, match=r"no video .*c\.avi; fetch it"):
        videos.cut(tmp_path / "c.avi", {0: tmp_path / "0.jpg"})


def test_fits_of_the_same_rows_join_and_others_are_refused(tmp_path):
    write_train(tmp_path)
    fits = tmp_path / "mview.npz"
    known = np.arange(39) % 2
    np.savez(fits, pose=np.full((39, 72), 0.5), shape=np.zeros((39, 10)), has_smpl=known)
    rows = convert("mpi_inf_3dhp_train", tmp_path, "--fits", str(fits))
    assert rows["has_smpl"].tolist() == known.tolist() and (rows["pose"] == 0.5).all()
    np.savez(fits, pose=np.zeros((40, 72)), shape=np.zeros((40, 10)), has_smpl=np.zeros(40))
    with pytest.raises(ValueError, match=r"mview\.npz: pose has shape \(40, 72\).*expected.*\(39, 72\); .*other rows"):
        script("mpi_inf_3dhp_train").main([str(tmp_path), "--fits", str(fits)])


def test_detections_lie_in_folders_as_the_photos_do(tmp_path):
    write_train(tmp_path)
    part = convert("mpi_inf_3dhp_train", tmp_path)["part"][0]
    write_openpose(tmp_path / "op/S1/Seq1/imageFrames/video_0/frame_000001_keypoints.json", detected(part, 2))
    rows = convert("mpi_inf_3dhp_train", tmp_path, "--openpose", str(tmp_path / "op"))
    np.testing.assert_allclose(rows["openpose"][0], detected(part, 2), rtol=1e-6)
    assert (rows["openpose"][1:] == 0).all()


def test_a_training_download_that_misses_something_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*annot\.mat; fetch the training set"):
        script("mpi_inf_3dhp_train").main([str(tmp_path)])
    write_train(tmp_path, with_photos=False)
    with pytest.raises(FileNotFoundError, match="39 photos are missing"):
        script("mpi_inf_3dhp_train").main([str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=r"no folder .*video_0; extract the frames"):
        script("mpi_inf_3dhp_train").main([str(tmp_path), "--faithful"])
    path = tmp_path / "S1" / "Seq1" / "annot.mat"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"annot\.mat is damaged.*; fetch"):
        script("mpi_inf_3dhp_train").main([str(tmp_path)])


def write_test(root):
    """TS1 to TS6 of 3 frames, the second invalid; joint j of frame f at (5 + 2 j, 10 + f) px, in TS1's third x = 61."""
    j, f = np.mgrid[:17, :3]
    flat = np.stack([5.0 + 2 * j, 10.0 + f])[:, :, None]
    solid = np.stack([100.0 * j, 50.0 * f, 3000.0 + j])[:, :, None]
    for number in range(1, 7):
        place = root / "mpi_inf_3dhp_test_set" / f"TS{number}"
        shown = flat.copy()
        if number == 1:
            shown[0, 3, 0, 2] = 61
        for frame in range(3):
            photo(place / "imageSequence" / f"img_{frame + 1:06d}.jpg")
        fields = {"annot2": shown, "univ_annot3": solid, "valid_frame": np.array([[1.0, 0, 1]])}
        scipy.io.savemat(place / "annot_data.mat", fields)


def test_all_valid_frames_are_tested_on_and_faithfully_only_those_with_everything_in_the_photo(tmp_path, capsys):
    write_test(tmp_path)
    rows = convert("mpi_inf_3dhp_test", tmp_path)
    assert len(rows["imgname"]) == 12
    assert rows["imgname"][1] == "mpi_inf_3dhp_test_set/TS1/imageSequence/img_000003.jpg"
    for joint, slot in zip(TEST_17, TO_24, strict=True):
        if joint != 3:
            assert rows["part"][1, slot].tolist() == [5 + 2 * joint, 12, 1]
        np.testing.assert_allclose(rows["S"][1, slot], [0.1 * (joint - 14), 0, 0.001 * (joint - 14), 1], atol=1e-12)
    # Joint 3, the right elbow, is beside the photo, which is 60 pixels wide; the box still goes around it.
    assert (rows["part"][1, 7] == 0).all()
    # x from 5 to 61: 1.2 x 56 / 200 = 0.336; in other frames from 5 to 37: 0.192.
    assert rows["center"][1].tolist() == [33, 12] and rows["scale"][[1, 2]] == pytest.approx([0.336, 0.192])

    published = convert("mpi_inf_3dhp_test", tmp_path, "--faithful")
    assert len(published["imgname"]) == 11 and "1 x a joint outside the photo" in capsys.readouterr().out
    script("mpi_inf_3dhp_test").main([str(tmp_path)])
    assert (tmp_path / "mpi_inf_3dhp_valid.npz").is_file()


def test_a_test_download_that_misses_something_is_refused_by_name(tmp_path):
    run = script("mpi_inf_3dhp_test").main
    with pytest.raises(FileNotFoundError, match=r"no folder .*mpi_inf_3dhp_test_set; fetch the test set"):
        run([str(tmp_path)])
    write_test(tmp_path)
    place = tmp_path / "mpi_inf_3dhp_test_set" / "TS2"
    (place / "imageSequence" / "img_000001.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"TS2.*img_000001\.jpg is damaged"):
        run([str(tmp_path)])
    (place / "imageSequence" / "img_000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"no photo .*TS2.*img_000001\.jpg; fetch"):
        run([str(tmp_path)])
    fields = scipy.io.loadmat(place / "annot_data.mat")
    wrong = {"annot2": fields["annot2"][:, :14], "univ_annot3": fields["univ_annot3"], "valid_frame": np.ones((1, 3))}
    scipy.io.savemat(place / "annot_data.mat", wrong)
    with pytest.raises(ValueError, match=r"TS2.*annot_data\.mat: annot2 has shape .*expected.*\(2, 17, 1, 3\)"):
        run([str(tmp_path)])
