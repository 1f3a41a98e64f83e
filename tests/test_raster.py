"""The z-buffer against a pixel-by-pixel reference, and the properties that a picture must have."""

import numpy as np
import pytest
import torch

from spinkit import raster

FOCAL, SIZE = 30.0, (20, 24)
OCTAHEDRON = torch.tensor([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]).float()
OCTAHEDRON_FACES = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)


def camera(batch, dtype=torch.float32):
    center = torch.tensor([SIZE[1] / 2 - 0.7, SIZE[0] / 2 + 0.4], dtype=dtype)
    return torch.full((batch,), FOCAL, dtype=dtype), center.expand(batch, 2)


def soup(batch, count, seed, dtype=torch.float64):
    """Random triangles, some of them outside the picture or behind the camera."""
    g = torch.Generator().manual_seed(seed)
    vertices = torch.randn(batch, 3 * count, 3, generator=g, dtype=dtype)
    vertices = vertices * vertices.new_tensor([1.0, 1.0, 0.8]) + vertices.new_tensor([0.0, 0.0, 2.5])
    return vertices, torch.arange(3 * count).view(count, 3)


def draw(vertices, faces, **options):
    return raster.rasterize(vertices, faces, *camera(len(vertices), vertices.dtype), SIZE, **options)


def sphere(dtype=torch.float32):
    """The octahedron, split three times and pushed out, two metres in front of the camera."""
    vertices, faces = OCTAHEDRON, OCTAHEDRON_FACES
    for _ in range(3):
        a, b, c = vertices[faces].unbind(dim=1)
        corners = torch.stack([a, b, c, a + b, b + c, c + a], dim=1)
        index = 6 * torch.arange(len(faces))[:, None]
        local = torch.tensor([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]])
        faces = (index[..., None] + local).reshape(-1, 3)
        vertices = torch.nn.functional.normalize(corners.reshape(-1, 3), dim=-1)
    return (0.5 * vertices + torch.tensor([0.0, 0.0, 2.0])).to(dtype)[None], faces


def reference(vertices, faces):
    """Every pixel against every face: cut the ray through the pixel's centre with the face's plane."""
    focal, center = FOCAL, camera(1, torch.float64)[1][0].numpy()
    depth, face = np.full(SIZE, np.inf), np.full(SIZE, -1)
    triangles = vertices.numpy()[faces.numpy()]
    for row, column in np.ndindex(*SIZE):
        ray = np.array([(column + 0.5 - center[0]) / focal, (row + 0.5 - center[1]) / focal, 1.0])
        for index, corners in enumerate(triangles):
            if corners[:, 2].min() <= raster.NEAR:
                continue
            weight = np.linalg.solve(corners.T, ray)  # ray * depth = corners.T @ barycentric.
            if (weight >= 0).all() and 1 / weight.sum() < depth[row, column]:
                depth[row, column], face[row, column] = 1 / weight.sum(), index
    return depth, face


def test_every_pixel_sees_what_a_ray_through_its_centre_hits_first():
    vertices, faces = soup(batch=2, count=12, seed=0)
    drawn = draw(vertices, faces)
    for body in range(2):
        depth, face = reference(vertices[body], faces)
        assert (face >= 0).any() and (face < 0).any()
        np.testing.assert_array_equal(drawn.face[body], face)
        np.testing.assert_allclose(drawn.depth[body], depth, rtol=1e-9)


def test_a_plane_is_as_deep_as_its_equation_says():
    vertices = torch.tensor([[[-9.0, -9.0, 1.0], [9.0, -9.0, 3.0], [0.0, 9.0, 2.0]]], dtype=torch.float64)
    drawn = draw(vertices, torch.tensor([[0, 1, 2]]))
    a, b, c = vertices[0]
    normal = torch.linalg.cross(b - a, c - a)
    focal, center = camera(1, torch.float64)
    row, column = torch.meshgrid(*(torch.arange(n) + 0.5 for n in SIZE), indexing="ij")
    ray = torch.stack([(column - center[0, 0]) / focal, (row - center[0, 1]) / focal, torch.ones(SIZE)], -1)
    assert drawn.mask.all()
    torch.testing.assert_close(drawn.depth[0], (a @ normal) / (ray @ normal))


def test_interpolated_positions_lie_on_the_ray_of_their_pixel():
    vertices, faces = soup(batch=3, count=15, seed=1)
    drawn = draw(vertices, faces)
    position = raster.interpolate(drawn, faces, vertices)[drawn.mask]
    _, row, column = drawn.mask.nonzero(as_tuple=True)
    focal, center = camera(3, torch.float64)
    seen = focal[0] * position[:, :2] / position[:, 2:] + center[0]
    torch.testing.assert_close(seen, torch.stack([column, row], -1) + 0.5, check_dtype=False)
    torch.testing.assert_close(position[:, 2], drawn.depth[drawn.mask])


def test_values_shared_by_all_bodies_equal_values_repeated_for_each():
    vertices, faces = soup(batch=2, count=9, seed=2)
    drawn = draw(vertices, faces)
    values = torch.arange(2.0 * vertices.shape[1]).view(-1, 2)
    shared = raster.interpolate(drawn, faces, values)
    torch.testing.assert_close(shared, raster.interpolate(drawn, faces, values.expand(2, -1, -1)))
    assert (shared[~drawn.mask] == 0).all()


def test_weights_sum_to_one_where_a_face_is_seen_and_to_zero_elsewhere():
    drawn = draw(*soup(batch=2, count=9, seed=3))
    torch.testing.assert_close(drawn.barycentric.sum(-1), drawn.mask.double())
    assert torch.equal(drawn.mask, drawn.depth.isfinite())


def test_a_batch_equals_its_bodies_one_by_one():
    vertices, faces = soup(batch=4, count=30, seed=4, dtype=torch.float32)
    together = draw(vertices, faces)
    for body in range(4):
        alone = draw(vertices[body : body + 1], faces)
        for field in ("face", "depth", "barycentric"):
            assert torch.equal(getattr(alone, field)[0], getattr(together, field)[body])


def test_a_closed_surface_looks_the_same_without_its_back_faces():
    vertices, faces = sphere()
    whole, culled = draw(vertices, faces), draw(vertices, faces, cull=True)
    assert torch.equal(whole.face, culled.face) and whole.mask.any()
    inside_out = draw(vertices, faces.flip(1), cull=True)
    assert (inside_out.depth[inside_out.mask] > whole.depth[inside_out.mask]).all()


def test_a_closed_surface_has_no_cracks():
    vertices, faces = sphere()
    drawn = raster.rasterize(vertices, faces, torch.tensor([200.0]), torch.full((1, 2), 64.0), 128)
    row, column = torch.meshgrid(torch.arange(128) - 63.5, torch.arange(128) - 63.5, indexing="ij")
    assert drawn.mask[0][row.hypot(column) < 48].all()
    assert not drawn.mask[0][row.hypot(column) > 53].any()


def test_the_lower_index_wins_where_two_faces_coincide():
    vertices, faces = sphere()
    twice = torch.cat([faces, faces])
    assert torch.equal(draw(vertices, twice).face, draw(vertices, faces).face)


def test_labels_name_the_face_that_is_seen():
    vertices, faces = sphere()
    drawn = draw(vertices, faces)
    right = vertices[0, faces].mean(dim=1)[:, 0] > 0
    named = raster.labels(drawn, torch.where(right, 2, 1))
    assert torch.equal(named > 0, drawn.mask)
    assert (named[0, :, :8] != 2).all() and (named[0, :, 15:] != 1).all()


def test_nothing_is_seen_of_an_empty_mesh_or_of_one_behind_the_camera():
    vertices, faces = sphere()
    for drawn in (draw(vertices, faces[:0]), draw(vertices - 4, faces), draw(vertices[:0], faces)):
        assert not drawn.mask.any()
        assert drawn.depth.isinf().all() and (drawn.barycentric == 0).all()
        assert raster.interpolate(drawn, faces, vertices[0]).shape == (*drawn.face.shape, 3)


def test_drawing_leaves_its_inputs_as_they_were():
    vertices, faces = soup(batch=2, count=9, seed=5)
    before = vertices.clone(), faces.clone()
    draw(vertices, faces, cull=True)
    assert torch.equal(vertices, before[0]) and torch.equal(faces, before[1])


@pytest.mark.parametrize("size", [0, (4, 0), (-1, 4)])
def test_a_picture_without_pixels_is_refused(size):
    vertices, faces = soup(batch=1, count=2, seed=6)
    with pytest.raises(ValueError, match="size of a raster must be positive"):
        raster.rasterize(vertices, faces, *camera(1, torch.float64), size)
