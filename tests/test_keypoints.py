import pytest
import torch

from spinkit import keypoints


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
        ("mpii16", {0: "Right Ankle", 6: "Pelvis (MPII)", 7: "Thorax (MPII)", 8: "Neck (LSP)", 15: "Left Wrist"}),
        ("coco23", {5: "Left Shoulder", 16: "Right Ankle", 17: "OP LBigToe", 19: "OP LHeel", 20: "OP RBigToe"}),
        ("wholebody133", {1: "Left Eye", 10: "Right Wrist", 18: "OP LSmallToe", 22: "OP RHeel"}),
        (
            "halpe26",
            {2: "Right Eye", 17: "Top of Head (LSP)", 18: "Neck (LSP)", 19: "Pelvis (MPII)", 20: "OP LBigToe"}
            | {21: "OP RBigToe", 22: "OP LSmallToe", 23: "OP RSmallToe", 24: "OP LHeel", 25: "OP RHeel"},
        ),
        ("halpe136", {0: "Nose", 16: "Right Ankle", 19: "Pelvis (MPII)", 25: "OP RHeel"}),
        (
            "mediapipe33",
            {0: "Nose", 2: "Left Eye", 5: "Right Eye", 7: "Left Ear", 8: "Right Ear", 11: "Left Shoulder"}
            | {14: "Right Elbow", 15: "Left Wrist", 23: "Left Hip", 26: "Right Knee", 27: "Left Ankle"}
            | {29: "OP LHeel", 30: "OP RHeel"},
        ),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_placed_point_keeps_its_name_and_all_others_are_missing(source, names, batch):
    slots, (points, taken) = keypoints.SOURCES[source], keypoints.points_in(source)
    g = torch.Generator().manual_seed(0)
    xy = 224 * torch.rand(*batch, points, 2, generator=g, dtype=torch.float64)
    confidence = torch.rand(*batch, points, generator=g, dtype=torch.float64) + 0.1
    placed = keypoints.place(xy, confidence, source)
    for i, name in names.items():
        assert torch.equal(placed.xy[..., keypoints.NAMES.index(name), :], xy[..., i, :])
    assert torch.equal(placed.confidence[..., slots], confidence[..., taken])
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


def test_the_two_orders_of_coco_share_their_points():
    names = [keypoints.NAMES[slot] for slot in keypoints.SOURCES["openpose25b"][:17]]
    plain = [keypoints.NAMES[slot] for slot in keypoints.SOURCES["coco17"]]
    assert names == ["OP " + n.replace("Left ", "L").replace("Right ", "R") for n in plain]


@pytest.mark.parametrize("source", keypoints.SOURCES)
def test_a_source_fills_each_keypoint_at_most_once_and_with_a_point_of_its_own(source):
    points, taken = keypoints.points_in(source)
    names = keypoints.filled(source)
    assert len(set(names)) == len(names) == len(set(taken)) == len(taken)
    assert max(taken) < points and points == int("".join(c for c in source if c.isdigit()).removesuffix("b"))


def test_the_table_of_sources_counts_what_each_fills():
    rows = {row["kind"]: row for row in keypoints.coverage()}
    assert list(rows) == list(keypoints.SOURCES)
    for source, row in rows.items():
        others = [name for name in row["trunk"].split(", ") if name]
        assert row["limbs"] + row["face"] + row["feet"] + len(others) == row["fills"] == len(keypoints.filled(source))
    assert rows["mediapipe33"] == {
        "kind": "mediapipe33",
        "points": 33,
        "fills": 19,
        "limbs": 12,
        "face": 5,
        "feet": 2,
        "trunk": "",
    }
    assert rows["openpose25"]["trunk"] == "OP Neck, OP MidHip"


def somebody(left, top, width, height, confidence=1.0):
    """A person whose sure points are the corners of a rectangle, with a doubtful point far away."""
    xy, scores = torch.zeros(49, 2), torch.zeros(49)
    xy[:3] = torch.tensor([[left, top], [left + width, top + height], [9000.0, 9000.0]])
    scores[:3] = torch.tensor([confidence, confidence, 0.1])
    return keypoints.Keypoints(xy, scores)


def test_the_largest_person_is_chosen_whatever_doubtful_points_say():
    people = [somebody(0, 0, 40, 50), somebody(100, 0, 50, 60), somebody(200, 0, 10, 90)]
    assert keypoints.choose_person(people) == 1
    assert keypoints.choose_person(people[:1] * 2) == 0


def test_a_box_chooses_who_shares_most_with_it():
    people = [somebody(0, 0, 40, 50), somebody(30, 0, 500, 600), somebody(200, 0, 10, 90)]
    # Of the box's 2000 px², the first covers 40 * 50 = 2000; the second covers 500 of 300,000.
    assert keypoints.choose_person(people, (0, 0, 40, 50)) == 0
    assert keypoints.choose_person(people, (195.0, 0.0, 20.0, 95.0)) == 2


@pytest.mark.parametrize(
    "people, box, complaint",
    [
        ([], None, "none of 0 people"),
        ([somebody(0, 0, 40, 50, confidence=0.1)], None, "none of 1 people has sure points"),
        ([somebody(0, 0, 40, 50)], (300, 300, 10, 10), "none of 1 people is in the box"),
        ([somebody(0, 0, 40, 50)], (0, 0, 0, 10), "the last two positive"),
    ],
)
def test_nobody_is_chosen_where_nobody_is_meant(people, box, complaint):
    with pytest.raises(ValueError, match=complaint):
        keypoints.choose_person(people, box)
