"""Pictures, boxes and keypoints that nothing can be learned from: left out with a reason, harmless to the others."""

import copy
import json
import struct
import zlib
from dataclasses import replace

import crowd
import numpy as np
import pytest
import torch
from PIL import Image
from trial import COUNT, QUICK, Trial, make_people, mean_dictionary, said_by

from spinkit import crop, data, job, priors, smplify, spin
from spinkit.crop import Change
from spinkit.data import JoinedImages, PhotoCrops, Truth
from spinkit.keypoints import Keypoints
from spinkit.smplify import Start
from spinkit.spin import Schedule

BAD = 2
"""The sample that is spoilt."""


def write_photo(path, value=None, size=(60, 40)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


def bad_photos(folder):
    """Pictures that cannot be read, by what is wrong with them, and words of the complaint."""
    good = write_photo(folder / "good.png").read_bytes()
    header = struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    contents = {
        "empty": b"",
        "text": b"<html>404 Not Found</html>",
        "truncated": good[: len(good) // 2],
        "corrupt": good[:60] + bytes(len(good) - 60),
        "of no size": good[:8] + chunk + good[33:],
    }
    for name, content in contents.items():
        (folder / f"{name}.png").write_bytes(content)
    Image.fromarray(np.full((4, 4), 20000, dtype=np.uint16)).save(folder / "of 16 bits.png")
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(folder / "of floats.tif")
    (folder / "a folder.png").mkdir()
    return {path.stem: path for path in folder.iterdir() if path.stem != "good"} | {"missing": folder / "missing.png"}


def test_a_photo_that_cannot_be_read_is_refused_by_name(tmp_path):
    photos = bad_photos(tmp_path)
    assert len(photos) == 9
    for what, path in photos.items():
        with pytest.raises((ValueError, FileNotFoundError)) as refusal:
            data.read_photo(path)
        assert str(path) in str(refusal.value), what


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_a_photo_of_another_mode_is_read_in_colour(tmp_path, mode):
    path = tmp_path / "photo.tif"
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
    photo = data.read_photo(path)
    assert photo.shape == (4, 6, 3) and photo.dtype == torch.uint8 and (photo >= 254).all()


@pytest.mark.parametrize(
    "box, complaint",
    [
        ([30.0, 20.0, torch.nan], "finite numbers and a positive side"),
        ([torch.inf, 20.0, 10.0], "finite numbers and a positive side"),
        ([30.0, 20.0, 0.0], "finite numbers and a positive side"),
        ([30.0, 20.0, -10.0], "finite numbers and a positive side"),
        ([30.0, 20.0, 1e7], "4 times as large as its photo"),
        ([500.0, 20.0, 30.0], "lies outside its photo"),
        ([30.0, -500.0, 30.0], "lies outside its photo"),
    ],
)
def test_a_box_that_shows_nothing_is_refused_before_it_fills_the_memory(tmp_path, box, complaint):
    photo = data.read_photo(write_photo(tmp_path / "photo.png"))
    with pytest.raises(ValueError, match=complaint):
        crop.square(photo, torch.tensor(box), 32)


@pytest.mark.parametrize("box", [[30.0, 20.0, 200.0], [-10.0, 20.0, 40.0], [69.0, 20.0, 20.0]])
def test_a_box_that_reaches_beyond_its_photo_is_cut_and_black_there(tmp_path, box):
    photo = data.read_photo(write_photo(tmp_path / "photo.png", value=255))
    cut = crop.square(photo, torch.tensor(box), 32)
    assert (cut == 0).any() and (cut == 255).any()


@pytest.fixture
def folder(tmp_path):
    """Twelve photos."""
    for number in range(COUNT):
        write_photo(tmp_path / f"{number:02d}.png", value=20 * number)
    return tmp_path


def photographed(folder, people):
    """The people before photos of one colour each."""
    photos = [folder / f"{number:02d}.png" for number in range(COUNT)]
    boxes = torch.tensor([30.0, 20.0, 30.0]).repeat(COUNT, 1)
    # No photo stays in memory, so that each is read whenever it is drawn.
    return replace(people, images=PhotoCrops(photos, boxes, 80, 1.25, photos_kept=0))


@pytest.fixture(scope="module")
def prior():
    return priors.load()


@pytest.fixture(scope="module")
def people(human):
    return make_people(human)


def test_a_photo_that_vanished_is_left_out_where_that_is_asked_for(folder, people):
    samples = photographed(folder, people)
    key, change = torch.tensor([4, 7, 1, 7, 0]), Change.random(5, torch.Generator().manual_seed(0))
    whole = data.make_batch(samples, key, change, 64)
    (folder / "07.png").unlink()
    (folder / "00.png").write_bytes(b"no picture")
    with pytest.raises(FileNotFoundError, match=r"no photo at .*07\.png"):
        data.make_batch(samples, key, change, 64)
    found = data.make_batch(samples, key, change, 64, lenient=True)
    assert found.key.tolist() == [4, 1] and sorted(found.refused) == [0, 7]
    assert "00.png cannot be decoded" in found.refused[0] and "no photo at" in found.refused[7]
    rows = torch.tensor([0, 2])
    assert torch.equal(found.image, whole.image[rows])
    assert torch.equal(found.keypoints.xy, whole.keypoints.xy[rows])
    assert torch.equal(found.change.turn, change.turn[rows])


def test_a_folder_that_vanished_leaves_an_empty_batch(folder, people):
    samples = photographed(folder, people)
    for photo in folder.iterdir():
        photo.unlink()
    found = data.make_batch(samples, torch.arange(3), Change.none(3), 64, lenient=True)
    assert len(found) == 0 and found.image.shape == (0, 3, 64, 64) and sorted(found.refused) == [0, 1, 2]


def test_whose_photo_vanished_is_told_through_mixtures_and_selections(folder, people):
    samples = photographed(folder, people)
    joined = replace(data.mix([samples, samples]).subset(torch.tensor([13, 2, 14])), judge=None, labels=Truth.none(3))
    assert isinstance(joined.images.store, JoinedImages)
    (folder / "02.png").unlink()
    found = data.make_batch(joined, torch.arange(3), Change.none(3), 64, lenient=True)
    assert found.key.tolist() == [0] and sorted(found.refused) == [1, 2]


def test_training_goes_on_without_a_photo_that_vanished_and_counts_it(folder, people, human, prior):
    trial = Trial(human, prior, photographed(folder, people))
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:60])
    run = trial.train()
    drawn = torch.cat([spin.batch_keys(COUNT, QUICK, number) for number in range(QUICK.steps)])
    assert run.history[-1]["bad_samples"] == (drawn == 5).sum() > 0 and run.history[-1]["skipped"] == 0
    assert run.fits.updates[5] == 0 and run.fits.updates.sum() > 0
    updates = run.fits.updates.clone()
    assert spin.sweep(run, trial.samples, trial.world, progress=False) == (run.fits.updates - updates).sum() > 0
    assert run.fits.updates[5] == 0


def test_training_stops_with_a_snapshot_where_the_photos_vanish(folder, people, human, prior, tmp_path_factory):
    snapshots = tmp_path_factory.mktemp("snapshots")
    trial = Trial(human, prior, photographed(folder, people), replace(QUICK, steps=50, max_bad_steps=3))

    def judge(run):
        for photo in folder.glob("*.png"):
            photo.unlink()
        return {}

    with pytest.raises(FloatingPointError, match=r"sample \d+: no photo at .*All up to step 3 is in"):
        trial.train(schedule=Schedule(2, 0, snapshots, progress=False), judge=judge)
    again = trial.begin()
    assert again.resume(snapshots) and again.fits.updates.sum() > 0
    assert all(value.isfinite().all() for value in again.model.state_dict().values())


@pytest.fixture
def coco(tmp_path):
    """A photo with two people, and the function that writes the annotation with the first of them changed."""
    write_photo(tmp_path / "a.png")
    points = [v for i in range(17) for v in (10 + i, 5 + 2 * i, 2)]
    person = {"id": 7, "image_id": 1, "keypoints": points, "bbox": [10, 5, 20, 30], "iscrowd": 0}
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [person, {**person, "id": 8}]}

    def write(**wrong):
        edited = copy.deepcopy(content)
        edited["annotations"][0].update(wrong)
        path = tmp_path / "person_keypoints.json"
        path.write_text(json.dumps(edited))
        return data.read_coco(path, tmp_path, size=20)

    return write


FAR = [v for i in range(17) for v in (10 + i, 1e6 if i == 3 else 5 + 2 * i, 2)]


@pytest.mark.parametrize(
    "field, value, problem",
    [
        ("bbox", [10, 5, -20, 30], "no width or no height"),
        ("bbox", [10, 5, 20, 0], "no width or no height"),
        ("bbox", [10, 5, float("nan"), 30], "not all finite"),
        ("bbox", [10, 5, 1e6, 30], "4 times as large as its photo"),
        ("bbox", [200, 5, 20, 30], "outside its photo"),
        ("keypoints", FAR, "far from the box"),
        ("keypoints", [20, 20, 2] * 17, "all lie at one place"),
        ("keypoints", [0, 0, 2] * 17, "all lie at one place"),
    ],
)
def test_an_annotation_that_shows_nobody_is_left_out_and_counted_before_training(coco, field, value, problem):
    found, refused = coco(**{field: value})
    (refusal,) = refused.entries
    assert len(found) == 1 and refusal.record == "annotation 7" and refusal.field == field
    assert problem in refusal.problem and problem in str(refused)


def test_a_photo_of_16_bits_is_left_out_before_training(coco, tmp_path):
    Image.fromarray(np.full((40, 60), 20000, dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="2 x file_name: more than 8 bits a colour"):
        coco()


def test_a_set_whose_labels_are_not_finite_is_refused_before_training(people):
    wrong = replace(people, labels=replace(people.labels, betas=people.labels.betas + torch.inf))
    with pytest.raises(ValueError, match=r"labels\.betas is not finite in sample 0"):
        data.check_samples(wrong)


def spoilt(keypoints, how):
    """The keypoints with those of one person changed."""
    xy, confidence = keypoints.xy.clone(), keypoints.confidence.clone()
    how(xy[BAD], confidence[BAD])
    return Keypoints(xy, confidence)


def only(count):
    def change(xy, confidence):
        confidence[:] = 0
        confidence[30 : 30 + count] = 1

    return change


def on_a_line(xy, confidence):
    confidence[:] = 1
    xy[:] = torch.linspace(0, 220, 49)[:, None]


def scaled(factor):
    def change(xy, confidence):
        xy[:] = 112 + factor * (xy - 112)

    return change


UNFIT = {
    "no keypoint": only(0),
    "one keypoint": only(1),
    "two keypoints": only(2),
    "NaN": lambda xy, confidence: xy.fill_(torch.nan),
    "one NaN": lambda xy, confidence: (xy[30].fill_(torch.nan), confidence[30].fill_(1.0)),
    "infinity": lambda xy, confidence: (xy[30].fill_(torch.inf), confidence[30].fill_(1.0)),
    "negative confidence": lambda xy, confidence: confidence.fill_(-1),
    "a confidence that is NaN": lambda xy, confidence: confidence.fill_(torch.nan),
    "an infinite confidence": lambda xy, confidence: confidence.fill_(torch.inf),
    "confidence next to nothing": lambda xy, confidence: confidence.fill_(1e-30),
    "at one point": lambda xy, confidence: (xy.fill_(112.0), confidence.fill_(1.0)),
    "in the corner": lambda xy, confidence: (xy.zero_(), confidence.fill_(1.0)),
    "a millionth of a pixel large": scaled(1e-8),
    "ten million pixels large": scaled(1e5),
    "so far that squares overflow": scaled(1e20),
}
"""Must be flagged."""
ODD = {
    "on a line": on_a_line,
    "far outside the image": lambda xy, confidence: xy.add_(5000),
    "confidence above one": lambda xy, confidence: confidence.mul_(50),
    "a hundred thousand pixels large": scaled(1e3),
    "NaN where it is missing": lambda xy, confidence: (xy[30].fill_(torch.nan), confidence[30].zero_()),
}
"""May be flagged, or fitted as well as they let themselves be."""
EVERY = UNFIT | ODD


@pytest.fixture(scope="module")
def crowded(human):
    return crowd.draw(human, 4, seed=1, openpose=True)


@pytest.fixture(scope="module")
def spoilt_crowd(crowded):
    """Two people as they are, then one person spoilt in every way."""
    kinds = [spoilt(crowded.keypoints, how)[BAD] for how in EVERY.values()]
    rows = torch.tensor([0, 1] + [BAD] * len(kinds))
    xy = torch.cat([crowded.keypoints.xy[:2], torch.stack([k.xy for k in kinds])])
    confidence = torch.cat([crowded.keypoints.confidence[:2], torch.stack([k.confidence for k in kinds])])
    return rows, Keypoints(xy, confidence)


def assert_apart(found, clean):
    """The spoilt people are finite, and flagged where they must be; their neighbours hardly notice."""
    flagged = dict(zip(EVERY, (~found.usable[2:]).tolist(), strict=True))
    assert [what for what in UNFIT if not flagged[what]] == []
    assert torch.equal(found.error.isinf(), ~found.usable) and not found.error.isnan().any()
    numbers = (found.rotvec, found.betas, found.camera.translation, found.total)
    assert all(values.isfinite().all() for values in numbers)
    assert found.usable[:2].all()
    # Other samples that leave the batch change the rounding of those that stay.
    torch.testing.assert_close(found.rotvec[:2], clean.rotvec, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.error[:2], clean.error, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("settings", [smplify.SmplifySettings(), spin.loop_fit()], ids=["alone", "in the loop"])
def test_keypoints_that_no_body_fits_are_flagged_by_the_fit(human, prior, crowded, spoilt_crowd, settings):
    rows, keypoints = spoilt_crowd
    start = Start(crowded.rotvec, crowded.betas, crowded.camera)
    clean = smplify.fit(human, prior, crowded.keypoints[:2], start[:2], settings)
    assert_apart(smplify.fit(human, prior, keypoints, start[rows], settings), clean)


def test_keypoints_that_no_body_fits_are_flagged_by_initial_fits(human, prior, crowded, spoilt_crowd):
    clean = smplify.initial_fits(human, prior, crowded.keypoints[:2], headings=1)
    assert_apart(smplify.initial_fits(human, prior, spoilt_crowd[1], headings=1), clean)


@pytest.mark.parametrize("kinds", [list(EVERY)[:10], list(EVERY)[10:]], ids=["some", "others"])
def test_keypoints_that_no_body_fits_never_reach_the_dictionary(human, prior, people, kinds):
    batch = data.make_batch(people, torch.arange(COUNT), Change.none(COUNT), 64)
    points = Keypoints(batch.keypoints.xy.clone(), batch.keypoints.confidence.clone())
    for row, what in enumerate(kinds, 2):
        EVERY[what](points.xy[row], points.confidence[row])
    world = Trial(human, prior, people).world
    dictionary, clean = mean_dictionary(prior), mean_dictionary(prior)
    target, old, new, _ = spin.supervise(said_by(people), replace(batch, keypoints=points), dictionary, world, 0)
    spin.supervise(said_by(people), batch, clean, world, 0)
    assert target.rotmat.isfinite().all() and target.betas.isfinite().all()
    assert not (old.isnan() | new.isnan()).any() and dictionary.rotvec.isfinite().all()
    unfit = torch.tensor([row for row, what in enumerate(kinds, 2) if what in UNFIT])
    assert new[unfit].isinf().all() and not dictionary.updates[unfit].any() and not target.valid[unfit].any()
    torch.testing.assert_close(dictionary.rotvec[:2], clean.rotvec[:2], atol=1e-4, rtol=0)
    assert clean.updates[:2].any()


def test_samples_that_cannot_be_fitted_begin_with_a_finite_fit_and_an_infinite_error(human, prior, people, tmp_path):
    unfit = [spoilt(people.keypoints, how)[BAD] for how in UNFIT.values()][:COUNT]
    keypoints = Keypoints(torch.stack([k.xy for k in unfit]), torch.stack([k.confidence for k in unfit]))
    samples = replace(people.subset(torch.arange(len(unfit))), keypoints=keypoints)
    found = job.initial_dictionary(samples, human, prior, tmp_path)
    assert found.error.isinf().all() and found.rotvec.isfinite().all() and found.betas.isfinite().all()


def test_people_of_a_photo_whose_keypoints_make_no_box_leave_the_others_alone(tmp_path):
    photo = write_photo(tmp_path / "photo.png")
    points = [v for i in range(17) for v in (10 + i, 5 + 2 * i, 1)]
    wrong = {"at one place": [20, 20, 1] * 17, "outside": [v + 5000 for v in points], "huge": [1e6 * v for v in points]}
    everyone = [{"image_id": "photo.png", "keypoints": k, "score": 1.0} for k in (points, *wrong.values())]
    path = tmp_path / "alphapose.json"
    path.write_text(json.dumps(everyone))
    found, refused = data.read_own_photo(photo, path, size=32)
    assert len(found) == 1 and len(refused) == 3
    problems = " ".join(refusal.problem for refusal in refused.entries)
    assert all(words in problems for words in ("a box needs two apart", "outside its photo", "times as large"))
