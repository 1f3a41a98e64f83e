"""The pose sampler: anatomical limits, symmetry, no limb inside another, every action."""

from pathlib import Path

import numpy as np
import pytest

from spinkit import keypoints
from spinkit.people import anatomy, poses
from spinkit.people.actions import ACTIONS
from spinkit.people.anatomy import joint

BODY = Path(__file__).parents[1] / "data" / "body.npz"


@pytest.fixture(scope="module")
def rest_joints():
    with np.load(BODY) as body:
        return (body["J_regressor"].astype(float) @ body["v_template"]).astype(np.float64)


@pytest.fixture(scope="module")
def drawn(rest_joints):
    return poses.sample(3000, np.random.default_rng(7), rest_joints)


def folded(**degrees):
    """One pose from named angles."""
    return anatomy.to_rotvec({name: np.array([float(angle)]) for name, angle in degrees.items()})


def directions(body_pose, rest_joints, start, end):
    _, place = anatomy.forward_kinematics(body_pose, rest_joints)
    bone = place[:, joint(end)] - place[:, joint(start)]
    return bone / np.linalg.norm(bone, axis=-1, keepdims=True)


def test_the_same_seed_gives_the_same_poses(rest_joints):
    one, other = (poses.sample(50, np.random.default_rng(3), rest_joints) for _ in range(2))
    np.testing.assert_array_equal(one.body_pose, other.body_pose)
    np.testing.assert_array_equal(one.global_orient, other.global_orient)
    assert one.actions == other.actions


def test_different_seeds_give_different_poses(rest_joints):
    one, other = (poses.sample(5, np.random.default_rng(seed), rest_joints) for seed in (3, 4))
    assert not np.allclose(one.body_pose, other.body_pose)


@pytest.mark.parametrize("count", [0, 1, 130])
def test_a_sample_has_as_many_poses_as_asked_for(count, rest_joints):
    drawn = poses.sample(count, np.random.default_rng(0), rest_joints)
    assert drawn.body_pose.shape == (count, 24, 3)
    assert drawn.global_orient.shape == (count, 3)
    assert len(drawn.actions) == count
    assert drawn.body_pose.dtype == drawn.global_orient.dtype == np.float32


def test_a_negative_count_is_refused(rest_joints):
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        poses.sample(-1, np.random.default_rng(0), rest_joints)


def test_every_action_occurs(drawn):
    assert set(drawn.actions) == set(ACTIONS)


def test_the_pelvis_is_left_to_the_global_orientation(drawn):
    assert not drawn.body_pose[:, joint("pelvis")].any()


def test_every_heading_occurs_and_few_people_lie(drawn):
    facing = anatomy.forward_kinematics(
        np.concatenate([drawn.global_orient[:, None], drawn.body_pose[:, 1:]], 1), np.zeros((24, 3))
    )[0][:, 0]
    quadrant = np.floor(np.arctan2(facing[:, 0, 2], facing[:, 2, 2]) / (np.pi / 2)).astype(int)
    assert np.bincount(quadrant + 2).min() > 0.2 * len(facing)
    assert np.median(facing[:, 1, 1]) > 0.95  # the cosine of the angle between the pelvis and the vertical


def test_no_limb_enters_another_by_two_centimetres(drawn, rest_joints):
    assert poses.penetration(drawn.body_pose.astype(float), rest_joints).max() < poses.DEEPEST_OVERLAP + 1e-5


def test_a_hand_inside_the_chest_is_a_collision_and_the_t_pose_is_none(rest_joints):
    arms_through_body = folded(left_shoulder_flexion=40, left_shoulder_rotation=-75, left_elbow_flexion=143)
    assert poses.penetration(arms_through_body, rest_joints) > poses.DEEPEST_OVERLAP
    assert poses.penetration(np.zeros((1, 24, 3)), rest_joints) == 0


def test_penetration_does_not_depend_on_the_size_of_the_body_in_kind(rest_joints):
    body_pose = folded(left_shoulder_flexion=40, left_shoulder_rotation=-75, left_elbow_flexion=143)
    half = poses.penetration(body_pose, 0.5 * rest_joints)
    np.testing.assert_allclose(half, 0.5 * poses.penetration(body_pose, rest_joints))


def test_angles_stay_within_their_limits():
    dofs, _ = poses.draw_dofs(2000, np.random.default_rng(1))
    for name, (least, greatest, _) in anatomy.LIMITS.items():
        assert dofs[name].min() >= least, name
        assert dofs[name].max() <= greatest, name


def test_a_straight_knee_limits_the_hip():
    wanted = {"left_hip_flexion": np.array([120.0, 120.0]), "left_knee_flexion": np.array([0.0, 140.0])}
    np.testing.assert_allclose(anatomy.limited(wanted)["left_hip_flexion"], [82, 120])


def test_limiting_twice_changes_nothing_more():
    dofs, _ = poses.draw_dofs(500, np.random.default_rng(2))
    again = anatomy.limited(dofs)
    for name in anatomy.LIMITS:
        np.testing.assert_allclose(again[name], dofs[name], atol=1e-9, err_msg=name)


def test_knees_and_elbows_bend_one_way_only(drawn, rest_joints):
    knees = drawn.body_pose[:, [joint("left knee"), joint("right knee")]]
    assert knees[..., 0].min() >= 0
    assert np.degrees(knees[..., 0].max()) <= 140.01
    assert not knees[..., 1:].any()
    for side, inward in (("left", -1), ("right", 1)):
        rotation = anatomy.Rotation.from_rotvec(drawn.body_pose[:, joint(f"{side} elbow")].astype(float))
        forearm = rotation.apply([-inward, 0, 0])
        assert (forearm[:, 2] > -1e-6).all(), side
        np.testing.assert_allclose(forearm[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize(
    "degrees, start, end, expected",
    [
        ({}, "left shoulder", "left elbow", (0, -1, 0)),
        ({"left_shoulder_abduction": 90}, "left shoulder", "left elbow", (1, 0, 0)),
        ({"right_shoulder_flexion": 90}, "right shoulder", "right elbow", (0, 0, 1)),
        ({"left_elbow_flexion": 90}, "left elbow", "left wrist", (0, 0, 1)),
        ({"right_hip_flexion": 90}, "right hip", "right knee", (0, 0, 1)),
        ({"left_knee_flexion": 90}, "left knee", "left ankle", (0, 0, -1)),
        ({"spine_flexion": 75}, "pelvis", "neck", (0, 0.7, 0.7)),
        ({"spine_lateral": 32}, "pelvis", "neck", (0.35, 0.9, 0)),
    ],
)
def test_a_named_angle_moves_the_limb_that_it_names(degrees, start, end, expected, rest_joints):
    moved = directions(folded(**{"left_hip_flexion": 0, **degrees}), rest_joints, start, end)[0]
    assert moved @ np.array(expected) / np.linalg.norm(expected) > np.cos(np.radians(12))


def test_mirroring_twice_gives_the_pose_back(drawn):
    np.testing.assert_array_equal(anatomy.mirror(anatomy.mirror(drawn.body_pose)), drawn.body_pose)


def test_a_mirrored_pose_is_seen_in_the_mirror(drawn, rest_joints):
    symmetric = 0.5 * (rest_joints + rest_joints[list(keypoints.JOINT_MIRROR)] * [-1, 1, 1])
    body_pose = drawn.body_pose[:40].astype(float)
    _, place = anatomy.forward_kinematics(body_pose, symmetric)
    _, mirrored = anatomy.forward_kinematics(anatomy.mirror(body_pose), symmetric)
    np.testing.assert_allclose(mirrored, place[:, list(keypoints.JOINT_MIRROR)] * [-1, 1, 1], atol=1e-9)


def test_left_and_right_are_drawn_alike(drawn):
    """Each number's mean differs from that of the mirrored set by less than 5 standard errors."""
    mirrored = anatomy.mirror(drawn.body_pose)
    error = drawn.body_pose.std(0) * np.sqrt(2 / len(mirrored))
    assert (abs(drawn.body_pose.mean(0) - mirrored.mean(0)) <= 5 * error + 1e-6).all()


def test_drawing_changes_neither_the_body_nor_the_angles(rest_joints):
    before = rest_joints.copy()
    poses.sample(20, np.random.default_rng(0), rest_joints)
    np.testing.assert_array_equal(rest_joints, before)
    dofs = {"left_knee_flexion": np.array([200.0])}
    anatomy.limited(dofs)
    np.testing.assert_array_equal(dofs["left_knee_flexion"], [200.0])
