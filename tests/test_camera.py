import math

import pytest
import torch
from PIL import ExifTags, Image

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


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_a_camera_survives_the_way_to_the_photo_and_back(batch):
    _, translation = scene(batch)
    box = torch.rand(*batch, 3, dtype=torch.float64) * 400 + 100
    crop = camera.crop_camera(translation)
    again = camera.cropped_camera(camera.photo_camera(crop, box), box)
    torch.testing.assert_close(again.focal, crop.focal)
    torch.testing.assert_close(again.center, crop.center)
    assert torch.equal(again.translation, translation)


def test_the_crop_of_a_photo_camera_sees_the_photos_pixels_shifted_and_scaled():
    points = torch.tensor([[0.0, 0.0, 0.0], [0.5, -0.25, 1.0]], dtype=torch.float64)
    at = torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64)
    photo = camera.Camera(at, at.new_tensor(800.0), at.new_tensor([320.0, 240.0]))
    box = at.new_tensor([400.0, 200.0, 448.0])
    cropped = camera.cropped_camera(photo, box)
    # The photo shows the second point at 320 + 800 * 0.5 / 5 = 400 and 240 - 800 * 0.25 / 5 = 200: the box's centre.
    expected = at.new_tensor([[112 - 80 / 2, 112 + 40 / 2], [112.0, 112.0]])
    torch.testing.assert_close(camera.project(cropped, points), expected)
    assert cropped.focal == 400


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_another_lens_keeps_the_place_and_size_of_what_is_at_the_depth_of_the_body(batch):
    points, translation = scene(batch)
    flat = points * points.new_tensor([1.0, 1.0, 0.0])
    weak = camera.crop_camera(translation)
    lens = camera.with_intrinsics(weak, 400.0, points.new_tensor([-60.0, 250.0]))
    torch.testing.assert_close(camera.project(lens, flat), camera.project(weak, flat))
    torch.testing.assert_close(lens.translation[..., 2], translation[..., 2] * 400 / 5000)
    assert (lens.focal == 400).all() and (lens.center == points.new_tensor([-60.0, 250.0])).all()


def test_another_lens_moves_the_other_points_by_as_much_as_the_docstring_says():
    points, translation = scene((5,))
    z, flat = points[..., 2:], points * points.new_tensor([1.0, 1.0, 0.0])
    weak = camera.crop_camera(translation)
    lens = camera.with_intrinsics(weak, 500.0, points.new_tensor([30.0, 90.0]))
    r, r_new = (camera.project(c, flat) - c.center[:, None] for c in (weak, lens))
    depth, depth_new = (c.translation[:, None, 2:] for c in (weak, lens))
    moved = camera.project(lens, points) - camera.project(weak, points)
    torch.testing.assert_close(moved, z * (r / (depth + z) - r_new / (depth_new + z)))
    assert moved.abs().max() > 1, "pixels: the two lenses do differ"


def test_another_lens_and_back_is_the_same_camera():
    _, translation = scene((3,))
    crop = camera.crop_camera(translation)
    focal = torch.tensor([300.0, 900.0, 2000.0], dtype=torch.float64)
    there = camera.with_intrinsics(crop, focal, translation.new_tensor([10.0, 20.0]))
    again = camera.with_intrinsics(there, camera.FOCAL, crop.center)
    torch.testing.assert_close(again.translation, translation)
    kept = camera.with_intrinsics(crop, focal)
    assert torch.equal(kept.center, crop.center)
    torch.testing.assert_close(camera.to_weak(kept), camera.to_weak(crop))


def test_a_lens_without_length_is_refused():
    with pytest.raises(ValueError, match="must be positive, got 0 pixels"):
        camera.with_intrinsics(camera.crop_camera(torch.ones(3)), 0.0)
    with pytest.raises(ValueError, match="must be positive"):
        camera.view_angle(-1.0, (4, 3))
    with pytest.raises(ValueError, match="must be positive"):
        camera.focal_from_35mm(0.0, (4, 3))


@pytest.mark.parametrize("along, focal", [("vertical", 150.0), ("horizontal", 200.0), ("diagonal", 250.0)])
def test_a_field_of_view_of_ninety_degrees_is_a_focal_length_of_half_the_picture(along, focal):
    assert camera.focal_from_view(math.pi / 2, (300, 400), along) == pytest.approx(focal)
    assert camera.view_angle(focal, (300, 400), along) == pytest.approx(math.pi / 2)


def test_a_point_at_the_edge_of_the_field_of_view_is_seen_at_the_edge_of_the_picture():
    focal = camera.focal_from_view(math.radians(50), (480, 640), "vertical")
    edge = torch.tensor([[0.0, 3 * math.tan(math.radians(25)), 0.0]])
    looking = camera.Camera(torch.tensor([0.0, 0.0, 3.0]), torch.tensor(focal), torch.tensor([320.0, 240.0]))
    torch.testing.assert_close(camera.project(looking, edge), torch.tensor([[320.0, 480.0]]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 50.0, math.pi])
def test_an_angle_that_cannot_be_one_in_radians_is_refused(angle):
    with pytest.raises(ValueError, match="between 0 and pi"):
        camera.focal_from_view(angle, (480, 640))


def test_a_picture_without_extent_is_refused():
    with pytest.raises(ValueError, match="positive height and width"):
        camera.focal_from_view(1.0, (0, 640))


def test_a_lens_of_50_mm_sees_47_degrees_whatever_the_orientation():
    focal = camera.focal_from_35mm(50.0, (2400, 3600))
    assert focal == pytest.approx(5000.0), "3600 pixels are 36 mm"
    assert camera.focal_from_35mm(50.0, (3600, 2400)) == focal
    assert math.degrees(camera.view_angle(focal, (2400, 3600))) == pytest.approx(46.8, abs=0.05)


def write_photo(path, millimetres):
    exif = Image.Exif()
    if millimetres is not None:
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: millimetres}
    Image.new("RGB", (400, 300)).save(path, exif=exif)
    return path


def test_a_photo_tells_its_focal_length(tmp_path):
    assert camera.exif_focal(write_photo(tmp_path / "told.jpg", 26)) == camera.focal_from_35mm(26.0, (300, 400))


@pytest.mark.parametrize("told", [None, 0])
def test_a_photo_that_does_not_know_its_lens_says_so(tmp_path, told):
    assert camera.exif_focal(write_photo(tmp_path / "silent.jpg", told)) is None


def test_what_is_no_photo_is_refused_with_its_name(tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(ValueError, match=r"text\.jpg is no photo"):
        camera.exif_focal(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        camera.exif_focal(tmp_path / "absent.jpg")
