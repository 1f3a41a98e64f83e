from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from spinkit import crop, data
from spinkit.keypoints import Keypoints


def samples(n=4, side=20, name="made", seed=0):
    """A small set in memory, everything about it known."""
    g = torch.Generator().manual_seed(seed)
    every = torch.ones(n, dtype=torch.bool)
    joints = torch.cat([torch.randn(n, 24, 3, generator=g), torch.ones(n, 24, 1)], dim=-1)
    truth = data.Truth(torch.randn(n, 24, 3, generator=g), torch.randn(n, 10, generator=g), every, joints, every)
    return data.Samples(
        name=name,
        images=data.StoredImages(torch.randint(0, 256, (n, 3, side, side), generator=g, dtype=torch.uint8)),
        keypoints=Keypoints(224 * torch.rand(n, 49, 2, generator=g), torch.rand(n, 49, generator=g)),
        labels=truth,
        judge=None,
        margin=1.25,
    )


def write_photo(path, width=60, height=40):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_a_batch_without_change_is_the_stored_sample():
    made = samples()
    key = torch.tensor([2, 0])
    batch = data.make_batch(made, key, crop.Change.none(2), size=16)
    torch.testing.assert_close(batch.keypoints.xy, made.keypoints.xy[key])
    assert torch.equal(batch.labels.rotvec, made.labels.rotvec[key]) and torch.equal(batch.key, key)
    # 20 pixels cover 1.25 boxes, so the box itself is the 16 pixels in the middle.
    expected = made.images[key][:, :, 2:18, 2:18].float() / 255
    torch.testing.assert_close(batch.image, expected, atol=1e-5, rtol=0)


def test_a_batch_changes_image_keypoints_and_labels_alike():
    made = samples()
    change = crop.Change.random(4, torch.Generator().manual_seed(1))
    change = replace(change, mirror=torch.tensor([True, False, True, False]))
    key = torch.arange(4)
    before = made.labels.joints.clone()
    batch = data.make_batch(made, key, change, size=16)
    torch.testing.assert_close(batch.labels.rotvec, crop.change_rotvec(change, made.labels.rotvec))
    torch.testing.assert_close(batch.keypoints.xy, crop.change_keypoints(change, made.keypoints).xy)
    image = crop.change_image(change, made.images[key], 16, 1.25)
    torch.testing.assert_close(batch.image, image)
    assert torch.equal(made.labels.joints, before) and torch.equal(batch.labels.betas, made.labels.betas)


def test_mirrored_3d_joints_swap_sides_together_with_their_flags():
    made = samples(n=1)
    made.labels.joints[0, 0, 3] = 0  # the right ankle is missing
    mirror = replace(crop.Change.none(1), mirror=torch.tensor([True]))
    joints = data.make_batch(made, torch.tensor([0]), mirror, size=16).labels.joints
    assert joints[0, 5, 3] == 0 and joints[0, :, 3].sum() == 23
    reflected = made.labels.joints[0, 0, :3] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(joints[0, 5, :3], reflected)


def test_a_subset_is_the_same_people_in_the_order_asked_for():
    made = samples()
    made = replace(made, judge=made.labels)
    some = made.subset(torch.tensor([3, 1]))
    assert len(some) == 2
    assert torch.equal(some.images[torch.tensor([1])], made.images[torch.tensor([1])])
    assert torch.equal(some.keypoints.xy[0], made.keypoints.xy[3])
    assert torch.equal(some.judge.betas, made.labels.betas[[3, 1]])


def test_a_mixture_holds_its_parts_in_their_order():
    first, second = samples(n=3), samples(n=2, name="other", seed=1)
    both = data.mix([first, second])
    assert len(both) == 5 and both.name == "made+other" and both.judge is None
    key = torch.tensor([4, 0, 3, 2])
    expected = torch.stack(
        [second.images.pixels[1], first.images.pixels[0], second.images.pixels[0], first.images.pixels[2]]
    )
    assert torch.equal(both.images[key], expected)
    assert torch.equal(both.images[torch.tensor([-1])], second.images[torch.tensor([1])])
    assert torch.equal(both.keypoints.xy[3:], second.keypoints.xy)


def test_a_mixture_knows_which_of_its_people_can_be_judged():
    judged = samples(n=3)
    judged = replace(judged, judge=judged.labels)
    both = data.mix([samples(n=2), judged])
    assert both.judge.has_smpl.tolist() == [False, False, True, True, True]
    assert torch.equal(both.judge.betas[2:], judged.labels.betas)


@pytest.mark.parametrize(
    "parts, complaint",
    [
        (list, "nothing to mix"),
        (lambda: [samples(), samples(side=24)], "differ in size"),
        (lambda: [samples(), replace(samples(), margin=1.0)], "differ in margin"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(parts, complaint):
    with pytest.raises(ValueError, match=complaint):
        data.mix(parts())


def test_a_mapped_file_gives_pictures_that_can_be_written_to_without_changing_it(tmp_path):
    np.save(tmp_path / "pixels.npy", np.full((3, 3, 8, 8), 9, dtype=np.uint8))
    store = data.StoredImages(np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    taken = store[torch.tensor([1, 1])]
    taken[:] = 0
    assert len(store) == 3 and store.size == 8 and (store[torch.tensor([1])] == 9).all()


def test_photo_crops_do_not_depend_on_how_many_photos_are_kept(tmp_path):
    for i in range(3):
        write_photo(tmp_path / f"{i}.png", width=30 + i)
    photos = [tmp_path / f"{i}.png" for i in (0, 1, 2, 0, 1)]
    boxes = torch.tensor([[15.0, 10.0, 12.0 + i] for i in range(5)])
    key = torch.tensor([4, 0, 3, 1, 2])
    few, many = (data.PhotoCrops(photos, boxes, 10, 1.25, photos_kept=kept) for kept in (1, 8))
    assert torch.equal(few[key], many[key])
    with pytest.raises(ValueError, match="2 photos for 5 boxes"):
        data.PhotoCrops(photos[:2], boxes, 10, 1.25)


def test_checked_samples_name_those_that_hardly_show():
    made = samples()
    made.keypoints.confidence[2, 5:] = 0
    assert data.check_samples(made).tolist() == [2]
    assert data.check_samples(made, min_visible=3).tolist() == []


@pytest.mark.parametrize(
    "spoil, complaint",
    [
        (lambda s: s.keypoints.xy[1].fill_(torch.nan), "made: keypoints.xy is not finite in sample 1"),
        (lambda s: s.keypoints.confidence.neg_(), "confidence is negative"),
        (lambda s: s.labels.joints[3].fill_(torch.inf), "labels.joints is not finite in sample 3"),
    ],
)
def test_broken_samples_are_refused_before_work_starts(spoil, complaint):
    made = samples()
    spoil(made)
    with pytest.raises(ValueError, match=complaint):
        data.check_samples(made)


class BrokenImages:
    """A store that promises 20 pixels a side and gives another size."""

    size = 20

    def __len__(self):
        return 4

    def __getitem__(self, indices):
        return torch.zeros(len(indices), 3, 16, 16, dtype=torch.uint8)


def test_a_store_whose_pictures_are_not_as_promised_is_refused_before_work_starts():
    with pytest.raises(ValueError, match=r"made: images give torch\.uint8 \(1, 3, 16, 16\), expected .* 20, 20"):
        data.check_samples(replace(samples(), images=BrokenImages()))


def test_samples_whose_fields_differ_in_length_are_refused():
    with pytest.raises(ValueError, match="fields of different lengths"):
        replace(samples(), labels=data.Truth.none(3))
