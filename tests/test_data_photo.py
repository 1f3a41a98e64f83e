"""One's own photo: both kinds of keypoint files, and what is refused."""

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
    row = {"id": 7, "image_id": 3, "bbox": [40, 20, 80, 160], "keypoints": [60, 90, 2] * 17, "num_keypoints": 17}
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
    with pytest.raises(ValueError, match="say model='BODY_25B'"):
        data.read_own_photo(photo, file, 64)
    found, _ = data.read_own_photo(photo, file, 64, model="BODY_25B")
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
    with pytest.raises(ValueError, match="nobody can be used"):
        data.read_own_photo(photo, openpose(file, (POINTS, few)), 64)


def test_of_a_coco_file_only_this_photos_people_are_read(photo, tmp_path):
    found, refused = data.read_own_photo(photo, coco(tmp_path / "a.json"), 64)
    assert len(found) == 1 and not len(refused)
    assert found.images.photos == [photo]


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("{", "not JSON"),
        ('{"images": []}', "neither"),
        ('{"images": [], "annotations": []}', "no annotation of a photo"),
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
