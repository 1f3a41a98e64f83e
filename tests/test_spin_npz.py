"""SPIN's files, each with the fields that its preprocessing gives it, are read; wrong words and damage are refused."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from spinkit import data, fit_files

BOX = ("imgname", "center", "scale")
KEYS = {
    "h36m": (*BOX, "part", "S", "openpose"),
    "lsp-orig": (*BOX, "part", "openpose"),
    "lspet": (*BOX, "part", "openpose"),
    "mpii": (*BOX, "part", "openpose"),
    "coco": (*BOX, "part", "openpose"),
    "mpi-inf-3dhp": (*BOX, "part", "pose", "shape", "has_smpl", "S", "openpose"),
    "h36m-p1": (*BOX, "S"),
    "h36m-p2": (*BOX, "S"),
    "lsp": (*BOX, "maskname", "partname", "part"),
    "mpi-inf-3dhp test": (*BOX, "part", "S"),
    "3dpw": (*BOX, "pose", "shape", "gender"),
}
"""Fields of each file. Source: SPIN's datasets/preprocess."""
ROWS = 3


def fields(words=str):
    """A value for every field that any of SPIN's files has, in the types in which NumPy of Python 2 saved them."""
    g = np.random.default_rng(0)

    def points(n, columns):
        return np.concatenate([g.uniform(10, 30, (ROWS, n, columns)), np.ones((ROWS, n, 1))], axis=-1)

    def named(*names):
        return np.array([name.encode() if words is bytes else name for name in names])

    return {
        "imgname": named("a.png", "sub/b.png", "a.png"),
        "center": g.uniform(15, 25, (ROWS, 2)),
        "scale": g.uniform(0.1, 0.3, ROWS),
        "part": points(24, 2),
        "openpose": points(25, 2),
        "S": points(24, 3) / 30,
        "pose": g.normal(size=(ROWS, 72)),
        "shape": g.normal(size=(ROWS, 10)),
        "has_smpl": np.array([1, 0, 1], dtype=np.uint8),
        "gender": named("m", "f", "f"),
        "maskname": named("data/0_mask.png", "data/1_mask.png", "data/2_mask.png"),
        "partname": named("data/0_parts.png", "data/1_parts.png", "data/2_parts.png"),
    }


@pytest.fixture
def folder(tmp_path):
    """Two photos, one of them in a folder."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    return tmp_path


def write(path, names, words=str, **changed):
    every = fields(words) | changed
    np.savez(path, **{name: every[name] for name in (*names, *changed)})
    return path


@pytest.mark.parametrize("words", [str, bytes])
@pytest.mark.parametrize("dataset", KEYS)
def test_every_file_of_spins_is_read_with_the_fields_that_it_has(folder, dataset, words):
    names, every = KEYS[dataset], fields()
    samples = data.read_spin_npz(write(folder / "set.npz", names, words), folder, size=16)
    assert len(samples) == ROWS and len(data.check_samples(samples, min_visible=0)) == 0
    assert samples.keypoints.visible[:, :25].all() == ("openpose" in names)
    assert samples.keypoints.visible[:, 25:].all() == ("part" in names)
    assert samples.labels.has_pose_3d.all() == ("S" in names)
    assert (samples.judge is None) == ("S" not in names and "pose" not in names)
    if "pose" in names:
        known = [True, False, True] if "has_smpl" in names else [True] * 3
        assert samples.labels.has_smpl.tolist() == known
        np.testing.assert_allclose(samples.labels.rotvec[2].flatten(), every["pose"][2], rtol=1e-6)
    for name in ("gender", "maskname", "partname"):
        if name in names:
            assert data.read_spin_words(folder / "set.npz", name) == tuple(every[name])


def test_fields_that_other_programs_add_are_left_alone(folder):
    more = {"annotIds": np.arange(ROWS), "occlusion": np.zeros((ROWS, 24)), "notes": np.array([{}] * 3, dtype=object)}
    samples = data.read_spin_npz(write(folder / "set.npz", KEYS["coco"], **more), folder, size=16)
    assert len(samples) == ROWS


def test_the_published_names_of_files_are_known_for_every_set():
    assert set(data.TRAIN_FILES) | set(data.TEST_FILES) == {*KEYS} - {"mpi-inf-3dhp test"}
    assert data.TRAIN_FILES["lspet"] == "hr-lspet_train.npz" and data.TEST_FILES["h36m-p2"].endswith("protocol2.npz")
    names = [*data.TRAIN_FILES.values(), *data.TEST_FILES.values()]
    assert len(set(names)) == 11 and all(name.endswith(".npz") for name in names)


@pytest.mark.parametrize(
    "name, value, complaint",
    [
        ("gender", np.array(["m", "x", "f"]), "gender holds 'x', expected one of m, f, n"),
        ("gender", np.array([0, 1, 1]), "gender must be a list of strings, got int64"),
        ("gender", np.array(["m", "f"]), "gender has 2 rows, imgname 3"),
        ("gender", np.array(["m", None, "f"], dtype=object), "field 'gender' cannot be read"),
        ("maskname", np.array([["a"]] * 3), r"maskname must be a list of strings, got <U1 \(3, 1\)"),
    ],
)
def test_words_that_cannot_be_meant_are_refused_by_file_and_field(folder, name, value, complaint):
    path = write(folder / "3dpw_test.npz", KEYS["3dpw"][:5], **{name: value})
    with pytest.raises(ValueError, match=rf"3dpw_test\.npz: {complaint}"):
        data.read_spin_words(path, name)


def test_words_that_a_file_lacks_are_refused_by_name(folder):
    with pytest.raises(ValueError, match=r"set\.npz: no field 'gender'"):
        data.read_spin_words(write(folder / "set.npz", KEYS["coco"]), "gender")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        data.read_spin_words(folder / "none.npz", "gender")


def test_an_empty_set_is_refused(folder):
    empty = {name: value[:0] for name, value in fields().items() if name in KEYS["coco"]}
    np.savez(folder / "set.npz", **empty)
    with pytest.raises(ValueError, match="imgname must be a list of strings"):
        data.read_spin_npz(folder / "set.npz", folder, size=16)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.999])
def test_a_truncated_set_is_refused_by_name(folder, share):
    path = write(folder / "set.npz", KEYS["mpi-inf-3dhp"])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"set\.npz is no npz archive"):
        data.read_spin_npz(path, folder, size=16)


@pytest.mark.parametrize("at", ["directory", "numbers"])
def test_a_damaged_set_is_refused_by_name(folder, at):
    path = write(folder / "set.npz", KEYS["coco"])
    whole = bytearray(path.read_bytes())
    place = whole.rindex(b"PK\x01\x02") if at == "directory" else whole.index(b"NUMPY", whole.index(b"center.npy"))
    whole[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"set\.npz.*(damaged|cannot be read)"):
        data.read_spin_npz(path, folder, size=16)


class Bomb:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_code_in_a_set_is_not_run(folder):
    path = write(folder / "set.npz", KEYS["coco"], part=np.array([Bomb(folder / "ran")] * 3, dtype=object))
    with pytest.raises(ValueError, match=r"set\.npz: field 'part' cannot be read"):
        data.read_spin_npz(path, folder, size=16)
    path.write_bytes(pickle.dumps(Bomb(folder / "ran")))
    with pytest.raises(ValueError, match=r"set\.npz is no npz archive"):
        data.read_spin_npz(path, folder, size=16)
    assert not (folder / "ran").exists()


def test_multi_view_labels_of_a_set_are_fits_too(folder):
    """Whatever holds pose, shape and has_smpl can be begun with."""
    path = write(folder / "mpi_inf_3dhp_train.npz", KEYS["mpi-inf-3dhp"])
    samples, stored = data.read_spin_npz(path, folder, size=16), fit_files.read_fits(path, count=ROWS)
    assert torch.equal(stored.valid, samples.labels.has_smpl)
    assert torch.equal(stored.rotvec[stored.valid], samples.labels.rotvec[stored.valid])
