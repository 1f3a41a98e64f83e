"""Files for other programs: what is written can be read back, upright, and SPIN's layout is SPIN's."""

import numpy as np
import pytest
import torch
import trimesh

from spinkit import export


@pytest.fixture
def box() -> tuple[torch.Tensor, torch.Tensor]:
    """A closed mesh whose corners all differ."""
    mesh = trimesh.creation.box((1.0, 2.0, 3.0))
    return torch.tensor(mesh.vertices, dtype=torch.float32) + 0.25, torch.tensor(mesh.faces)


@pytest.mark.parametrize("ending", [".obj", ".ply", ".glb"])
def test_a_mesh_comes_back_in_the_same_order(box, tmp_path, ending):
    vertices, faces = box
    path = export.save_mesh(tmp_path / "new folder" / f"body{ending}", vertices, faces)
    read = trimesh.load(path, force="mesh", process=False)
    np.testing.assert_allclose(read.vertices, vertices.numpy(), atol=1e-6)
    np.testing.assert_array_equal(read.faces, faces.numpy())


@pytest.mark.parametrize("ending", [".obj", ".ply", ".glb"])
def test_a_mesh_of_the_camera_frame_is_written_upright_and_right_side_out(box, tmp_path, ending):
    vertices, faces = box
    before = vertices.clone()
    path = export.save_mesh(tmp_path / f"body{ending}", vertices, faces, y_up=True)
    read = trimesh.load(path, force="mesh", process=False)
    np.testing.assert_allclose(read.vertices, vertices.numpy() * [1, -1, -1], atol=1e-6)
    assert read.volume == pytest.approx(6.0), "a negative volume would be a mirrored body"
    assert torch.equal(vertices, before)


def test_an_unknown_ending_is_refused(box, tmp_path):
    with pytest.raises(ValueError, match=r"\.obj, \.ply, \.glb"):
        export.save_mesh(tmp_path / "body.fbx", *box)


def test_a_mesh_with_nan_is_refused(box, tmp_path):
    vertices = box[0].clone()
    vertices[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        export.save_mesh(tmp_path / "body.obj", vertices, box[1])
    assert not list(tmp_path.iterdir())


def test_spin_fits_make_the_round_trip_in_spins_layout(tmp_path):
    generator = torch.Generator().manual_seed(0)
    rotvec, betas = torch.randn(5, 24, 3, generator=generator), torch.randn(5, 10, generator=generator)
    path = export.save_spin_fits(tmp_path / "coco_fits.npy", rotvec, betas)
    rows = np.load(path)
    assert rows.shape == (5, 82)
    np.testing.assert_array_equal(rows[:, 3:6], rotvec[:, 1].numpy())
    np.testing.assert_array_equal(rows[:, 72:], betas.numpy())
    back = export.load_spin_fits(path)
    assert torch.equal(back[0], rotvec) and torch.equal(back[1], betas)


def test_files_that_are_no_spin_fits_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        export.load_spin_fits(tmp_path / "none.npy")
    np.save(tmp_path / "wide.npy", np.zeros((3, 85)))
    with pytest.raises(ValueError, match=r"\(N, 82\)"):
        export.load_spin_fits(tmp_path / "wide.npy")
    rows = np.zeros((3, 82))
    rows[1, 5] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    with pytest.raises(ValueError, match=r"nan\.npy: row 1 is not finite"):
        export.load_spin_fits(tmp_path / "nan.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match=r"text\.npy: not an npy file"):
        export.load_spin_fits(tmp_path / "text.npy")
    with pytest.raises(ValueError, match=r"\.npy"):
        export.save_spin_fits(tmp_path / "fits.npz", torch.zeros(1, 24, 3), torch.zeros(1, 10))
