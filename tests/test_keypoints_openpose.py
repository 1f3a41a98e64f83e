"""OpenPose's files, and its two orders of 25 points."""

import json

import pytest
import torch

from spinkit import keypoints


def laid_out(model):
    """25 points, each a step of (3, 4) from its neighbour on the way from the nose, all with a score of a half."""
    rows = torch.full((25, 3), 0.5)
    rows[0, :2] = 100.0
    known = {0}
    while len(known) < 25:
        for a, b in (*keypoints.BONES[model], (19, 20), (22, 23)):
            if (a in known) != (b in known):
                rows[b if a in known else a, :2] = rows[a if a in known else b, :2] + torch.tensor([3.0, 4.0])
                known |= {a, b}
    return rows.flatten().tolist()


def person(**changes):
    return {"pose_keypoints_2d": laid_out("BODY_25"), **changes}


def write(folder, content):
    path = folder / "photo_keypoints.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_openpose_people_are_read_in_the_order_of_the_file(tmp_path):
    second = person(pose_keypoints_2d=[0.0] * 75)
    people = keypoints.read_openpose(write(tmp_path, {"people": [person(), second]}))
    assert len(people) == 2
    assert people[0].xy[4].tolist() == laid_out("BODY_25")[12:14] and people[0].confidence[4] == 0.5
    assert torch.equal(people[0].visible, torch.arange(49) < 25)
    assert people[1].visible.sum() == 0
    assert keypoints.read_openpose(write(tmp_path, {"people": []})) == []


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("{", "is not JSON"),
        ({"version": 1.3}, "no known layout"),
        (
            {"people": [person(), person(pose_keypoints_2d=[1.0] * 54)]},
            r"people\[1\]: openpose25 has 25 points, got 18",
        ),
        ({"people": [{}]}, r"people\[0\].pose_keypoints_2d: no list"),
        ({"people": [person(pose_keypoints_2d=["a"] * 75)]}, "no finite number"),
        ({"people": [person(pose_keypoints_2d=[float("nan")] * 75)]}, "no finite number"),
        ({"people": [person(pose_keypoints_2d=[1.0, 2.0, -1.0] * 25)]}, "confidence must be"),
    ],
)
def test_a_broken_openpose_file_is_refused_with_its_name_and_field(tmp_path, content, complaint):
    with pytest.raises(ValueError, match=complaint) as refusal:
        keypoints.read_openpose(write(tmp_path, content))
    assert "photo_keypoints.json" in str(refusal.value)


def test_an_absent_openpose_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        keypoints.read_openpose(tmp_path / "absent.json")


def test_a_file_in_the_other_order_is_refused_and_read_once_its_model_is_said(tmp_path):
    other, nobody = person(pose_keypoints_2d=laid_out("BODY_25B")), person(pose_keypoints_2d=[0.0] * 75)
    path = write(tmp_path, {"people": [other, nobody, other, person()]})
    with pytest.raises(ValueError, match=r"of 2 of 3 people look like BODY_25B.*say kind='openpose25b'"):
        keypoints.read_openpose(path)
    people = keypoints.read_openpose(path, model="BODY_25B")
    assert people[0].xy[keypoints.NAMES.index("Neck (LSP)")].tolist() == laid_out("BODY_25B")[51:53]
    assert people[0].visible.sum() == 25 and people[1].visible.sum() == 0


def test_one_person_of_two_who_looks_odd_does_not_spoil_the_file(tmp_path):
    odd = person(pose_keypoints_2d=laid_out("BODY_25B"))
    assert len(keypoints.read_openpose(write(tmp_path, {"people": [odd, person()]}))) == 2


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="'COCO' is unknown; choose one of BODY_25, BODY_25B"):
        keypoints.read_openpose(write(tmp_path, {"people": []}), model="COCO")


def test_real_files_of_body_25b_are_told_apart(realdata):
    paths = sorted((realdata / "openpose_multiview" / "pose").rglob("*.0033.json"))
    assert len(paths) == 4
    for path in paths:
        with pytest.raises(ValueError, match="look like BODY_25B"):
            keypoints.read_openpose(path)
        people = keypoints.read_openpose(path, "BODY_25B")
        seen = people[keypoints.choose_person(people)]
        head, *feet = (keypoints.NAMES.index(n) for n in ("Top of Head (LSP)", "OP LBigToe", "OP RBigToe"))
        # y points down.
        assert all(seen.xy[head, 1] < seen.xy[foot, 1] for foot in feet if seen.visible[foot])


def test_a_real_openpose_file_is_read(realdata):
    (found,) = keypoints.read(realdata / "openpose_single" / "im1010_openpose.json")
    # openpose_single/SOURCE.md counts them.
    assert (found.confidence > 0.3).sum() == 21


def test_in_a_real_clip_of_two_people_the_larger_one_is_chosen(realdata):
    """In view 2 a small second person stands in the back."""
    for path in sorted((realdata / "openpose_multiview" / "pose" / "cam02_json").glob("*.json")):
        people = keypoints.read(path, "openpose25b")
        chosen = people[keypoints.choose_person(people)]
        sure = chosen.xy[chosen.confidence > keypoints.SURE]
        # The main person is about 800 pixels tall.
        assert (sure[:, 1].max() - sure[:, 1].min()) > 500
