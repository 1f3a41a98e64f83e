"""Pictures of a dictionary, of people on their photo, and of their errors."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from spinkit import camera, crop, data, people, view
from spinkit.camera import Camera
from spinkit.crop import Change
from spinkit.data import Samples
from spinkit.fits import Events, FitDictionary, Verdict
from spinkit.view import history


@dataclass(frozen=True)
class Fitted:
    """What view asks of a fit."""

    rotvec: Tensor
    betas: Tensor
    camera: Camera


@pytest.fixture(scope="module")
def crowd(human) -> Samples:
    settings = people.PeopleSettings(image_size=32, keypoint_noise=0.0, outliers=0.0)
    return people.make(human, 4, seed=2, settings=settings)


@pytest.fixture(scope="module")
def dictionary(crowd) -> FitDictionary:
    """Of the true bodies, of which person 1 was replaced twice."""
    truth = crowd.judge
    fits = FitDictionary(truth.rotvec, truth.betas, torch.full((4,), 9.0), tracked=torch.tensor([1, 3]))
    for step, error in ((5, 4.0), (8, 2.0)):
        one, errors = torch.tensor([1]), torch.tensor([error])
        fits.write(
            one, Change.none(1), truth.rotvec[one], truth.betas[one], Verdict(2 * errors, errors, errors > 0), step
        )
    return fits


def test_the_true_body_is_judged_to_be_where_the_person_is(human, crowd):
    seen = view.judged(human, crowd.keypoints, crowd.judge.rotvec, crowd.judge.betas)
    assert (seen.error[seen.error.isfinite()] < 1).all() and seen.error.isfinite().any()


def test_everyone_can_be_drawn_even_who_faces_the_wrong_way(human, crowd):
    half_turn = torch.tensor([torch.pi, 0.0, 0.0]).expand(4, 1, 3)
    rotvec = torch.cat([half_turn, torch.zeros(4, 23, 3)], dim=1)
    seen = view.judged(human, crowd.keypoints, rotvec, torch.zeros(4, 10))
    assert (seen.camera.translation[:, 2] > 0).all()


def test_people_are_judged_alike_in_one_piece_and_in_many(human, crowd, monkeypatch):
    whole = view.judged(human, crowd.keypoints, crowd.judge.rotvec, crowd.judge.betas)
    monkeypatch.setattr(history, "CHUNK", 3)
    parts = view.judged(human, crowd.keypoints, crowd.judge.rotvec, crowd.judge.betas)
    torch.testing.assert_close(parts.error, whole.error)
    torch.testing.assert_close(parts.camera.translation, whole.camera.translation)


def test_crops_have_no_margin(crowd):
    shown = view.crops(crowd, torch.tensor([2, 0]), size=32)
    inner = crowd.images[torch.tensor([2, 0])][:, :, 4:-4, 4:-4].float() / 255
    assert crowd.images.size == 40 and shown.shape == inner.shape
    assert (shown - inner).abs().max() < 0.01


def test_a_gallery_shows_whom_it_was_asked_for(human, crowd):
    seen = view.judged(human, crowd.keypoints, crowd.judge.rotvec, crowd.judge.betas)
    figure = view.gallery(crowd, torch.tensor([3, 1]), human, seen, ["three", "one"], columns=2)
    assert [place.get_title() for place in figure.axes] == ["three", "one"]
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (camera.RESOLUTION, 2 * camera.RESOLUTION, 3)
    assert np.abs(picture[:, : camera.RESOLUTION].astype(int) - picture[:, camera.RESOLUTION :]).max() > 50


def test_versions_are_told_in_their_order(human, crowd, dictionary):
    titles = [place.get_title() for place in view.versions(crowd, 1, human, dictionary).axes]
    assert [title.split(":")[0] for title in titles] == ["person 1", "at the start", "step 5", "step 8"]
    few = [place.get_title() for place in view.versions(crowd, 1, human, dictionary, most=2).axes]
    assert [title.split(":")[0] for title in few] == ["person 1", "at the start", "step 8"]
    with pytest.raises(ValueError, match=r"not tracked.*1, 3"):
        view.versions(crowd, 0, human, dictionary)


def test_the_map_has_a_dot_for_every_update(dictionary):
    figure = view.update_map(dictionary.events(), 4, steps=10)
    dots = figure.axes[1].collections[0]
    np.testing.assert_array_equal(dots.get_offsets(), [[5, 1], [8, 1]])
    np.testing.assert_allclose(dots.get_array(), 50)  # every update halved the error


def test_a_dictionary_that_never_changed_has_a_map_too():
    nobody = Events(*(torch.zeros(0, dtype=d) for d in (torch.int64, torch.int64, torch.float32, torch.float32)))
    assert "no fit" in view.update_map(nobody, 4, steps=10).axes[1].texts[0].get_text()


def test_a_body_lies_on_the_photo_where_it_lies_on_the_crop(human):
    upright = torch.zeros(1, 24, 3)
    upright[:, 0, 0] = torch.pi
    seen_from = camera.crop_camera(torch.tensor([[0.0, 0.3, 45.0]]))
    box = torch.tensor([[300.0, 120.0, 224.0]])
    photo = np.zeros((240, 480, 3), np.uint8)
    fit = Fitted(upright, torch.zeros(1, 10), seen_from)
    drawn = np.asarray(view.on_photo(photo, human, fit, box, opacity=1))
    cut = crop.square(torch.from_numpy(drawn.copy()), box[0], camera.RESOLUTION).permute(1, 2, 0).numpy()
    own = np.asarray(view.overlay(np.zeros((224, 224, 3), np.uint8), human, fit, opacity=1, side=224))
    assert ((own > 0).any(-1) != (cut > 0).any(-1)).mean() < 0.01
    assert (own > 0).any(-1).mean() > 0.05 and photo.max() == 0


def test_the_nearer_person_hides_the_farther(human):
    upright = torch.zeros(2, 24, 3)
    upright[:, 0, 0] = torch.pi
    seen_from = camera.crop_camera(torch.tensor([[0.0, 0.3, 45.0], [0.0, 0.3, 45.0]]))
    boxes = torch.tensor([[150.0, 150.0, 224.0], [150.0, 150.0, 112.0]])  # the second appears half as large
    fits = Fitted(upright, torch.stack([torch.zeros(10), torch.full((10,), 0.5)]), seen_from)
    both = view.on_photo(np.zeros((300, 300, 3), np.uint8), human, fits, boxes, opacity=1)
    one = Fitted(fits.rotvec[:1], fits.betas[:1], seen_from[:1])
    nearer = view.on_photo(np.zeros((300, 300, 3), np.uint8), human, one, boxes[:1], opacity=1)
    covered = np.asarray(nearer).min(axis=-1) > 60
    # Only along the outline does something of the farther one shine through.
    assert (np.asarray(both)[covered] != np.asarray(nearer)[covered]).any(-1).mean() < 0.01


def test_a_box_is_drawn_on_a_copy():
    photo = np.zeros((100, 100, 3), np.uint8)
    marked = np.asarray(view.boxes_on(photo, torch.tensor([[50.0, 50.0, 40.0]])))
    assert photo.max() == 0 and marked[50, 30].max() > 0 and marked[50, 50].max() == 0


def test_joint_errors_mark_the_means(human):
    errors = {"a": torch.tensor([[1.0, 4.0], [3.0, 8.0]])}
    figure = view.joint_errors(errors, ["knee", "ankle"])
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [2, 6])
    with pytest.raises(ValueError, match="2 joints"):
        view.joint_errors(errors, ["knee"])


def test_a_ranking_goes_from_the_smallest_to_the_largest():
    figure = view.ranking([3.0, 1.0, 2.0], "error", threshold=5.0, mark=[0])
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, 2, 3]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "0"]
    assert bars[2].get_facecolor() != bars[0].get_facecolor() == bars[1].get_facecolor()


def test_a_png_is_the_picture(tmp_path):
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    (tmp_path / "a.png").write_bytes(view.png(picture))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert view.png(view.curves([0, 1], {"a": [0, 1]}, "x", "y")).startswith(b"\x89PNG")


def test_data_is_what_a_gallery_reads_from(crowd):
    """A gallery's crops are a batch's, so that keypoints and pictures belong together."""
    key = torch.tensor([1])
    batch = data.make_batch(crowd, key, Change.none(1), 64)
    assert torch.equal(view.crops(crowd, key, 64), batch.image)
