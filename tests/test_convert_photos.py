"""data/convert for the sets of photographs: COCO, LSP, LSPET, MPII; miniature downloads, numbers by hand."""

import json

import numpy as np
import pytest
import scipy.io
from converting import convert, photo, script

COCO_TO_24 = [19, 20, 21, 22, 23, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0]
MPII_TO_24 = [0, 1, 2, 3, 4, 5, 14, 15, 12, 13, 6, 7, 8, 9, 10, 11]


@pytest.fixture
def coco(tmp_path):
    """Two photos, three people: whole, with an unlabelled wrist, whole but for the head."""
    points = np.array([[10 + i, 5 + i, 1 + i % 2] for i in range(17)], float)
    no_wrist, no_head = points.copy(), points.copy()
    no_wrist[9], no_head[:5] = 0, 0
    people = [
        {"image_id": image, "keypoints": table.ravel().tolist(), "bbox": [10, 5, 20, 30]}
        for image, table in [(2, points), (1, no_wrist), (1, no_head)]
    ]
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "person_keypoints_train2014.json"
    path.write_text(json.dumps({"images": images, "annotations": people}))
    photo(tmp_path / "train2014" / "a.jpg")
    photo(tmp_path / "train2014" / "b.jpg")
    return tmp_path


def test_coco_people_with_a_whole_body_get_their_box_and_their_points_in_order(coco, capsys):
    rows = convert("coco", coco)
    assert rows["imgname"].tolist() == ["train2014/b.jpg", "train2014/a.jpg"]
    # The box (10, 5) to (30, 35) has its middle at (20, 20), and 1.2 x 30 / 200 = 0.18.
    assert rows["center"].tolist() == [[20, 20]] * 2 and rows["scale"] == pytest.approx([0.18, 0.18])
    for i, slot in enumerate(COCO_TO_24):
        assert rows["part"][0, slot].tolist() == [10 + i, 5 + i, 1]
    # Without the head five of the 17 are missing, and missing points are zero.
    assert rows["part"][:, :, 2].sum(axis=1).tolist() == [17, 12] and (rows["part"][1, 19:] == 0).all()
    assert "1 x not all 12 points of the body labelled" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, complaint",
    [
        ('{"images": [{}', "is not JSON"),
        ('{"images": [], "annotations": [1]}', "'images' or 'annotations' is missing or empty"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1}]}', "'keypoints'"),
    ],
)
def test_a_broken_annotation_of_coco_is_refused_by_name(coco, text, complaint):
    path = coco / "annotations" / "person_keypoints_train2014.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint) as refusal:
        script("coco").main([str(coco)])
    assert str(path) in str(refusal.value) and "fetch" in str(refusal.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"person_keypoints_train2014\.json; fetch"):
        script("coco").main([str(coco)])


def test_photos_that_are_not_there_are_counted_and_named(coco):
    (coco / "train2014" / "b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 photos are missing, the first is .*b\.jpg; fetch train2014"):
        script("coco").main([str(coco)])
    assert not list(coco.glob("*.npz"))


def write_lsp(folder, people, first=0):
    """LSP's joints: person n (from 0) has point i at (10 + i + n, 20 - i); all are marked as hidden."""
    joints = np.ones((3, 14, people))
    i, n = np.mgrid[:14, :people]
    joints[0], joints[1] = 10 + i + n, 20 - i
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    for number in range(first + 1, people + 1):
        photo(folder / "images" / f"im{number:04d}.jpg")


def test_lsp_trains_on_the_first_thousand_with_a_tight_box_and_all_14_points(tmp_path):
    write_lsp(tmp_path, 2)
    rows = convert("lsp", tmp_path)
    assert rows["imgname"].tolist() == ["images/im0001.jpg", "images/im0002.jpg"]
    # x from 10 to 23 and y from 7 to 20; 1.2 x 13 / 200 = 0.078.
    assert rows["center"].tolist() == [[16.5, 13.5], [17.5, 13.5]] and rows["scale"] == pytest.approx([0.078] * 2)
    assert rows["part"][1, 3].tolist() == [14, 17, 1] and rows["part"][1, 11].tolist() == [22, 9, 1]
    assert (rows["part"][:, 14:] == 0).all() and set(rows) == {"imgname", "center", "scale", "part"}


def test_lsp_tests_on_what_follows_and_names_its_masks(tmp_path):
    write_lsp(tmp_path, 1002, first=1000)
    rows = convert("lsp", tmp_path, "--split", "test")
    assert rows["imgname"].tolist() == ["images/im1001.jpg", "images/im1002.jpg"]
    assert rows["maskname"][0] == "data/lsp/im1001_segmentation.png"
    assert rows["partname"][1] == "data/lsp/im1002_part_segmentation.png"
    assert rows["part"][0, 0].tolist() == [1010, 20, 1]


def test_a_download_of_lsp_without_the_second_thousand_has_nobody_to_test_on(tmp_path):
    write_lsp(tmp_path, 2)
    with pytest.raises(ValueError, match="nobody to convert; check the download"):
        script("lsp").main([str(tmp_path), "--split", "test"])


def write_lspet(folder, names, annotations):
    """LSPET's joints: person n has point i at (10 n + i, 5); points 12 and 13 are not seen and lie far away."""
    joints = np.zeros((14, 3, annotations))
    i, n = np.mgrid[:14, :annotations]
    joints[:, 0], joints[:, 1], joints[:, 2] = 10 * n + i, 5, 1
    joints[12:, :2], joints[12:, 2] = -300, 0
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    for name in names:
        photo(folder / name)


def test_points_that_lspet_marks_as_unseen_are_missing_and_faithfully_count(tmp_path):
    write_lspet(tmp_path, ["im00002.png", "im00001.png"], 2)
    rows = convert("lspet", tmp_path)
    assert rows["imgname"].tolist() == ["im00001.png", "im00002.png"]
    assert rows["part"][0, :, 2].sum() == 12 and (rows["part"][0, 12:14] == 0).all()
    # x from 10 to 21: middle 15.5, 1.2 x 11 / 200 = 0.066.
    assert rows["center"][1].tolist() == [15.5, 5] and rows["scale"][1] == pytest.approx(0.066)

    published = convert("lspet", tmp_path, "--faithful")
    assert published["part"][0, :, 2].sum() == 14 and published["part"][0, 13].tolist() == [-300, -300, 1]
    # x from -300 to 21: middle -139.5, 1.2 x 321 / 200 = 1.926.
    assert published["center"][1].tolist() == [-139.5, -147.5] and published["scale"][1] == pytest.approx(1.926)


def test_a_lost_photo_of_lspet_moves_the_labels_of_the_others_only_when_faithful(tmp_path):
    write_lspet(tmp_path, ["im00001.png", "im00003.png"], 3)
    assert convert("lspet", tmp_path)["part"][:, 0, 0].tolist() == [0, 20]
    assert convert("lspet", tmp_path, "--faithful")["part"][:, 0, 0].tolist() == [0, 10]


def test_photos_of_lspet_that_no_annotation_is_for_are_refused(tmp_path):
    write_lspet(tmp_path, ["im00001.png", "im00007.png"], 3)
    with pytest.raises(ValueError, match=r"3 annotations in joints, none of them for im00007\.png; fetch"):
        script("lspet").main([str(tmp_path)])


def test_somebody_of_whom_lspet_shows_nothing_is_left_out(tmp_path, capsys):
    write_lspet(tmp_path, ["im00001.png", "im00002.png"], 2)
    joints = scipy.io.loadmat(tmp_path / "joints.mat")["joints"]
    joints[1:, 2, 0] = 0
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    assert convert("lspet", tmp_path)["imgname"].tolist() == ["im00002.png"]
    assert "left out: 1 x fewer than two points seen" in capsys.readouterr().out


def test_the_files_of_lsp_and_lspet_are_told_apart_by_their_axes(tmp_path):
    write_lspet(tmp_path, ["im00001.png"], 2)
    with pytest.raises(ValueError, match=r"joints\.mat: joints has shape \(14, 3, 2\) .* expected .*\(3, 14, N\)"):
        script("lsp").main([str(tmp_path)])


def mpii_person(points, scale=2.0, **changes):
    listed = [{"x": float(x), "y": float(y), "id": i} for i, (x, y) in enumerate(points) if x > 0]
    person = {"annopoints": {"point": structs(listed)}, "objpos": {"x": 30.0, "y": 20.0}, "scale": scale}
    return {**person, **changes}


def structs(entries):
    """MATLAB's row of structs, which all have the same fields."""
    row = np.empty((1, len(entries)), [(field, object) for field in entries[0]])
    row[0] = [tuple(entry.values()) for entry in entries]
    return row


@pytest.fixture
def mpii_points():
    return np.array([[10 + i, 30 - i] for i in range(16)], float)


@pytest.fixture
def mpii(tmp_path, mpii_points):
    """The official annotation: two people, one without an ankle; one without a position; nobody; one to test; one."""
    no_ankle = mpii_points * (np.arange(16) > 0)[:, None]
    whole, broken = mpii_person(mpii_points), mpii_person(no_ankle)
    rects = [[whole, broken], [mpii_person(mpii_points, objpos=[], scale=[])], [], [whole], [whole]]
    names = [f"{letter}.jpg" for letter in "abcde"]
    images = structs(
        [
            {"image": {"name": name}, "annorect": structs(rect) if rect else []}
            for name, rect in zip(names, rects, strict=True)
        ]
    )
    place = tmp_path / "mpii_human_pose_v1_u12_2"
    place.mkdir()
    scipy.io.savemat(
        place / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": {"annolist": images, "img_train": [1, 1, 1, 0, 1]}}
    )
    for name in names:
        photo(tmp_path / "images" / name)
    return tmp_path


def test_mpii_keeps_centre_and_scale_of_the_annotators_and_only_whole_people(mpii, mpii_points, capsys):
    rows = convert("mpii", mpii)
    assert rows["imgname"].tolist() == ["images/a.jpg", "images/e.jpg"]
    assert rows["center"].tolist() == [[30, 20]] * 2 and rows["scale"].tolist() == [2, 2]
    for i, slot in enumerate(MPII_TO_24):
        assert rows["part"][0, slot].tolist() == [*mpii_points[i], 1]
    assert rows["part"][0, 16:].sum() == 0 and "2 x not all 16 points annotated" in capsys.readouterr().out


@pytest.mark.parametrize("coded", [False, True], ids=["bytes", "codes"])
def test_the_hourglass_annotation_of_mpii_is_read_with_names_as_bytes_or_codes(tmp_path, mpii_points, coded):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    names = np.array([b"ab.jpg", b"c.jpg"])
    missing = mpii_points.copy()
    missing[9, 1] = 0
    (tmp_path / "annot").mkdir()
    with h5py.File(tmp_path / "annot" / "train.h5", "w") as file:
        file["imgname"] = np.array([list(name.ljust(8, b"\0")) for name in names], float) if coded else names
        file["center"], file["scale"] = np.array([[30.0, 20], [1, 1]]), np.array([1.5, 1])
        file["part"] = np.stack([mpii_points, missing])
    photo(tmp_path / "images" / "ab.jpg")
    rows = convert("mpii", tmp_path)
    assert rows["imgname"].tolist() == ["images/ab.jpg"] and rows["scale"].tolist() == [1.5]
    assert rows["part"][0, 13].tolist() == [19, 21, 1]


def test_mpii_without_an_annotation_or_with_another_struct_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither annot/train\.h5 nor .*; fetch the annotation"):
        script("mpii").main([str(tmp_path)])
    scipy.io.savemat(tmp_path / "other.mat", {"RELEASE": {"version": 1}})
    with pytest.raises(ValueError, match=r"other\.mat: RELEASE is not as MPII has it .*annolist"):
        script("mpii").main([str(tmp_path), "--annotation", str(tmp_path / "other.mat")])
