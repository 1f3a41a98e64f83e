"""Motions: turned between frames of space exactly, written as AMASS and SPIN write, and refused where they are not."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import roma
import torch

from spinkit import export, smplify
from spinkit.camera import crop_camera
from spinkit.export.motion import YUP_FROM


def drawn(frames: int = 4, dtype: torch.dtype = torch.float32, **facts) -> export.Motion:
    g = torch.Generator().manual_seed(0)
    rotvec, transl = torch.randn(frames, 24, 3, generator=g, dtype=dtype), torch.randn(frames, 3, generator=g).to(dtype)
    return export.Motion(rotvec, transl, torch.randn(10, generator=g).to(dtype), 29.97, **facts)


def vertices(human, motion: export.Motion) -> torch.Tensor:
    betas = motion.betas.expand(len(motion), 10)
    return human.vertices(roma.rotvec_to_rotmat(motion.rotvec), betas) + motion.transl[:, None]


@pytest.fixture
def amass_file(tmp_path):
    """Writes a file with the fields of AMASS's SMPL-H release, changed as asked; None leaves a field out."""

    def write(name: str = "clip.npz", **changed):
        fields = {
            "poses": np.full((5, 156), 0.1),
            "trans": np.zeros((5, 3)),
            "betas": np.arange(16.0),
            "gender": np.str_("female"),
            "mocap_framerate": np.float64(120),
            "dmpls": np.zeros((5, 8)),
        } | changed
        np.savez(tmp_path / name, **{key: value for key, value in fields.items() if value is not None})
        return tmp_path / name

    return write


@pytest.mark.parametrize("pair", [*permutations(YUP_FROM, 2)], ids=" to ".join)
def test_a_motion_turned_into_another_frame_turns_every_vertex_and_comes_back(human, pair):
    human = human.to(torch.float64)
    motion = drawn(dtype=torch.float64, frame=pair[0])
    turned = export.in_frame(motion, human, pair[1])
    turn = torch.tensor(YUP_FROM[pair[1]], dtype=torch.float64).mT @ torch.tensor(YUP_FROM[pair[0]]).double()
    # A vertex's weights sum to one in float32 only, and the pelvis's offset shows the rest.
    torch.testing.assert_close(vertices(human, turned), vertices(human, motion) @ turn.mT, atol=5e-8, rtol=0)
    assert turned.frame == pair[1] and torch.linalg.det(turn) == pytest.approx(1)
    back = export.in_frame(turned, human, pair[0])
    torch.testing.assert_close(back.transl, motion.transl, atol=1e-12, rtol=0)
    torch.testing.assert_close(back.rotvec[:, 1:], motion.rotvec[:, 1:], atol=0, rtol=0)


@pytest.mark.parametrize(
    "frame, up", [("camera_opencv", (0, -1, 0)), ("world_yup", (0, 1, 0)), ("world_zup", (0, 0, 1))]
)
def test_the_head_of_someone_who_stands_is_up_in_every_frame(human, frame, up):
    standing = torch.zeros(1, 24, 3)
    standing[:, 0, 0] = torch.pi
    motion = export.Motion(standing, torch.tensor([[0.0, 0, 5]]), torch.zeros(10), 30.0, "camera_opencv")
    points = vertices(human, export.in_frame(motion, human, frame))[0] @ torch.tensor(up, dtype=torch.float32)
    assert points[human.part24 == 15].mean() > points.mean() + 0.5, "joint 15 is the head"


def test_fits_of_a_clip_become_a_motion_in_their_median_shape():
    g = torch.Generator().manual_seed(1)
    betas = torch.zeros(5, 10)
    betas[3] = 40.0  # One failed frame.
    transl = torch.randn(5, 3, generator=g)
    start = smplify.Start(torch.randn(5, 24, 3, generator=g), betas, crop_camera(transl))
    motion = export.of_fits(start, 25.0)
    assert torch.equal(motion.rotvec, start.rotvec) and torch.equal(motion.transl, transl)
    assert motion.betas.abs().max() == 0 and motion.frame == "camera_opencv"


def test_part_of_a_motion_keeps_its_speed():
    part = drawn(10)[2:8:2]
    assert len(part) == 3 and part.frame_rate == pytest.approx(29.97 / 2)
    assert torch.equal(part.transl, drawn(10).transl[2:8:2])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"frame": "z_up"}, "world_zup, got 'z_up'"),
        ({"gender": "man"}, "male"),
        ({"frame_rate": 0.0}, "positive"),
        ({"frame_rate": float("nan")}, "positive"),
        ({"rotvec": torch.zeros(0, 24, 3), "transl": torch.zeros(0, 3)}, "no frames"),
        ({"transl": torch.full((4, 3), torch.nan)}, "transl holds NaN"),
    ],
)
def test_a_motion_of_nonsense_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(drawn(), **changed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_motion_makes_the_round_trip_in_amass_layout(tmp_path, dtype):
    motion = drawn(dtype=dtype, frame="world_zup", gender="male")
    path = export.save_amass(tmp_path / "new" / "clip.npz", motion)
    with np.load(path) as stored:
        assert stored["poses"].shape == (4, 72) and stored["poses"].dtype == motion.rotvec.numpy().dtype
        assert stored["mocap_framerate"] == stored["mocap_frame_rate"] == 29.97
        assert (stored["surface_model_type"], stored["frame"], stored["gender"]) == ("smpl", "world_zup", "male")
    back = export.load_amass(path)
    for name in ("rotvec", "transl", "betas"):
        assert torch.equal(getattr(back, name), getattr(motion, name).float())
    facts = ("frame_rate", "frame", "gender", "surface_model_type")
    assert [getattr(back, name) for name in facts] == [getattr(motion, name) for name in facts]


def test_the_padded_layout_has_flat_hands_and_keeps_the_rest(tmp_path):
    motion = drawn()
    path = export.save_amass(tmp_path / "clip.npz", motion, layout="smplh")
    with np.load(path) as stored:
        assert stored["poses"].shape == (4, 156) and not stored["poses"][:, 66:].any()
        assert stored["betas"].shape == (16,) and not stored["betas"][10:].any()
    back = export.load_amass(path)
    assert torch.equal(back.rotvec[:, :22], motion.rotvec[:, :22]) and not back.rotvec[:, 22:].any()
    assert back.surface_model_type == "smplh" and back.frame == "camera_opencv"


@pytest.mark.parametrize("spelling", ["mocap_framerate", "mocap_frame_rate"])
def test_either_spelling_of_the_frame_rate_is_read(amass_file, spelling):
    path = amass_file(**({"mocap_framerate": None} | {spelling: np.float64(60)}))
    assert export.load_amass(path).frame_rate == 60


def test_a_file_of_amass_is_z_up_and_its_bytes_are_words(amass_file):
    motion = export.load_amass(amass_file(gender=np.bytes_("Male")))
    assert (motion.frame, motion.gender, motion.surface_model_type) == ("world_zup", "male", "smplh")
    assert motion.betas.tolist() == list(range(10))


def test_a_body_refuses_the_shape_of_another_family(human, amass_file, tmp_path):
    motion = export.load_amass(amass_file(poses=np.zeros((5, 165))))
    assert motion.surface_model_type == "smplx"
    for refuses in (
        lambda: export.in_frame(motion, human, "world_yup"),
        lambda: export.save_amass(tmp_path / "again.npz", motion),
    ):
        with pytest.raises(ValueError, match=r"'smplx'.*betas=torch.zeros\(10\)"):
            refuses()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"poses": np.zeros((5, 75))}, r"'poses' has shape \(5, 75\), expected \(T, n\) with n one of 72 \(smpl\)"),
        ({"poses": None}, "no field 'poses'"),
        ({"poses": np.zeros((0, 72)), "trans": np.zeros((0, 3))}, "no frames"),
        ({"poses": np.full((5, 72), np.nan)}, "rotvec holds NaN"),
        ({"poses": np.full((5, 72), "x")}, "'poses' holds <U1, expected numbers"),
        ({"trans": np.zeros((4, 3))}, r"'trans' has shape \(4, 3\), expected \(5, 3\)"),
        ({"betas": np.zeros(3)}, "'betas' has shape"),
        ({"gender": np.str_("")}, "gender must be one of"),
        ({"frame": np.str_("upwards")}, "frame must be one of"),
        ({"mocap_framerate": None}, "no field mocap_framerate or mocap_frame_rate"),
        ({"mocap_frame_rate": np.float64(60)}, "must be one number, the same"),
        ({"gender": np.array([{"of": "objects"}], dtype=object)}, "not an npz file of plain arrays"),
    ],
)
def test_a_damaged_motion_is_refused_by_file_and_field(amass_file, changed, message):
    path = amass_file("broken.npz", **changed)
    with pytest.raises(ValueError, match=message) as refusal:
        export.load_amass(path)
    assert "broken.npz" in str(refusal.value)


@pytest.mark.parametrize("load", [export.load_amass, export.load_predictions])
def test_truncated_and_absent_files_are_refused(amass_file, tmp_path, load):
    path = amass_file()
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"clip\.npz: not an npz file"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load(tmp_path / "none.npz")


def test_unknown_layouts_and_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="smpl, smplh"):
        export.save_amass(tmp_path / "clip.npz", drawn(), layout="smplx")
    with pytest.raises(ValueError, match=r"\.npz"):
        export.save_amass(tmp_path / "clip.pkl", drawn())
    assert not list(tmp_path.iterdir())


@pytest.fixture
def said() -> export.Predictions:
    g = torch.Generator().manual_seed(2)
    shapes = {"rotvec": (6, 24, 3), "betas": (6, 10), "weak": (6, 3), "joints": (6, 17, 3)}
    return export.Predictions(**{name: torch.randn(*shape, generator=g) for name, shape in shapes.items()})


def test_predictions_make_the_round_trip_under_spins_names(said, tmp_path):
    path = export.save_predictions(tmp_path / "new" / "result.npz", said)
    with np.load(path) as stored:
        assert {key: stored[key].shape for key in stored} == {
            "pose": (6, 72),
            "betas": (6, 10),
            "camera": (6, 3),
            "pred_joints": (6, 17, 3),
        }
        np.testing.assert_array_equal(stored["pose"][:, 3:6], said.rotvec[:, 1].numpy())
    back = export.load_predictions(path)
    for name in ("rotvec", "betas", "weak", "joints"):
        assert torch.equal(getattr(back, name), getattr(said, name))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"pose": np.zeros((6, 82))}, r"'pose' is float64 \(6, 82\), expected floats \(6, 72\)"),
        ({"camera": np.zeros((5, 3))}, "'camera'"),
        ({"betas": np.full((6, 10), np.inf)}, "'betas' holds NaN"),
        ({"pred_joints": np.array([{}] * 6)}, "not an npz file of plain arrays"),
    ],
)
def test_damaged_predictions_are_refused_by_file_and_field(said, tmp_path, changed, message):
    path = export.save_predictions(tmp_path / "result.npz", said)
    with np.load(path) as stored:
        fields = dict(stored)
    np.savez(path, **(fields | changed))
    with pytest.raises(ValueError, match=message) as refusal:
        export.load_predictions(path)
    assert "result.npz" in str(refusal.value)
    np.savez(path, **{key: value for key, value in fields.items() if key != "camera"})
    with pytest.raises(ValueError, match="no field 'camera'"):
        export.load_predictions(path)
