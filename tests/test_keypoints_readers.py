"""Files of keypoints, written as detectors and data sets write them, and what is refused."""

import json

import numpy as np
import pytest
import torch

from spinkit import keypoints
from spinkit.keypoints import NAMES


def points(count, person=0):
    """Of every point its number: x = 10 + i, y = 300 - 2 i, both further by 50 for the next person; scores differ."""
    number = np.arange(count)
    return np.stack([10 + number + 50 * person, 300 - 2 * number + 50 * person, 0.5 + number / 1000], axis=-1)


def number_of(person, name):
    """Which of the file's points stands at a name, told from its place; None where the name is missing."""
    i = NAMES.index(name)
    if person.confidence[i] == 0:
        return None
    number = round(float(person.xy[i, 0])) - 10
    assert person.xy[i].tolist() == pytest.approx([10 + number, 300 - 2 * number], abs=1e-4)
    return number


def flat(table):
    return np.asarray(table).flatten().tolist()


def write(folder, content, name="people.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def coco(annotations, **changes):
    images = [{"id": 785, "file_name": "000000000785.jpg"}, {"id": 9, "file_name": "other.jpg"}]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}], **changes}


def flags(count, v=2):
    table = points(count)
    table[:, 2] = v
    return table


def mmpose(count, person=0, **changes):
    table = points(count, person)
    record = {"keypoints": table[:, :2].tolist(), "keypoint_scores": table[:, 2].tolist()}
    return {**record, "bbox": [[0, 0, 90, 90]], "bbox_score": 0.9, **changes}


def alphapose(count, image="785.jpg", **changes):
    return {"image_id": image, "category_id": 1, "keypoints": flat(points(count)), "score": 2.9, **changes}


def landmarks(width=200, height=400):
    return [
        {"x": x / width, "y": y / height, "z": 0.1, "visibility": v, "presence": 1.0} for x, y, v in points(33).tolist()
    ]


def mpii(**changes):
    table = points(16) + np.array([1, 1, 0])  # counted from 1
    return {"joints": table[:, :2].tolist(), "joints_vis": [1] * 16, "image": "015601864.jpg", "scale": 3.0, **changes}


WHOLEBODY = {
    "keypoints": flat(flags(17)),
    "foot_kpts": flat(flags(23)[17:]),
    "face_kpts": [0] * 204,
    "lefthand_kpts": [0] * 63,
    "righthand_kpts": [0] * 63,
    "foot_valid": True,
    "iscrowd": 0,
    "image_id": 785,
    "bbox": [0, 0, 9, 9],
}
ARMS = {"Nose": 0, "Left Shoulder": 5, "Right Shoulder": 6, "Left Wrist": 9, "Right Wrist": 10, "Right Ankle": 16}
COCO_FEET = {"OP LBigToe": 17, "OP LSmallToe": 18, "OP LHeel": 19, "OP RBigToe": 20, "OP RSmallToe": 21, "OP RHeel": 22}
HALPE = {"Top of Head (LSP)": 17, "Neck (LSP)": 18, "Pelvis (MPII)": 19, "OP LBigToe": 20, "OP RBigToe": 21}
EACH = {
    "COCO annotation": (coco([{"image_id": 785, "keypoints": flat(flags(17))}]), {"picture": 785}, 17, ARMS),
    "COCO annotation with feet": (
        *(coco([{"image_id": 785, "keypoints": flat(flags(23))}]), {"picture": "000000000785.jpg"}),
        *(23, ARMS | COCO_FEET),
    ),
    "COCO-WholeBody annotation": (coco([WHOLEBODY]), {"picture": "000000000785.jpg"}, 23, ARMS | COCO_FEET),
    "COCO results": ([alphapose(17, 785)], {"picture": "000000000785.jpg"}, 17, ARMS),
    "MMPose image": ({"meta_info": {"dataset_name": "coco"}, "instance_info": [mmpose(17)]}, {}, 17, ARMS),
    "MMPose whole body": (
        {"meta_info": {"dataset_name": "coco_wholebody"}, "instance_info": [mmpose(133)]},
        *({}, 23, ARMS | COCO_FEET),
    ),
    "MMPose list": ([mmpose(26)], {}, 26, ARMS | HALPE),
    "MMPose nested list": ([[mmpose(17)]], {}, 17, ARMS),
    "MMPose video": (
        {"instance_info": [{"frame_id": 1, "instances": []}, {"frame_id": 2, "instances": [mmpose(17)]}]},
        *({"picture": 2}, 17, ARMS),
    ),
    "ViTPose of transformers": ([{"keypoints": points(17)[:, :2].tolist(), "scores": [0.5] * 17}], {}, 17, ARMS),
    "x, y, score in rows": ({"keypoints": points(17).tolist()}, {}, 17, ARMS),
    "easy_ViTPose": (
        {"keypoints": [{"3": points(17)[:, [1, 0, 2]].tolist()}], "skeleton": {"0": "nose", "1": "left_eye"}},
        *({"kind": "coco17"}, 17, ARMS),
    ),
    "AlphaPose 26": ([alphapose(26)], {}, 26, ARMS | HALPE | {"OP LHeel": 24, "OP RHeel": 25}),
    "AlphaPose 136": ([alphapose(136), alphapose(136, "9.jpg")], {"picture": "785.jpg"}, 26, ARMS | HALPE),
    "MediaPipe, Python": ({"landmark": landmarks()}, {"image_size": (200, 400)}, 19, {"OP LHeel": 29, "Left Hip": 23}),
    "MediaPipe, tasks": (
        *({"pose_landmarks": [landmarks()]}, {"image_size": (200, 400)}, 19),
        {
            "Nose": 0,
            "Left Eye": 2,
            "Right Eye": 5,
            "Left Wrist": 15,
            "Right Ankle": 28,
            "OP RHeel": 30,
            "OP LBigToe": None,
        },
    ),
    "MediaPipe, JavaScript": ({"landmarks": [landmarks()]}, {"image_size": (200, 400)}, 19, {"Right Shoulder": 12}),
    "MediaPipe, bare": (landmarks(), {"image_size": (200, 400)}, 19, {"Left Elbow": 13}),
    "MPII": ([mpii()], {}, 16, {"Right Ankle": 0, "Left Ankle": 5, "Pelvis (MPII)": 6, "Top of Head (LSP)": 9}),
    "MPII from MMPose": (
        {"meta_info": {"dataset_name": "mpii"}, "instance_info": [mmpose(16)]},
        *({}, 16, {"Thorax (MPII)": 7, "Neck (LSP)": 8, "Right Wrist": 10, "Left Wrist": 15}),
    ),
    "LSP": ([mmpose(14)], {"kind": "lsp14"}, 14, {"Right Ankle": 0, "Left Hip": 3, "Top of Head (LSP)": 13}),
    "OpenPose layout, Halpe points": ({"people": [{"pose_keypoints_2d": flat(points(26))}]}, {}, 26, ARMS | HALPE),
}


@pytest.mark.parametrize("name", EACH)
def test_every_point_of_a_file_gets_its_name(tmp_path, name):
    content, words, count, expected = EACH[name]
    (person,) = keypoints.read(write(tmp_path, content), **words)
    assert {name: number_of(person, name) for name in expected} == expected
    assert person.visible.sum() == count and person.xy.dtype == torch.float32


def test_a_missing_point_has_no_confidence_however_it_is_written(tmp_path):
    table = points(17)
    table[3] = 0  # not detected
    table[4, :2] = 0  # at no place, though it scores
    table[5, 2] = 0
    table[6, 2] = -0.1  # MMPose's for what it did not find
    (person,) = keypoints.read(write(tmp_path, [{"keypoints": flat(table)}]))
    gone = [NAMES.index(n) for n in ("Left Ear", "Right Ear", "Left Shoulder", "Right Shoulder")]
    assert (person.confidence[gone] == 0).all() and (person.xy[gone] == 0).all() and person.visible.sum() == 13


def test_flags_of_annotators_weigh_alike_and_low_scores_stay(tmp_path):
    table = flags(17)
    table[:2, 2] = 0, 1
    (marked,) = keypoints.read(write(tmp_path, [{"keypoints": flat(table)}]))
    assert marked.confidence[[NAMES.index("Nose"), NAMES.index("Left Eye"), NAMES.index("Right Eye")]].tolist() == [
        0,
        1,
        1,
    ]
    table[:, 2], table[0, 2] = 0.9, 0.01
    (scored,) = keypoints.read(write(tmp_path, [{"keypoints": flat(table)}]))
    assert scored.confidence[NAMES.index("Nose")] == pytest.approx(0.01)


def test_people_keep_the_order_of_the_file_and_crowds_are_nobody(tmp_path):
    rows = [{"image_id": 785, "keypoints": flat(points(17, k)), "iscrowd": int(k == 1)} for k in range(3)]
    people = keypoints.read(write(tmp_path, coco(rows)), picture=785)
    assert [float(p.xy[NAMES.index("Nose"), 0]) for p in people] == [10, 110]


@pytest.mark.parametrize("content", [[], {"people": []}, {"instance_info": []}, {"pose_landmarks": None}, coco([])])
def test_a_file_in_which_nobody_was_found_gives_nobody(tmp_path, content):
    assert keypoints.read(write(tmp_path, content), picture="other.jpg", image_size=(9, 9)) == []


NAMED = {"skeleton": {str(i): name for i, name in enumerate(["root", "neck", "l_hip", "l_knee", "l_paw", "r_hip"])}}
POSETRACK = coco([], categories=[{"keypoints": ["nose", "head_bottom", "head_top", "l_ear", "r_ear", "left_ear"]}])
POSETRACK["annotations"] = [{"image_id": 785, "keypoints": flat(flags(17))}]
REFUSED = {
    "truncated": ('{"people": [', {}, "is not JSON"),
    "empty file": ("", {}, "is not JSON"),
    "empty object": ({}, {}, "no known layout"),
    "no keypoints": ({"version": 1.3}, {}, "no known layout"),
    "unknown kind": ([], {"kind": "coco18"}, "'coco18' of .* is unknown; choose one of coco17"),
    "count of no kind": ([alphapose(18)], {}, "people of 18 points are of no known kind"),
    "other count": ([alphapose(17)], {"kind": "halpe26"}, r"people.json: \[0\]: halpe26 has 26 points, got 17"),
    "LSP unsaid": ([mmpose(14)], {}, "14 points are; if it is so, say kind=lsp14"),
    "25 in a list": ([alphapose(25)], {}, "say kind=openpose25 or openpose25b"),
    "animals": ({"keypoints": [{"0": points(17).tolist()}], **NAMED}, {}, "say kind=coco17"),
    "PoseTrack": (POSETRACK, {"picture": 785}, "say kind=coco17"),
    "no triples": ([{"keypoints": flat(points(17))[:-1]}], {}, r"\[0\].keypoints: 50 numbers"),
    "no scores": ([{"keypoints": points(17)[:, :2].tolist()}], {}, "not 3 numbers a point"),
    "scores of others": ([mmpose(17, keypoint_scores=[1.0])], {}, r"keypoint_scores: no list of 17"),
    "NaN": ([mmpose(17, keypoint_scores=[float("nan")] * 17)], {}, "keypoint_scores holds something that is no finite"),
    "infinity": ([alphapose(17, keypoints=[float("inf")] * 51)], {}, "no finite number"),
    "a huge whole number": ([alphapose(17, keypoints=[10**400] * 51)], {}, "no finite number"),
    "words": ([alphapose(17, keypoints=["1"] * 51)], {}, "no finite number"),
    "no record": ({"instance_info": [7]}, {}, r"instance_info\[0\].keypoints: no list"),
    "no annotation": (coco([7]), {}, r"annotations\[0\] is no JSON object"),
    "which picture": (coco([]), {}, "has several pictures; say picture=, one of 000000000785.jpg, other.jpg"),
    "no such picture": (coco([]), {"picture": "third.jpg"}, "has no picture third.jpg"),
    "another's photo": ([alphapose(17)], {"picture": "9.jpg"}, "has no picture 9.jpg"),
    "no image size": ({"landmark": landmarks()}, {}, r"say image_size=\(width, height\)"),
    "flat image size": ({"landmark": landmarks()}, {"image_size": (0, 9)}, r"say image_size=\(width, height\)"),
    "few landmarks": ({"landmark": landmarks()[:32]}, {"image_size": (9, 9)}, "mediapipe33 has 33 points, got 32"),
    "no visibility": ({"landmarks": [[{"x": 1, "y": 1}] * 33]}, {"image_size": (9, 9)}, r"landmarks\[0\]: not every"),
    "flags of others": ([mpii(joints_vis=[1])], {}, r"\[0\].joints_vis: no list of 16"),
    "normalised": ([alphapose(17, keypoints=[0.5] * 51)], {}, "as if normalised; write pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused_with_file_field_and_remedy(tmp_path, name):
    content, words, complaint = REFUSED[name]
    with pytest.raises(ValueError, match=complaint) as refusal:
        keypoints.read(write(tmp_path, content), **words)
    assert "people.json" in str(refusal.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        keypoints.read(tmp_path / "none.json")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_saved_is_read_back_exactly(tmp_path, dtype):
    g = torch.Generator().manual_seed(0)
    xy = 300 * torch.rand(3, 49, 2, generator=g, dtype=dtype)
    confidence = torch.rand(3, 49, generator=g, dtype=dtype) * (torch.arange(49) % 4 > 0)
    xy[0, 1] = 0  # a place like any other in our own file
    people = [keypoints.Keypoints(*person) for person in zip(xy, confidence, strict=True)]
    again = keypoints.read(keypoints.save(tmp_path / "ours.npz", people))
    assert len(again) == 3
    for a, b in zip(people, again, strict=True):
        assert torch.equal(a.xy, b.xy) and torch.equal(a.confidence, b.confidence) and a.xy.dtype == b.xy.dtype
    assert keypoints.read(keypoints.save(tmp_path / "nobody.npz", [])) == []


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"keypoints": points(17)[None]}, {}),
        ({"keypoints": points(17).astype(">f4")}, {}),
        ({"keypoints": points(17), "kind": "coco17"}, {}),
        ({"keypoints": points(17)}, {"kind": "coco17"}),
    ],
)
def test_a_plain_npz_is_read(tmp_path, arrays, words):
    np.savez(tmp_path / "plain.npz", **arrays)
    (person,) = keypoints.read(tmp_path / "plain.npz", **words)
    assert {name: number_of(person, name) for name in ARMS} == ARMS


@pytest.mark.parametrize(
    "arrays, complaint",
    [
        ({"imgname": np.array(["a.jpg"]), "part": np.zeros((1, 24, 3))}, "read it with data.read_spin_npz"),
        ({"poses": np.zeros((1, 72))}, "no field 'keypoints'"),
        ({"keypoints": np.zeros((1, 17, 2))}, r"shape \(1, 17, 2\), expected \(people, points, 3\)"),
        ({"keypoints": np.zeros((1, 25, 3))}, "say kind=openpose25 or openpose25b"),
        ({"keypoints": np.full((1, 17, 3), np.nan)}, r"keypoints\[0\]: confidence must be finite"),
        ({"keypoints": points(17) * np.array([np.nan, 1, 1])}, r"keypoints\[0\]: xy of a visible point is NaN"),
        ({"keypoints": points(17), "kind": "dogs"}, "unknown keypoint source 'dogs'"),
        ({"keypoints": np.full((17, 3), "a")}, "keypoints holds <U1, no numbers"),
        ({"names": np.array(["nose"]), "xy": np.zeros((1, 49, 2))}, "names are not the 49"),
        ({"names": np.array(NAMES), "xy": np.zeros((1, 49, 2))}, "confidence is missing"),
        ({"names": np.array(NAMES), "xy": np.zeros((2, 49, 2)), "confidence": np.zeros((1, 49))}, "differ in length"),
        ({"keypoints": np.array([{"a": 1}], dtype=object)}, "not an npz file of plain arrays"),
    ],
)
def test_a_strange_npz_is_refused_with_its_field(tmp_path, arrays, complaint):
    np.savez(tmp_path / "strange.npz", **arrays)
    with pytest.raises(ValueError, match=complaint) as refusal:
        keypoints.read(tmp_path / "strange.npz")
    assert "strange.npz" in str(refusal.value)


def test_code_in_an_npz_is_not_run(tmp_path):
    class Act:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    np.savez(tmp_path / "hostile.npz", keypoints=np.array([Act()], dtype=object))
    with pytest.raises(ValueError, match=r"hostile\.npz: not an npz file of plain arrays"):
        keypoints.read(tmp_path / "hostile.npz")
    assert not (tmp_path / "ran").exists()


def test_a_truncated_npz_is_refused(tmp_path):
    whole = keypoints.save(tmp_path / "ours.npz", []).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.npz: not an npz file"):
        keypoints.read(tmp_path / "half.npz")


def test_only_lists_of_single_people_are_saved_and_only_as_npz(tmp_path):
    batch = keypoints.Keypoints(torch.ones(2, 49, 2), torch.ones(2, 49))
    with pytest.raises(ValueError, match="one Keypoints a person"):
        keypoints.save(tmp_path / "batch.npz", [batch])
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        keypoints.save(tmp_path / "people.json", list(batch))
    assert len(keypoints.read(keypoints.save(tmp_path / "batch.npz", list(batch)))) == 2


def test_every_picture_of_a_real_coco_file_is_read(realdata):
    path = realdata / "coco_images" / "person_keypoints.json"
    content = json.loads(path.read_text())
    for image in content["images"][:4]:
        people = keypoints.read(path, picture=image["file_name"])
        mine = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        assert [int(p.visible.sum()) for p in people] == [a["num_keypoints"] for a in mine]
