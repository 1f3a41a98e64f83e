"""data/convert: which of OpenPose's people belongs to an annotated one, and the files that both come from."""

import numpy as np
import pytest
import scipy.io
from converting import detected, photo, script, write_openpose

detections = script("detections")
matfiles = script("matfiles")
common = script("common")


@pytest.fixture
def part():
    """A person 100 pixels high whose 12 limb points lie 10 pixels beside and below each other."""
    table = np.zeros((24, 3))
    table[:12] = [[200 + 5 * i, 100 + 100 / 11 * i, 1] for i in range(12)]
    return table


def person(part, name="images/a.jpg"):
    return common.Person(name, [0, 0], 1.0, part)


def test_the_nearest_detection_is_taken_and_a_stranger_is_not(part):
    near, nearer, stranger = detected(part, 8), detected(part, 3), detected(part, 60)
    found = np.stack([stranger, near, nearer])
    assert np.array_equal(detections.nearest(found, part), nearer)
    # 10 pixels are a tenth of this person: farther away it is somebody else.
    assert (detections.nearest(np.stack([stranger, detected(part, 10.5)]), part) == 0).all()
    assert (detections.nearest(np.zeros((0, 25, 3)), part) == 0).all()


def test_a_person_with_undetected_limbs_is_still_found_and_by_the_published_rule_is_not(part):
    same, stranger = detected(part, 1), detected(part, 60)
    same[[11, 4]] = 0
    found = np.stack([stranger, same])
    assert np.array_equal(detections.nearest(found, part), same)
    assert np.array_equal(detections.published(found, part, 0), stranger)
    # Three points shared are too few to tell.
    same[[10, 9, 12, 13, 14, 3, 2]] = 0
    assert (detections.nearest(np.stack([stranger, same]), part) == 0).all()


def test_the_published_rule_rejects_only_what_is_neither_near_nor_far(part):
    # With every missing point at (0, 0) the person counts as 255 pixels wide: a tenth of that is 25.5.
    stranger, middling = detected(part, 60), detected(part, 28)
    assert np.array_equal(detections.published(stranger[None], part, 30), stranger)
    assert (detections.published(middling[None], part, 30) == 0).all()
    assert np.array_equal(detections.published(middling[None], part, 10), middling)
    # Nobody with all limbs: the first in the file, whoever that is.
    half = stranger.copy()
    half[4] = 0
    assert np.array_equal(detections.published(np.stack([half, half * 2]), part, 30), half)
    assert (detections.published(np.zeros((0, 25, 3)), part, 30) == 0).all()


def test_detections_are_found_in_a_flat_folder_and_in_one_arranged_as_the_photos(tmp_path, part, capsys):
    write_openpose(tmp_path / "flat" / "a_keypoints.json", detected(part, 2))
    write_openpose(tmp_path / "tree" / "images" / "a_keypoints.json", detected(part, 4))
    people = [person(part), person(part, "images/b.jpg")]
    flat = detections.join(tmp_path / "flat", people, None)["openpose"]
    assert flat.shape == (2, 25, 3) and (flat[1] == 0).all()
    np.testing.assert_allclose(flat[0, 11], [202, 100, 0.8], rtol=1e-6)
    tree = detections.join(tmp_path / "tree", people, None)["openpose"]
    np.testing.assert_allclose(tree[0, 11], [204, 100, 0.8], rtol=1e-6)
    assert "1 of 2 people matched, files for 1 photos" in capsys.readouterr().out
    assert detections.join(None, people, None) == {}


def test_photos_of_one_name_in_different_folders_never_share_a_file(tmp_path, part):
    write_openpose(tmp_path / "a_keypoints.json", detected(part))
    people = [person(part, "one/a.jpg"), person(part, "two/a.jpg")]
    with pytest.raises(FileNotFoundError, match=r"has no one.a_keypoints\.json, nor one for any photo; correct"):
        detections.join(tmp_path, people, None)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; run OpenPose"):
        detections.join(tmp_path / "nowhere", people, None)
    write_openpose(tmp_path / "one" / "a_keypoints.json", detected(part))
    (tmp_path / "one" / "a_keypoints.json").write_text('{"people": 3}')
    with pytest.raises(ValueError, match=r"one.a_keypoints\.json"):
        detections.join(tmp_path, people, None)


def test_a_converter_joins_detections_and_repeats_the_published_match_when_asked(tmp_path):
    joints = np.zeros((3, 14, 1))
    joints[:2, :, 0] = [200 + 5 * np.arange(14), 100 + 10 * np.arange(14)]
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    photo(tmp_path / "images" / "im0001.jpg")
    stranger = detected(np.column_stack([joints[:2, :, 0].T, np.ones(14)]), 90)
    write_openpose(tmp_path / "op" / "im0001_keypoints.json", stranger)
    for options, expected in [((), 0), (("--faithful",), stranger)]:
        script("lsp").main([str(tmp_path), "--openpose", str(tmp_path / "op"), *options])
        with np.load(tmp_path / "lsp_dataset_original_train.npz") as rows:
            np.testing.assert_allclose(rows["openpose"][0], np.zeros((25, 3)) + expected, rtol=1e-6)


@pytest.fixture(params=["old", "new"])
def matlab_file(request, tmp_path):
    """The same arrays as MATLAB's old and new files: (2, 3) numbers, and three cells in a row."""
    numbers = np.arange(6.0).reshape(2, 3)
    cells = [np.full((2, 3), i, np.uint8) * (np.arange(3) == 0) for i in range(3)]
    path = tmp_path / "made.mat"
    if request.param == "old":
        row = np.empty((1, 3), object)
        row[0] = cells
        scipy.io.savemat(path, {"numbers": numbers, "cells": row})
        return path
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["numbers"] = numbers.T
        for i, cell in enumerate(cells):
            file[f"#refs#/{i}"] = cell.T
        references = [[file[f"#refs#/{i}"].ref] for i in range(3)]
        file.create_dataset("cells", data=np.array(references, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    return path


def test_old_and_new_files_of_matlab_read_alike(matlab_file):
    (numbers,) = matfiles.read_mat(matlab_file, ["numbers"], "again")
    assert numbers.tolist() == [[0, 1, 2], [3, 4, 5]]
    cells = matfiles.map_cells(matlab_file, "cells", np.asarray, [2, 0], "again")
    assert [cell.tolist() for cell in cells] == [[[2, 0, 0]] * 2, [[0, 0, 0]] * 2]
    with pytest.raises(IndexError):
        matfiles.map_cells(matlab_file, "cells", np.asarray, [3], "again")


def test_a_matlab_file_that_is_cut_short_or_lacks_a_field_is_refused_by_name(matlab_file):
    with pytest.raises(ValueError, match=r"made\.mat has no field 'joints'; again"):
        matfiles.read_mat(matlab_file, ["joints"], "again")
    whole = matlab_file.read_bytes()
    # Past the signature of the new format, within the first array of the old one.
    matlab_file.write_bytes(whole[: max(600, 200) if whole[512:516] == b"\x89HDF" else 180])
    with pytest.raises(ValueError, match=r"made\.mat is damaged.*; again"):
        matfiles.read_mat(matlab_file, ["numbers"], "again")
    matlab_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*made\.mat; again"):
        matfiles.read_mat(matlab_file, ["numbers"], "again")


def test_a_new_matlab_file_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    path = tmp_path / "new.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + matfiles.HDF5 + bytes(100))
    with pytest.raises(ModuleNotFoundError, match=r"new\.mat is an HDF5 file.*pip install h5py"):
        matfiles.read_mat(path, ["joints"], "again")


def test_numbers_that_no_person_has_are_refused_before_anything_is_written(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    for field, value in [("scale", 0.0), ("scale", np.nan), ("center", [np.inf, 0])]:
        row = common.Person(**{"imgname": "images/a.jpg", "center": [1.0, 2.0], "scale": 1.0, field: value})
        with pytest.raises(ValueError, match=rf"images/a\.jpg: {field} is .*; fetch"):
            common.save(tmp_path / "out.npz", common.columns([row]), tmp_path, "again")
    assert not list(tmp_path.glob("*.npz"))


def test_a_refusal_reaches_the_command_line_without_a_traceback():
    def refuse():
        raise ValueError("this file, that remedy")

    with pytest.raises(SystemExit, match="refused: this file, that remedy"):
        common.run(refuse)


@pytest.mark.parametrize(
    "name", ["coco", "lsp", "lspet", "mpii", "mpi_inf_3dhp_train", "mpi_inf_3dhp_test", "h36m", "pw3d"]
)
def test_every_script_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        script(name).main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and ".npz" in shown and "nown fault" in shown
    assert ("[--faithful]" in shown) == (name != "pw3d")
