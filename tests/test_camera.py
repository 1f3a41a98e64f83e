import pytest
import torch

from spinkit import camera


def scene(batch=(), n=12, seed=0, dtype=torch.float64):
    """A cloud of the size of a person, and the translation that brings it before the camera."""
    g = torch.Generator().manual_seed(seed)
    points = torch.randn(*batch, n, 3, generator=g, dtype=dtype) * torch.tensor([0.3, 0.5, 0.2], dtype=dtype)
    at = torch.randn(*batch, 3, generator=g, dtype=dtype) * torch.tensor([0.2, 0.2, 4.0], dtype=dtype)
    return points, at + torch.tensor([0.0, 0.0, 45.0], dtype=dtype)


def test_the_origin_of_the_body_is_seen_at_the_weak_cameras_place():
    weak = torch.tensor([0.9, 0.1, -0.2], dtype=torch.float64)
    seen = camera.project(camera.from_weak(weak), torch.zeros(1, 3, dtype=torch.float64))
    expected = 112 * (1 + 0.9 * weak[None, 1:])
    torch.testing.assert_close(seen, expected)


def test_a_weak_scale_of_nine_tenths_is_a_depth_of_49_6_metres():
    depth = camera.from_weak(torch.tensor([0.9, 0.0, 0.0])).translation[2]
    assert depth.item() == pytest.approx(49.6, abs=0.01)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_weak_cameras_survive_the_round_trip(batch):
    weak = torch.rand(*batch, 3, dtype=torch.float64) + 0.3
    again = camera.to_weak(camera.from_weak(weak, focal=1200.0))
    torch.testing.assert_close(again, weak, atol=1e-9, rtol=0)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_the_translation_of_a_projected_body_is_found_again(batch):
    points, translation = scene(batch)
    seen = camera.project(camera.crop_camera(translation), points)
    found = camera.solve_translation(points, seen, torch.ones(*batch, 12, dtype=torch.float64))
    torch.testing.assert_close(found, translation, atol=1e-3, rtol=0)


def test_single_precision_finds_the_translation_to_a_hundredth_of_a_pixel():
    points, translation = scene((32,), dtype=torch.float32)
    seen = camera.project(camera.crop_camera(translation), points)
    found = camera.solve_translation(points, seen, torch.ones(32, 12))
    again = camera.project(camera.crop_camera(found), points)
    torch.testing.assert_close(again, seen, atol=1e-2, rtol=0)


def test_the_translation_agrees_with_the_normal_equations_on_noisy_keypoints():
    """The plain reference: two rows a point, weighted, three unknowns."""
    points, translation = scene()
    g = torch.Generator().manual_seed(1)
    xy = camera.project(camera.crop_camera(translation), points)
    xy = xy + 5 * torch.randn(12, 2, generator=g, dtype=torch.float64)
    w = torch.rand(12, generator=g, dtype=torch.float64)
    rows, right = torch.zeros(24, 3, dtype=torch.float64), torch.zeros(24, dtype=torch.float64)
    for i, ((u, v), (x, y, z)) in enumerate(zip(xy, points, strict=True)):
        rows[2 * i] = torch.stack([xy.new_tensor(5000.0), xy.new_tensor(0.0), 112 - u])
        rows[2 * i + 1] = torch.stack([xy.new_tensor(0.0), xy.new_tensor(5000.0), 112 - v])
        right[2 * i], right[2 * i + 1] = (u - 112) * z - 5000 * x, (v - 112) * z - 5000 * y
    weight = w.sqrt().repeat_interleave(2)
    expected = torch.linalg.lstsq(rows * weight[:, None], (right * weight)[:, None]).solution[:, 0]
    torch.testing.assert_close(camera.solve_translation(points, xy, w), expected, atol=1e-3, rtol=1e-6)


def test_missing_keypoints_do_not_move_the_translation():
    points, translation = scene()
    xy = camera.project(camera.crop_camera(translation), points)
    w = torch.ones(12, dtype=torch.float64)
    w[5:] = 0
    moved = torch.where(w[:, None] > 0, xy, xy + 1e4)
    before = xy.clone()
    torch.testing.assert_close(
        camera.solve_translation(points, moved, w), camera.solve_translation(points, xy, w), atol=0, rtol=0
    )
    assert torch.equal(xy, before)


@pytest.mark.parametrize("visible", [0, 1, 12])
def test_keypoints_that_say_nothing_of_depth_still_give_a_camera_in_front_of_the_body(visible):
    points, _ = scene()
    w = torch.zeros(12, dtype=torch.float64)
    w[:visible] = 1
    found = camera.solve_translation(points, torch.full((12, 2), 60.0, dtype=torch.float64), w)
    seen = camera.project(camera.crop_camera(found), points)
    assert torch.isfinite(seen).all()
    assert found[2] > 1
    if visible == 1:
        torch.testing.assert_close(seen[0], torch.full((2,), 60.0, dtype=torch.float64), atol=0.1, rtol=0)


def test_a_given_centre_and_focal_length_are_those_of_the_projection():
    points, translation = scene((2,))
    center = torch.tensor([[300.0, 200.0], [640.0, 360.0]], dtype=torch.float64)
    focal = torch.full((2,), 1400.0, dtype=torch.float64)
    seen = camera.project(camera.Camera(translation, focal, center), points)
    w = torch.ones(2, 12, dtype=torch.float64)
    found = camera.solve_translation(points, seen, w, focal=1400.0, center=center)
    torch.testing.assert_close(found, translation, atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_a_photo_camera_sees_what_the_crop_camera_sees_scaled_to_the_box(batch):
    points, translation = scene(batch)
    box = torch.rand(*batch, 3, dtype=torch.float64) * 400 + 100
    crop = camera.crop_camera(translation)
    seen, in_photo = camera.project(crop, points), camera.project(camera.photo_camera(crop, box), points)
    expected = box[..., None, :2] + (seen - 112) * box[..., None, 2:] / 224
    torch.testing.assert_close(in_photo, expected)


def test_projection_has_derivatives_that_finite_differences_confirm():
    points, translation = scene()
    assert torch.autograd.gradcheck(
        lambda p, t: camera.project(camera.crop_camera(t), p),
        (points.requires_grad_(), translation.requires_grad_()),
    )


def test_an_index_selects_cameras():
    _, translation = scene((3,))
    one = camera.crop_camera(translation)[1].to(torch.float32).detach()
    assert one.focal.shape == () and torch.equal(one.translation, translation[1].float())
