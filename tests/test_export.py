"""Files for other programs: what is written can be read back, upright."""

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
