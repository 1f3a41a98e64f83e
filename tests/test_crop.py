import math

import pytest
import roma
import torch

from spinkit import camera, crop
from spinkit.keypoints import JOINT_MIRROR, JOINT_PARENTS, MIRROR, Keypoints


def changes(n=6, seed=0):
    """Every combination of mirrored and turned, in double precision."""
    g = torch.Generator().manual_seed(seed)
    turn = torch.rand(n, generator=g, dtype=torch.float64) * 2 - 1
    scale = 0.75 + 0.5 * torch.rand(n, generator=g, dtype=torch.float64)
    turn[0::3] = 0
    return crop.Change(torch.arange(n) % 2 == 1, turn, scale, torch.ones(n, 3, dtype=torch.float64))


def one_change(mirror=False, turn=0.0, scale=1.0, colour=(1.0, 1.0, 1.0)):
    return crop.Change(torch.tensor([mirror]), *(torch.tensor([x]) for x in (turn, scale, colour)))


def random_pose(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 0.8 * torch.randn(n, 24, 3, generator=g, dtype=torch.float64)


def joints_of(rotvec):
    """A chain of bones, alike on the left and the right, posed joint by joint: a body reduced to the bone."""
    g = torch.Generator().manual_seed(9)
    bones = 0.2 * torch.randn(24, 3, generator=g, dtype=torch.float64)
    bones = (bones + bones[list(JOINT_MIRROR)] * bones.new_tensor([-1.0, 1.0, 1.0])) / 2
    local = roma.rotvec_to_rotmat(rotvec)
    turned, at = [local[:, 0]], [torch.zeros(len(rotvec), 3, dtype=torch.float64)]
    for i in range(1, 24):
        parent = JOINT_PARENTS[i]
        at.append(at[parent] + turned[parent] @ bones[i])
        turned.append(turned[parent] @ local[:, i])
    return torch.stack(at, dim=1)


def test_a_positive_turn_is_counter_clockwise_as_displayed():
    right_of_centre = torch.tensor([[[212.0, 112.0]]])
    turned = crop.change_points(one_change(turn=math.pi / 2), right_of_centre)
    torch.testing.assert_close(turned, torch.tensor([[[112.0, 12.0]]]), atol=1e-4, rtol=0)


def test_a_mirrored_point_lies_at_224_minus_x_and_the_turn_comes_first():
    point = torch.tensor([[[212.0, 62.0]]])
    mirrored = crop.change_points(one_change(mirror=True), point)
    assert mirrored.tolist() == [[[12.0, 62.0]]]
    both = crop.change_points(one_change(mirror=True, turn=0.3), point)
    in_order = crop.change_points(one_change(mirror=True), crop.change_points(one_change(turn=0.3), point))
    torch.testing.assert_close(both, in_order)


def test_a_larger_box_makes_the_person_smaller():
    point = torch.tensor([[[212.0, 62.0]]])
    assert crop.change_points(one_change(scale=1.25), point).tolist() == [[[192.0, 72.0]]]


def test_mirrored_keypoints_take_the_names_and_confidences_of_the_other_side():
    g = torch.Generator().manual_seed(0)
    keypoints = Keypoints(224 * torch.rand(1, 49, 2, generator=g), torch.rand(1, 49, generator=g))
    mirrored = crop.change_keypoints(one_change(mirror=True), keypoints)
    expected = keypoints.xy[:, list(MIRROR)] * torch.tensor([-1.0, 1.0]) + torch.tensor([224.0, 0.0])
    torch.testing.assert_close(mirrored.xy, expected)
    assert torch.equal(mirrored.confidence, keypoints.confidence[:, list(MIRROR)])
    twice = crop.change_keypoints(one_change(mirror=True), mirrored)
    torch.testing.assert_close(twice.xy, keypoints.xy)


def test_keypoints_outside_the_crop_stay_true_and_missing_ones_stay_missing():
    confidence = torch.ones(1, 49)
    confidence[:, 3] = 0
    changed = crop.change_keypoints(one_change(turn=0.5, scale=0.75), Keypoints(torch.zeros(1, 49, 2), confidence))
    assert (changed.xy < 0).any() and torch.equal(changed.confidence, confidence)


def test_no_change_changes_nothing():
    none, pose = crop.Change.none(3), random_pose(3)
    assert torch.equal(crop.change_rotvec(none, pose), pose)
    g = torch.Generator().manual_seed(0)
    xy = 224 * torch.rand(3, 49, 2, generator=g)
    torch.testing.assert_close(crop.change_points(none, xy), xy)
    image = torch.rand(3, 3, 16, 16, generator=g)
    torch.testing.assert_close(crop.change_image(none, image, 16, margin=1.0), image)


def test_a_posed_body_changes_as_its_joints_do():
    change, pose = changes(), random_pose(6)
    expected = crop.change_keypoints_3d(change, joints_of(pose), torch.tensor(JOINT_MIRROR))
    torch.testing.assert_close(joints_of(crop.change_rotvec(change, pose)), expected)


def test_the_changed_body_is_seen_where_the_changed_keypoints_lie():
    """Turning and mirroring the body with its camera changes the picture as the change does its points."""
    change, pose = changes(), random_pose(6)
    at = torch.tensor([0.1, -0.2, 40.0], dtype=torch.float64).expand(6, 3)
    seen = camera.project(camera.crop_camera(at), joints_of(pose))
    changed = crop.change_points(change, seen)
    swapped = torch.where(change.mirror[:, None, None], changed[:, list(JOINT_MIRROR)], changed)

    at_changed = crop.change_keypoints_3d(change, at[:, None])[:, 0]
    center = torch.full((6, 2), 112.0, dtype=torch.float64)
    matching = camera.Camera(at_changed, camera.FOCAL / change.scale, center)
    again = camera.project(matching, joints_of(crop.change_rotvec(change, pose)))
    torch.testing.assert_close(again, swapped)


@pytest.mark.parametrize("n", [1, 6])
def test_a_pose_is_restored_whatever_the_change(n):
    change, pose = changes(n), random_pose(n, seed=2)
    for back in (
        crop.restore_rotvec(change, crop.change_rotvec(change, pose)),
        crop.change_rotvec(change, crop.restore_rotvec(change, pose)),
    ):
        torch.testing.assert_close(roma.rotvec_to_rotmat(back), roma.rotvec_to_rotmat(pose))
        torch.testing.assert_close(back[:, 1:], pose[:, 1:])


def spots(xy, side, margin):
    """Images of `side` pixels that cover `margin` crops, with one soft bright spot at xy, in crop pixels."""
    pixel = (torch.arange(side) + 0.5) / side * 224 * margin + 112 * (1 - margin)
    square = (pixel[None, None, :] - xy[:, 0, None, None]) ** 2 + (pixel[None, :, None] - xy[:, 1, None, None]) ** 2
    return (-square / (2 * 12.0**2)).exp()[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("side, size, margin", [(80, 64, 1.25), (280, 224, 1.25), (280, 64, 1.25), (64, 64, 1.0)])
def test_the_image_shows_each_point_where_change_points_puts_it(side, size, margin):
    g = torch.Generator().manual_seed(1)
    xy = 112 + 40 * (2 * torch.rand(6, 2, generator=g) - 1)
    change = changes()
    image = crop.change_image(change, spots(xy, side, margin), size, margin)[:, 0]
    pixel = (torch.arange(size) + 0.5) / size * 224
    weight = image / image.sum(dim=(1, 2), keepdim=True)
    seen = torch.stack([(weight.sum(dim=1) * pixel).sum(dim=-1), (weight.sum(dim=2) * pixel).sum(dim=-1)], dim=-1)
    expected = crop.change_points(change, xy[:, None].double())[:, 0].float()
    torch.testing.assert_close(seen, expected, atol=0.5, rtol=0)


def test_colours_are_multiplied_and_stay_within_bounds():
    image = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    changed = crop.change_image(one_change(colour=(0.5, 1.0, 1.4)), image, 8, margin=1.0)
    expected = torch.tensor([100 / 255, 200 / 255, 1.0])
    torch.testing.assert_close(changed[0, :, 4, 4], expected)
    assert (image == 200).all()


def test_random_changes_repeat_with_their_seed_and_keep_to_their_settings():
    drawn = crop.Change.random(4000, torch.Generator().manual_seed(3))
    again = crop.Change.random(4000, torch.Generator().manual_seed(3))
    assert torch.equal(drawn.turn, again.turn) and torch.equal(drawn.colour, again.colour)
    # The published recipe: half mirrored, 60 % upright, 30 degrees cut at 60, sizes and colours cut too.
    assert drawn.mirror.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert (drawn.turn == 0).float().mean().item() == pytest.approx(0.6, abs=0.04)
    turned = drawn.turn[drawn.turn != 0]
    assert turned.std().item() == pytest.approx(math.radians(29), abs=0.03)
    assert turned.abs().max() <= math.radians(60) + 1e-6
    assert drawn.scale.min() >= 0.75 and drawn.scale.max() <= 1.25
    assert drawn.colour.min() >= 0.6 and drawn.colour.max() <= 1.4
    still = crop.Augmentation(mirror_probability=0.0, turn_probability=0.0, scale_deviation=0.0, colour_limit=0.0)
    calm = crop.Change.random(5, torch.Generator().manual_seed(3), still)
    none = crop.Change.none(5)
    assert all(torch.equal(getattr(calm, k), getattr(none, k)) for k in ("mirror", "turn", "scale", "colour"))


@pytest.mark.parametrize(
    "wrong",
    [{"mirror_probability": 1.5}, {"scale_limit": 1.0}, {"turn_deviation": -0.1}, {"colour_limit": math.nan}],
)
def test_impossible_augmentation_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        crop.Augmentation(**wrong)


def test_a_box_surrounds_the_visible_points_only():
    xy = torch.tensor([[10.0, 20.0], [50.0, 100.0], [900.0, 900.0]])
    box = crop.box_around(xy, torch.tensor([1.0, 0.3, 0.0]))
    torch.testing.assert_close(box, torch.tensor([30.0, 60.0, 96.0]))


@pytest.mark.parametrize("confidence, complaint", [([0.0, 0.0], "no visible keypoint"), ([1.0, 0.0], "span 0")])
def test_a_box_around_nothing_is_refused(confidence, complaint):
    with pytest.raises(ValueError, match=complaint):
        crop.box_around(torch.tensor([[10.0, 20.0], [50.0, 100.0]]), torch.tensor(confidence))


def test_keypoints_of_a_photo_move_into_the_crop_and_missing_ones_lie_at_zero():
    in_photo = Keypoints(torch.full((2, 49, 2), 225.0), (torch.arange(49) < 25).float().expand(2, 49))
    seen = crop.crop_keypoints(in_photo, torch.tensor([[300.0, 225.0, 150.0], [225.0, 225.0, 50.0]]))
    assert seen.xy[0, 0].tolist() == [0.0, 112.0] and seen.xy[1, 0].tolist() == [112.0, 112.0]
    assert (seen.xy[:, 25:] == 0).all() and torch.equal(seen.confidence, in_photo.confidence)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_boxs_centre_and_edges_become_those_of_the_crop(batch):
    box = torch.tensor([300.0, 200.0, 150.0], dtype=torch.float64).expand(*batch, 3)
    corners = torch.tensor([[300.0, 200.0], [225.0, 125.0], [375.0, 275.0]], dtype=torch.float64)
    seen = crop.apply_affine(crop.crop_from_photo(box), corners.expand(*batch, 3, 2))
    expected = torch.tensor([[112.0, 112.0], [0.0, 0.0], [224.0, 224.0]], dtype=torch.float64)
    torch.testing.assert_close(seen, expected.expand(*batch, 3, 2))


def test_a_square_at_the_photos_own_scale_is_its_pixels_and_black_beyond():
    g = torch.Generator().manual_seed(0)
    photo = torch.randint(1, 256, (20, 30, 3), generator=g, dtype=torch.uint8)
    inside = crop.square(photo, torch.tensor([13.0, 9.0, 10.0]), 10)
    assert torch.equal(inside, photo[4:14, 8:18].permute(2, 0, 1))
    corner = crop.square(photo, torch.tensor([0.0, 0.0, 10.0]), 10)
    assert torch.equal(corner[:, 5:, 5:], photo[:5, :5].permute(2, 0, 1))
    assert (corner[:, :5] == 0).all() and (corner[:, :, :5] == 0).all()


def test_a_margin_widens_the_square_about_the_same_centre():
    g = torch.Generator().manual_seed(0)
    photo = torch.randint(1, 256, (40, 40, 3), generator=g, dtype=torch.uint8)
    wide = crop.square(photo, torch.tensor([20.0, 20.0, 16.0]), 20, margin=1.25)
    assert torch.equal(wide, photo[10:30, 10:30].permute(2, 0, 1))


def test_a_shrunk_square_averages_fine_stripes():
    photo = torch.zeros(64, 64, 3, dtype=torch.uint8)
    photo[:, ::2] = 255
    small = crop.square(photo, torch.tensor([32.0, 32.0, 64.0]), 8)
    assert (small[:, 1:-1, 1:-1].float() - 127.5).abs().max() < 8


@pytest.mark.parametrize("side", [0.0, -3.0, math.nan, math.inf])
def test_a_box_without_a_side_is_refused(side):
    with pytest.raises(ValueError, match="positive side"):
        crop.square(torch.zeros(8, 8, 3, dtype=torch.uint8), torch.tensor([4.0, 4.0, side]), 8)
