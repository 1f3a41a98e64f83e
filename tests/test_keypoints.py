import json
from pathlib import Path

import pytest
import torch

from spinkit import keypoints

REAL = Path(__file__).parents[1] / ".." / "shared" / "realdata"


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


@pytest.mark.parametrize("order", [keypoints.MIRROR, keypoints.JOINT_MIRROR])
def test_mirroring_twice_is_the_identity(order):
    assert [order[i] for i in order] == list(range(len(order)))


@pytest.mark.parametrize(
    "names, order", [(keypoints.NAMES, keypoints.MIRROR), (keypoints.JOINT_NAMES, keypoints.JOINT_MIRROR)]
)
def test_the_mirror_swaps_left_and_right_in_the_names(names, order):
    def swapped(name):
        for left, right in (("Left", "Right"), ("OP L", "OP R")):
            if left in name:
                return name.replace(left, right)
            if right in name:
                return name.replace(right, left)
        return name

    assert [names[i] for i in order] == [swapped(name) for name in names]


def test_every_joint_follows_its_parent_and_mirrors_with_it():
    parents, mirror = keypoints.JOINT_PARENTS, keypoints.JOINT_MIRROR
    assert parents[0] == -1 and all(parents[i] < i for i in range(1, 24))
    assert all(parents[mirror[i]] == mirror[parents[i]] for i in range(1, 24))


def test_every_table_has_an_entry_for_each_of_the_49_keypoints():
    assert len(keypoints.NAMES) == len(set(keypoints.NAMES)) == len(keypoints.POOL) == 49
    assert set(keypoints.POOL) <= set(range(54))
    openpose, annotated = range(49)[keypoints.OPENPOSE], range(49)[keypoints.ANNOTATED]
    assert [*openpose, *annotated] == list(range(49))


def test_openpose_and_coco_agree_on_the_pool_point_of_what_they_share():
    """Shoulders, elbows, wrists, knees, ankles and the face are the same points under both names."""
    shared = {"Nose": "OP Nose"}
    for part in ("Shoulder", "Elbow", "Wrist", "Knee", "Ankle", "Eye", "Ear"):
        shared |= {f"Left {part}": f"OP L{part}", f"Right {part}": f"OP R{part}"}
    pool = dict(zip(keypoints.NAMES, keypoints.POOL, strict=True))
    assert {pool[a] - pool[b] for a, b in shared.items()} == {0}


@pytest.mark.parametrize(
    "source, names",
    [
        (
            "coco17",
            {0: "Nose", 1: "Left Eye", 4: "Right Ear", 5: "Left Shoulder", 12: "Right Hip", 15: "Left Ankle"},
        ),
        ("openpose25", {0: "OP Nose", 8: "OP MidHip", 14: "OP LAnkle", 24: "OP RHeel"}),
        (
            "openpose25b",
            {0: "OP Nose", 2: "OP REye", 5: "OP LShoulder", 12: "OP RHip", 15: "OP LAnkle"}
            | {17: "Neck (LSP)", 18: "Top of Head (LSP)", 19: "OP LBigToe", 24: "OP RHeel"},
        ),
        ("lsp14", {0: "Right Ankle", 3: "Left Hip", 6: "Right Wrist", 13: "Top of Head (LSP)"}),
        ("mpii16", {0: "Right Ankle", 6: "Pelvis (MPII)", 8: "Neck (LSP)", 15: "Left Wrist"}),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_placed_point_keeps_its_name_and_all_others_are_missing(source, names, batch):
    slots = keypoints.SOURCES[source]
    g = torch.Generator().manual_seed(0)
    xy = 224 * torch.rand(*batch, len(slots), 2, generator=g, dtype=torch.float64)
    confidence = torch.rand(*batch, len(slots), generator=g, dtype=torch.float64) + 0.1
    placed = keypoints.place(xy, confidence, source)
    for i, name in names.items():
        assert torch.equal(placed.xy[..., keypoints.NAMES.index(name), :], xy[..., i, :])
    assert torch.equal(placed.confidence[..., slots], confidence)
    assert torch.equal(placed.visible.sum(dim=-1), torch.full(batch, len(slots)))


def test_a_missing_point_becomes_finite_and_the_callers_tensor_stays_as_it_was():
    xy = torch.full((17, 2), torch.nan)
    xy[:3] = 7.0
    confidence = torch.tensor([1.0] * 3 + [0.0] * 14)
    placed = keypoints.place(xy, confidence, "coco17")
    assert torch.isfinite(placed.xy).all() and placed.visible.sum() == 3
    assert xy.isnan().sum() == 28


def test_an_index_selects_people():
    people = keypoints.place(torch.rand(3, 14, 2), torch.rand(3, 14), "lsp14")
    one = people[1]
    assert torch.equal(one.xy, people.xy[1]) and torch.equal(one.confidence, people.confidence[1])
    assert people[torch.tensor([2, 0])].to(torch.float64).xy.dtype == torch.float64


@pytest.mark.parametrize(
    "xy, confidence, source, complaint",
    [
        (torch.zeros(17, 2), torch.ones(17), "coco18", "choose one of coco17"),
        (torch.zeros(16, 2), torch.ones(16), "coco17", "coco17 has 17 points, got 16"),
        (torch.full((14, 2), torch.nan), torch.ones(14), "lsp14", "xy of a visible point"),
        (torch.zeros(14, 2), torch.full((14,), -1.0), "lsp14", "confidence must be finite"),
    ],
)
def test_what_cannot_be_placed_is_refused(xy, confidence, source, complaint):
    with pytest.raises(ValueError, match=complaint):
        keypoints.place(xy, confidence, source)


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
        ([], "'people' is missing"),
        ({"version": 1.3}, "'people' is missing"),
        (
            {"people": [person(), person(pose_keypoints_2d=[1.0] * 54)]},
            r"people\[1\].pose_keypoints_2d: 54 numbers",
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


def test_the_two_orders_of_coco_share_their_points():
    names = [keypoints.NAMES[slot] for slot in keypoints.SOURCES["openpose25b"][:17]]
    plain = [keypoints.NAMES[slot] for slot in keypoints.SOURCES["coco17"]]
    assert names == ["OP " + n.replace("Left ", "L").replace("Right ", "R") for n in plain]


def test_a_file_in_the_other_order_is_refused_and_read_once_its_model_is_said(tmp_path):
    other, nobody = person(pose_keypoints_2d=laid_out("BODY_25B")), person(pose_keypoints_2d=[0.0] * 75)
    path = write(tmp_path, {"people": [other, nobody, other, person()]})
    with pytest.raises(ValueError, match=r"of 2 of 3 people look like BODY_25B.*say model='BODY_25B'"):
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


def test_real_files_of_body_25b_are_told_apart():
    paths = sorted((REAL / "openpose_multiview" / "pose").rglob("*.0033.json"))
    if not paths:
        pytest.skip("the OpenPose views of realdata are not here")
    for path in paths:
        with pytest.raises(ValueError, match="look like BODY_25B"):
            keypoints.read_openpose(path)
        people = keypoints.read_openpose(path, "BODY_25B")
        seen = max(people, key=lambda person: float(person.confidence.sum()))
        head, *feet = (keypoints.NAMES.index(n) for n in ("Top of Head (LSP)", "OP LBigToe", "OP RBigToe"))
        # y points down.
        assert all(seen.xy[head, 1] < seen.xy[foot, 1] for foot in feet if seen.visible[foot])


def test_a_real_openpose_file_is_read():
    path = REAL / "openpose_single" / "im1010_openpose.json"
    if not path.is_file():
        pytest.skip("the OpenPose sample of realdata is not here")
    (found,) = keypoints.read_openpose(path)
    # openpose_single/SOURCE.md counts them.
    assert (found.confidence > 0.3).sum() == 21
