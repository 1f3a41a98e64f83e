"""Silhouettes and parts: labels carried to the photo, drawn bodies counted by hand, refusals."""

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from spinkit import camera, evaluate, hmr, view
from spinkit.camera import Camera


def said(count: int = 1) -> hmr.Regression:
    """People at rest, upright before the camera."""
    rotvec = torch.zeros(count, 24, 3)
    rotvec[:, 0, 0] = torch.pi
    weak = torch.tensor([0.9, 0.0, 0.2]).expand(count, 3)
    return hmr.Regression(roma.rotvec_to_rotmat(rotvec), torch.zeros(count, 10), weak)


def camera_of(weak: torch.Tensor) -> Camera:
    return camera.from_weak(weak)


def saved(path, labels: np.ndarray):
    Image.fromarray(labels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def silhouette(human) -> np.ndarray:
    """The pixels that the person covers in a crop of 224 pixels, by the room `view`."""
    answer = said()
    vertices = human.vertices(answer.rotmat, answer.betas)[0]
    return view.silhouette(vertices, human.faces, camera_of(answer.weak[0]), 224)


WHOLE = torch.tensor([112.0, 112, 224])


def test_labels_go_to_the_photo_by_the_nearest_pixel_by_hand():
    crop = torch.tensor([[1, 2], [3, 4]])
    # A box of 4 pixels about (3, 2): it covers columns 1 to 4 and rows 0 to 3, two photo pixels a crop pixel.
    expected = [[0, 1, 1, 2, 2, 0], [0, 1, 1, 2, 2, 0], [0, 3, 3, 4, 4, 0], [0, 3, 3, 4, 4, 0], [0] * 6]
    assert evaluate.to_photo(crop, torch.tensor([3.0, 2, 4]), 5, 6).tolist() == expected
    # Half of the box lies beyond the photo's corner.
    assert evaluate.to_photo(crop, torch.tensor([0.0, 0, 4]), 3, 3).tolist() == [[4, 4, 0], [4, 4, 0], [0, 0, 0]]


def test_labels_of_a_crop_lie_where_the_photo_has_the_person(human):
    """Drawn in the crop and carried over, or drawn in the photo by its own camera: at most outlines differ."""
    answer, box = said(), torch.tensor([90.0, 140, 320])
    vertices = human.vertices(answer.rotmat, answer.betas)[0]
    small = view.silhouette(vertices, human.faces, camera_of(answer.weak[0]), 224)
    photo = camera.photo_camera(camera_of(answer.weak[0]), box)
    direct = view.silhouette(vertices, human.faces, photo, (300, 200))
    carried = evaluate.to_photo(torch.from_numpy(small).long(), box, 300, 200).numpy() > 0
    outline = (direct != np.roll(direct, 1, 0)).sum() + (direct != np.roll(direct, 1, 1)).sum()
    assert (carried != direct).sum() < 0.7 * outline < 0.1 * direct.sum()


def test_every_face_of_the_body_has_a_part_and_left_is_left(human):
    parts = evaluate.face_parts(human)
    centre = human.v_template[human.faces].mean(dim=1)
    middle = {n: centre[parts.number == i].mean(dim=0) for i, n in enumerate(evaluate.PART_NAMES) if i}
    assert middle["left arm"][0] > 0.3 and middle["right arm"][0] < -0.3
    assert middle["left leg"][0] > 0.05 and middle["right leg"][0] < -0.05
    assert middle["head"][1] > middle["torso"][1] > middle["left leg"][1]


def test_two_photos_are_pooled_by_hand(human, silhouette, tmp_path):
    """The first mask is exact. The second, twice as large, lacks 30 of the person's pixels and has 50 beside it."""
    large = silhouette.repeat(2, 0).repeat(2, 1)
    person, beside = np.argwhere(large), np.argwhere(~large)
    large[tuple(person[:30].T)] = False
    large[tuple(beside[:50].T)] = True
    masks = [saved(tmp_path / f"{i}.png", 255 * mask) for i, mask in enumerate((silhouette, large))]
    empty = [saved(tmp_path / f"part{i}.png", np.full(m.shape, 255)) for i, m in enumerate((silhouette, large))]
    boxes = torch.stack([WHOLE, 2 * WHOLE])
    scores = evaluate.score_parts(human, said(2), boxes, masks, empty, evaluate.face_parts(human))
    pixels, covered = 5 * 224 * 224, 5 * int(silhouette.sum())
    assert scores.means()["fb_accuracy"] == pytest.approx(1 - 80 / pixels, abs=1e-6)
    person_f1 = 2 * (covered - 30) / (2 * (covered - 30) + 30 + 50)
    others_f1 = 2 * (pixels - covered - 50) / (2 * (pixels - covered - 50) + 30 + 50)
    assert scores.means()["fb_f1"] == pytest.approx((person_f1 + others_f1) / 2, abs=1e-6)
    # Without any label, background is right wherever nobody is drawn, and there is no class to average.
    assert scores.means()["part_accuracy"] == pytest.approx(1 - covered / pixels, abs=1e-6)
    assert scores.parts.f1().isnan().all()


def test_parts_by_hand(human, silhouette, tmp_path):
    """All annotated as torso: what is drawn as torso is right; unlabelled pixels count as background, then not."""
    mask = saved(tmp_path / "mask.png", silhouette)
    labels = np.where(silhouette, 6, 0)
    labels[:10] = 255
    parts = saved(tmp_path / "parts.png", labels)
    scores = evaluate.score_parts(human, said(), WHOLE[None], [mask], [parts], evaluate.face_parts(human))
    assert scores.silhouette.accuracy() == 1
    assert not silhouette[:10].any()
    confusion = scores.parts.confusion[0]
    torso, drawn = int(confusion[6, 6]), int(silhouette.sum())
    assert confusion[6].sum() == drawn and 0.2 * drawn < torso < 0.6 * drawn
    assert scores.means()["part_accuracy"] == pytest.approx(1 - (drawn - torso) / 224**2, abs=1e-6)
    # Background is perfect, the torso is found in part, and the five others are drawn where they are not.
    f1 = 2 * torso / (torso + drawn)
    assert scores.means()["part_f1"] == pytest.approx((1 + f1) / 7, abs=1e-6)
    assert "by the skinning weights" in str(scores) and "pixels of 1 photos pooled, posed by body.npz" in str(scores)


def written_parts(folder, faces: int = 4, **changed):
    """The two files of the paper's parts: faces of four colours in a small cube."""
    texture = np.zeros((1, faces, 2, 2, 2, 3), np.float32)
    texture[0, :, :, :, :, 0] = (np.arange(faces) / 100 + 0.005).reshape(-1, 1, 1, 1)
    cube = np.zeros((faces, 1, 1))
    cube[:, 0, 0] = np.arange(faces) % 6 + 1
    for name, array in ({"vertex_texture": texture, "cube_parts": cube} | changed).items():
        np.save(folder / f"{name}.npy", array)


def test_the_papers_own_parts_are_read_from_its_two_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vertex_texture\.npy in"):
        evaluate.read_face_parts(tmp_path)
    written_parts(tmp_path, faces=8)
    parts = evaluate.read_face_parts(tmp_path)
    assert parts.number.tolist() == [1, 2, 3, 4, 5, 6, 1, 2] and parts.source == "by cube_parts.npy"
    written_parts(tmp_path, cube_parts=np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match="a colour lies outside of cube_parts"):
        evaluate.read_face_parts(tmp_path)
    written_parts(tmp_path, cube_parts=np.full((4, 1, 1), 9.0))
    with pytest.raises(ValueError, match="other parts than 0 to 6"):
        evaluate.read_face_parts(tmp_path)
    written_parts(tmp_path, vertex_texture=np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not as distributed"):
        evaluate.read_face_parts(tmp_path)


def test_pictures_that_do_not_fit_are_refused(human, tmp_path):
    labels, grey = evaluate.face_parts(human), saved(tmp_path / "grey.png", np.zeros((8, 8)))
    with pytest.raises(ValueError, match="'masks': 1, 'parts': 0"):
        evaluate.score_parts(human, said(), WHOLE[None], [grey], [], labels)
    with pytest.raises(ValueError, match=r"labels for 3 faces, but body\.npz has 13776"):
        few = evaluate.FaceParts(labels.number[:3], "by hand")
        evaluate.score_parts(human, said(), WHOLE[None], [grey], [grey], few)
    other = saved(tmp_path / "other.png", np.zeros((8, 9)))
    with pytest.raises(ValueError, match=r"other\.png is \(8, 9\), its mask \(8, 8\) pixels"):
        evaluate.score_parts(human, said(), WHOLE[None], [grey], [other], labels)
    coloured = saved(tmp_path / "coloured.png", np.tile([9, 0, 0], (8, 8, 1)))
    with pytest.raises(ValueError, match="is coloured; labels are grey"):
        evaluate.read_labels(coloured)
