import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spinkit import crop, data
from spinkit.keypoints import SOURCES

REAL = Path(__file__).parents[1] / ".." / "shared" / "realdata"


def write_photo(path, width=60, height=40):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def coco(tmp_path):
    """A photo with two people, and the function that writes the annotation after `edit` has changed it."""
    write_photo(tmp_path / "a.jpg")
    points = [v for i in range(17) for v in (10 + i, 5 + 2 * i, 2 if i < 12 else 0)]
    person = {"id": 7, "image_id": 1, "keypoints": points, "bbox": [10, 5, 20, 30], "iscrowd": 0}
    photo = {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}
    content = {"images": [photo], "annotations": [person, {**person, "id": 8}]}

    def write(edit=lambda content: None):
        edited = copy.deepcopy(content)
        edit(edited)
        (tmp_path / "person_keypoints.json").write_text(json.dumps(edited))
        return tmp_path / "person_keypoints.json"

    return write


def test_coco_people_lie_in_their_crops_where_the_box_puts_them(coco):
    path = coco()
    found, refused = data.read_coco(path, path.parent, size=20)
    assert len(found) == 2 and len(refused) == 0 and str(refused) == "0 left out"
    # The box of 20 x 30 pixels is centred at (20, 20); a crop shows 1.2 x 30 = 36 photo pixels.
    nose = found.keypoints.xy[0, 44]
    torch.testing.assert_close(nose, 112 + (torch.tensor([10.0, 5.0]) - 20) * 224 / 36)
    assert found.keypoints.confidence[0].sum() == 12
    assert (found.keypoints.xy[~found.keypoints.visible] == 0).all()
    photo = data.read_photo(path.parent / "a.jpg")
    expected = crop.square(photo, torch.tensor([20.0, 20.0, 36.0]), 20, margin=1.25)
    assert torch.equal(found.images[torch.tensor([1])][0], expected)
    assert not found.labels.has_smpl.any() and found.judge is None


def test_chosen_coco_people_come_in_the_order_asked_for(coco):
    path = coco(lambda c: c["annotations"][1].update(bbox=[0, 0, 60, 30]))
    found, _ = data.read_coco(path, path.parent, size=20, annotation_ids=[8, 7])
    assert found.images.boxes[:, 2].tolist() == pytest.approx([72.0, 36.0])
    with pytest.raises(ValueError, match=r"no annotation with the ids \[9\]"):
        data.read_coco(path, path.parent, size=20, annotation_ids=[9])


@pytest.mark.parametrize(
    "wrong, field, problem",
    [
        ({"keypoints": [1.0] * 50}, "keypoints", "no list of 51 numbers"),
        ({"keypoints": None}, "keypoints", "no list of 51 numbers"),
        ({"keypoints": [float("nan")] * 51}, "keypoints", "not all finite"),
        ({"keypoints": [0] * 51}, "keypoints", "fewer than 8 labelled"),
        ({"bbox": [1, 2, 0, 5]}, "bbox", "no width or no height"),
        ({"bbox": [1, 2, float("inf"), 5]}, "bbox", "not all finite"),
        ({"bbox": [1, 2]}, "bbox", "no list of 4 numbers"),
        ({"iscrowd": 1}, "iscrowd", "a crowd"),
        ({"image_id": 99}, "image_id", "names no record"),
    ],
)
def test_an_unusable_coco_person_is_left_out_with_its_reason(coco, wrong, field, problem):
    path = coco(lambda c: c["annotations"][0].update(wrong))
    found, refused = data.read_coco(path, path.parent, size=20)
    (refusal,) = refused.entries
    assert len(found) == 1 and refusal.record == "annotation 7" and refusal.field == field
    assert problem in refusal.problem and refusal.remedy
    assert sum(refused.counts.values()) == 1 and problem in str(refused)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    "damage, problem",
    [
        (lambda path: path.unlink(), "the photo is missing"),
        (truncate, "the photo is damaged"),
        (lambda path: path.write_text("no picture"), "the photo is damaged"),
        (lambda path: write_photo(path, width=50), "the photo has another size"),
    ],
)
def test_people_of_a_bad_photo_are_left_out_and_the_others_stay(coco, damage, problem):
    def second_photo(content):
        content["images"].append({"id": 2, "file_name": "b.jpg", "width": 60, "height": 40})
        content["annotations"][1]["image_id"] = 2

    path = coco(second_photo)
    write_photo(path.parent / "b.jpg")
    damage(path.parent / "b.jpg")
    found, refused = data.read_coco(path, path.parent, size=20)
    (refusal,) = refused.entries
    assert len(found) == 1 and refusal.problem == problem and "b.jpg" in refusal.remedy


def test_coco_without_anybody_usable_is_refused_with_the_counts(coco):
    path = coco(lambda c: [person.update(bbox=[0, 0, 0, 0]) for person in c["annotations"]])
    with pytest.raises(ValueError, match="nobody of 2 annotations can be used: 2 left out"):
        data.read_coco(path, path.parent, size=20)


@pytest.mark.parametrize("text, complaint", [("{", "is not JSON"), ("[]", "'annotations'"), ("{}", "'annotations'")])
def test_what_is_no_coco_file_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(ValueError, match=complaint) as refusal:
        data.read_coco(tmp_path / "wrong.json", tmp_path, size=20)
    assert "wrong.json" in str(refusal.value)


def test_an_absent_coco_file_or_folder_is_refused_by_name(coco, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        data.read_coco(tmp_path / "absent", tmp_path, size=20)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.read_coco(coco(), tmp_path / "nowhere", size=20)


@pytest.fixture
def spin_file(tmp_path):
    """A set of three people in SPIN's format, and the function that writes it with fields replaced."""
    write_photo(tmp_path / "a.jpg")
    g = np.random.default_rng(0)
    fields = {
        "imgname": np.array(["a.jpg"] * 3),
        "center": np.full((3, 2), 20.0),
        "scale": np.array([0.1, 0.2, 0.3]),
        "part": np.concatenate([g.uniform(10, 30, (3, 24, 2)), np.ones((3, 24, 1))], axis=-1),
        "openpose": np.concatenate([g.uniform(10, 30, (3, 25, 2)), g.uniform(0.1, 1, (3, 25, 1))], axis=-1),
        "pose": g.normal(size=(3, 72)),
        "shape": g.normal(size=(3, 10)),
        "has_smpl": np.array([1, 0, 1]),
        "S": np.concatenate([g.normal(size=(3, 24, 3)), np.ones((3, 24, 1))], axis=-1),
    }

    def write(**changed):
        kept = {k: v for k, v in {**fields, **changed}.items() if v is not None}
        np.savez(tmp_path / "set_train.npz", **kept)
        return tmp_path / "set_train.npz", fields

    return write


def test_every_field_of_spins_format_arrives_in_its_place(spin_file):
    path, fields = spin_file()
    found = data.read_spin_npz(path, path.parent, size=20)
    assert found.name == "set_train" and len(found) == 3
    expected = 112 + (fields["part"][1, :, :2] - 20) * 224 / 40
    np.testing.assert_allclose(found.keypoints.xy[1, 25:], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.keypoints.confidence[:, :25], fields["openpose"][..., 2], rtol=1e-6)
    np.testing.assert_allclose(found.labels.rotvec[2], fields["pose"][2].reshape(24, 3), rtol=1e-6)
    assert found.labels.has_smpl.tolist() == [True, False, True] and (found.labels.rotvec[1] == 0).all()
    np.testing.assert_allclose(found.labels.joints, fields["S"], rtol=1e-6)
    assert found.images.boxes[:, 2].tolist() == pytest.approx([20, 40, 60])
    assert len(data.check_samples(found)) == 0


def test_all_but_three_fields_of_spins_format_may_be_absent(spin_file):
    path, _ = spin_file(part=None, openpose=None, pose=None, shape=None, has_smpl=None, S=None)
    found = data.read_spin_npz(path, path.parent, size=20)
    assert not found.keypoints.visible.any() and found.judge is None
    path, _ = spin_file(has_smpl=None)
    assert data.read_spin_npz(path, path.parent, size=20).labels.has_smpl.all()


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"scale": None}, "no field 'scale'"),
        ({"imgname": np.array(["a.jpg"] * 3, dtype=object)}, "field 'imgname' cannot be read"),
        ({"imgname": np.arange(3)}, "imgname must be a list of strings"),
        ({"center": np.zeros((3, 3))}, r"center has shape \(3, 3\), expected \(3, 2\)"),
        ({"scale": np.array(["1", "2", "3"])}, "scale holds <U1, expected numbers"),
        ({"scale": np.array([1.0, np.nan, 1.0])}, "row 1 makes no box"),
        ({"scale": np.array([1.0, 1.0, 0.0])}, "row 2 makes no box"),
        ({"part": np.full((3, 24, 3), np.nan)}, "openpose or part of row 0 is not finite"),
        ({"shape": None}, "pose and shape come together"),
        ({"pose": np.full((3, 72), np.nan)}, "pose of row 0 is not finite"),
        ({"S": np.full((3, 24, 4), 800.0)}, "divide millimetres by 1000"),
    ],
)
def test_a_broken_file_of_spins_format_is_refused_with_its_name_and_field(spin_file, changed, complaint):
    path, _ = spin_file(**changed)
    with pytest.raises(ValueError, match=complaint) as refusal:
        data.read_spin_npz(path, path.parent, size=20)
    assert "set_train.npz" in str(refusal.value)


def test_absent_files_of_spins_format_are_refused_with_their_names(spin_file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        data.read_spin_npz(tmp_path / "absent.npz", tmp_path, size=20)
    path, _ = spin_file(imgname=np.array(["a.jpg", "gone.jpg", "gone.jpg"]))
    with pytest.raises(FileNotFoundError, match=r"1 photos of imgname are missing, the first is .*gone\.jpg"):
        data.read_spin_npz(path, tmp_path, size=20)
    path.write_text("no archive")
    with pytest.raises(ValueError, match="no npz archive"):
        data.read_spin_npz(path, tmp_path, size=20)


def test_the_real_coco_photos_give_every_selected_person():
    folder = REAL / "coco_images"
    if not folder.is_dir():
        pytest.skip("the COCO photos of realdata are not here")
    listed = json.loads((folder / "attribution.json").read_text())
    chosen = [i for photo in listed for i in photo["selected_annotation_ids"]]
    found, refused = data.read_coco(folder / "person_keypoints.json", folder / "images", size=80, annotation_ids=chosen)
    # SOURCE.md: 34 selected people, each with at least 12 labelled keypoints.
    assert len(found) == 34 and len(refused) == 0
    assert data.check_samples(found, min_visible=12).tolist() == []
    pixels = found.images[torch.arange(0, 34, 8)]
    assert (pixels.float().std(dim=(1, 2, 3)) > 10).all()
    everybody, refused = data.read_coco(folder / "person_keypoints.json", folder / "images", size=80)
    assert len(everybody) + len(refused) == 103 and len(everybody) >= 34


def test_the_real_coco_keypoints_are_all_read_and_lie_about_their_crops():
    path = REAL / "coco_keypoints" / "person_keypoints.json"
    if not path.is_file():
        pytest.skip("the COCO keypoints of realdata are not here")
    found, refused = data.read_coco_keypoints(path)
    visible = found.visible
    # SOURCE.md: 1,245 people with at least 8 labelled keypoints, 116 with all 17.
    assert len(found.xy) == 1245 and len(refused) == 0
    assert visible.sum(dim=-1).min() == 8 and (visible.sum(dim=-1) == 17).sum() == 116
    # COCO draws its boxes around what can be seen (v = 2); limbs hidden from view (v = 1) may reach beyond.
    annotated = json.loads(path.read_text())["annotations"]
    seen = torch.tensor([person["keypoints"] for person in annotated]).reshape(-1, 17, 3)[..., 2] == 2
    xy = found.xy[:, list(SOURCES["coco17"])]
    assert ((xy > 0) & (xy < 224)).all(dim=-1)[seen].all()
