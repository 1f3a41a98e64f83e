"""One's own photo: every kind of keypoint file, who is taken, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from spinkit import data, keypoints

# A man of straight lines, in OpenPose's order: face, arms and trunk, legs, face again, feet.
POINTS = np.array(
    [
        *((100, 30), (100, 50), (85, 50), (80, 75), (78, 100), (115, 50), (120, 75), (122, 100)),
        *((100, 95), (92, 95), (90, 130), (88, 165), (108, 95), (110, 130), (112, 165)),
        *(
            (97, 27),
            (103, 27),
            (93, 29),
            (107, 29),
            (118, 172),
            (120, 170),
            (110, 168),
            (82, 172),
            (80, 170),
            (90, 168),
        ),
    ],
    float,
)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "street.png"
    Image.fromarray(np.full((200, 240, 3), 90, np.uint8)).save(path)
    return path


def openpose(path, *people):
    rows = [
        {"pose_keypoints_2d": np.concatenate([xy, score[:, None]], axis=-1).flatten().tolist()} for xy, score in people
    ]
    path.write_text(json.dumps({"people": rows}))
    return path


def coco(path, file_name="street.png"):
    marked = POINTS[[0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]]  # COCO's order
    row = {"id": 7, "image_id": 3, "keypoints": np.insert(marked, 2, 2, axis=1).flatten().tolist()}
    other = {**row, "id": 8, "image_id": 4}
    images = [{"id": 3, "file_name": file_name}, {"id": 4, "file_name": "elsewhere.png"}]
    path.write_text(json.dumps({"images": images, "annotations": [row, other]}))
    return path


def test_openpose_people_find_their_points_again(photo, tmp_path):
    file = openpose(tmp_path / "a.json", (POINTS, np.full(25, 0.8)), (POINTS / 2, np.full(25, 0.6)))
    found, refused = data.read_own_photo(photo, file, 64)
    assert len(found) == 2 and not len(refused)
    box, xy = found.images.boxes[:, None], found.keypoints.xy[:, keypoints.OPENPOSE]
    in_photo = box[..., :2] + (xy - 112) * box[..., 2:] / 224
    np.testing.assert_allclose(in_photo, np.stack([POINTS, POINTS / 2]), atol=1e-3)
    assert found.images[torch.tensor([1])].shape == (1, 3, 64, 64)


def test_the_order_of_openposes_points_is_that_of_the_model_that_is_named(photo, tmp_path):
    order = keypoints.SOURCES["openpose25b"]
    everything = np.zeros((49, 2))
    everything[:25], everything[37:39] = POINTS, ((100, 45), (100, 15))
    file = openpose(tmp_path / "b.json", (everything[list(order)], np.full(25, 0.8)))
    with pytest.raises(ValueError, match="say kind='openpose25b'"):
        data.read_own_photo(photo, file, 64)
    found, _ = data.read_own_photo(photo, file, 64, kind="openpose25b")
    box, xy = found.images.boxes, found.keypoints.xy[0]
    in_photo = box[:, :2] + (xy - 112) * box[:, 2:] / 224
    np.testing.assert_allclose(in_photo[list(order)], everything[list(order)], atol=1e-3)


def test_doubtful_points_do_not_shape_the_box(photo, tmp_path):
    score = np.full(25, 0.8)
    sure, _ = data.read_own_photo(photo, openpose(tmp_path / "a.json", (POINTS, score)), 64)
    astray = POINTS.copy()
    astray[3], score[3] = (1e4, 1e4), 0.1
    doubted, _ = data.read_own_photo(photo, openpose(tmp_path / "b.json", (astray, score)), 64)
    assert torch.equal(sure.images.boxes, doubted.images.boxes)


def test_people_with_few_points_are_refused_with_a_reason(photo, tmp_path):
    few = np.where(np.arange(25) < 5, 0.8, 0.0)
    file = openpose(tmp_path / "a.json", (POINTS, few), (POINTS, np.full(25, 0.8)))
    found, refused = data.read_own_photo(photo, file, 64)
    assert len(found) == 1 and "fewer than 8" in str(refused)
    with pytest.raises(ValueError, match=r"nobody in .* can be used"):
        data.read_own_photo(photo, openpose(file, (POINTS, few)), 64)


def test_of_a_coco_file_only_this_photos_people_are_read(photo, tmp_path):
    found, refused = data.read_own_photo(photo, coco(tmp_path / "a.json"), 64)
    assert len(found) == 1 and not len(refused)
    assert found.images.photos == [photo]
    assert found.keypoints.visible[0, keypoints.ANNOTATED].sum() == 17
    # From ear to ankle the man is 138 high, and the box 1.2 times as much.
    assert found.images.boxes[0].tolist() == pytest.approx([100, 96, 1.2 * 138], abs=1e-3)


def test_mediapipes_landmarks_are_scaled_by_the_photo(photo, tmp_path):
    where = POINTS[[0, 16, 16, 16, 15, 15, 15, 18, 17, 0, 0, 5, 2, 6, 3, 7, 4, 7, 4, 7, 4, 7, 4, 12, 9, 13, 10, 14, 11]]
    where = np.concatenate([where, POINTS[[21, 24, 19, 22]]])
    marks = [{"x": x / 240, "y": y / 200, "z": 0, "visibility": 0.9} for x, y in where.tolist()]
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"pose_landmarks": [marks]}))
    found, _ = data.read_own_photo(photo, file, 64)
    box, xy = found.images.boxes[0], found.keypoints.xy[0, keypoints.NAMES.index("Left Wrist")]
    assert (box[:2] + (xy - 112) * box[2] / 224).tolist() == pytest.approx([122, 100], abs=1e-3)


def test_some_people_are_taken_by_their_numbers_in_the_file(photo, tmp_path):
    file = openpose(tmp_path / "a.json", *((POINTS / k, np.full(25, 0.8)) for k in (1, 2, 4)))
    everyone, _ = data.read_own_photo(photo, file, 64)
    some, _ = data.read_own_photo(photo, file, 64, who=(2, 0))
    assert torch.equal(some.images.boxes, everyone.images.boxes[[2, 0]])
    with pytest.raises(ValueError, match=r"has 3 people in street\.png; who = \[3\] names another"):
        data.read_own_photo(photo, file, 64, who=[3])


def test_one_frame_of_a_video_file_goes_through_an_npz(photo, tmp_path):
    record = {"keypoints": POINTS[:17].tolist(), "keypoint_scores": [0.9] * 17}
    frames = [{"frame_id": k, "instances": [record] * k} for k in range(3)]
    (tmp_path / "video.json").write_text(json.dumps({"instance_info": frames}))
    people = keypoints.read(tmp_path / "video.json", picture=2)
    found, _ = data.read_own_photo(photo, keypoints.save(tmp_path / "frame.npz", people), 64)
    assert len(found) == 2


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("{", "not JSON"),
        ('{"images": []}', "no known layout"),
        ('{"images": [], "annotations": []}', r"nobody in street\.png can be used"),
        ('{"images": [{"id": 1, "file_name": "b.png"}], "annotations": []}', r"no picture street\.png"),
    ],
)
def test_other_files_are_refused(photo, tmp_path, content, complaint):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=complaint):
        data.read_own_photo(photo, file, 64)


def test_missing_files_are_named(photo, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        data.read_own_photo(photo, tmp_path / "none.json", 64)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        data.read_own_photo(tmp_path / "none.png", coco(tmp_path / "a.json"), 64)
