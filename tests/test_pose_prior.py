"""The pose prior of data/: what its mixture prefers, and the translation of the recordings behind it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spinkit.people import anatomy, poses
from spinkit.people.anatomy import joint

LIMBS = {
    "humerus": ("shoulder", "elbow"),
    "radius": ("elbow", "wrist"),
    "femur": ("hip", "knee"),
    "tibia": ("knee", "ankle"),
}


@pytest.fixture(scope="module")
def maker(root):
    """The scripts beside the data, as modules."""
    sys.path.insert(0, str(root / "data"))
    try:
        import cmu
        import make_pose_prior
    finally:
        sys.path.remove(str(root / "data"))
    return SimpleNamespace(cmu=cmu, prior=make_pose_prior)


@pytest.fixture(scope="module")
def rest_joints(maker, root):
    return maker.prior.rest_joints(root / "data" / "body.npz")


@pytest.fixture(scope="module")
def mixture(root):
    with np.load(root / "data" / "pose_prior.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def recordings(realdata):
    folder = realdata / "mocap_cmu"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name} among the real data: the CMU recordings are not part of the project")
    return folder


@pytest.fixture(scope="module")
def clips(maker, recordings):
    return maker.cmu.read_folder(recordings)


@pytest.fixture(scope="module")
def held_out_frames(maker, clips, rest_joints):
    """Twenty frames at most of each clip, from the part that trained nothing."""
    frames = [maker.prior.split(maker.cmu.retarget(clip, rest_joints))[1][:20] for clip in clips]
    return np.concatenate(frames)


@pytest.fixture(scope="module")
def held_out_samples(rest_joints):
    return poses.sample(1500, np.random.default_rng(12345), rest_joints).body_pose.astype(np.float64)


def energy(mixture, body_pose):
    """SMPLify's value of a pose without its constant: the best component's, determinants over the least."""
    means, covariances = mixture["means"].astype(np.float64), mixture["covars"].astype(np.float64)
    difference = body_pose[:, 1:].reshape(-1, 1, 69) - means
    spread = np.linalg.slogdet(covariances)[1]
    offset = 0.5 * (spread - spread.min()) - np.log(mixture["weights"])
    whitened = np.linalg.solve(np.linalg.cholesky(covariances), difference[..., None])[..., 0]
    return (0.5 * (whitened**2).sum(-1) + offset).min(-1)


def ranked_below(good, bad):
    """Share of pairs in which the good pose has the lower energy (the area under the ROC curve)."""
    return (good[:, None] < bad).mean()


def broken(body_pose):
    """One joint of each pose bent as no joint bends: a knee or elbow backwards, a spine or thigh wrung."""
    broken = body_pose.copy()
    for kind, (names, rotvec) in enumerate(
        [
            (("left knee",), (-1.2, 0, 0)),
            (("left elbow",), (0, 1.2, 0)),
            (("spine 1", "spine 2"), (0, 0.9, 0)),
            (("left hip",), (1.2, 0, 0)),
        ]
    ):
        for name in names:
            broken[kind::4, joint(name)] = rotvec
    return broken


def test_the_file_holds_a_mixture_of_eight_with_its_acknowledgement(mixture):
    assert mixture["means"].shape == (8, 69)
    assert mixture["covars"].shape == (8, 69, 69)
    assert mixture["weights"].shape == (8,)
    assert {mixture[name].dtype for name in ("means", "covars", "weights")} == {np.dtype(np.float32)}
    assert "obtained from mocap.cs.cmu.edu" in str(mixture["source"])
    assert "NSF EIA-0196217" in str(mixture["source"])


def test_weights_sum_to_one_and_no_component_is_idle(mixture):
    np.testing.assert_allclose(mixture["weights"].sum(), 1, atol=1e-6)
    assert mixture["weights"].min() > 0.01


def test_covariances_are_symmetric_and_positive_definite(mixture, maker):
    np.testing.assert_allclose(mixture["covars"], mixture["covars"].swapaxes(-1, -2), atol=1e-7)
    assert np.linalg.eigvalsh(mixture["covars"].astype(np.float64)).min() > 0.9 * maker.prior.REGULARISATION


def test_sampled_poses_cost_less_than_broken_ones_and_noise(mixture, held_out_samples):
    good = energy(mixture, held_out_samples)
    assert ranked_below(good, energy(mixture, broken(held_out_samples))) > 0.9
    noise = np.random.default_rng(0).normal(0, 0.5, held_out_samples.shape)
    assert ranked_below(good, energy(mixture, noise)) > 0.99


def test_recorded_poses_cost_less_than_broken_ones_and_noise(mixture, held_out_frames):
    good = energy(mixture, held_out_frames)
    assert ranked_below(good, energy(mixture, broken(held_out_frames))) > 0.9
    noise = np.random.default_rng(0).normal(0, 0.5, held_out_frames.shape)
    assert ranked_below(good, energy(mixture, noise)) > 0.99


def test_breaking_one_joint_of_a_pose_makes_it_dearer(mixture, held_out_samples):
    dearer = energy(mixture, broken(held_out_samples)) > energy(mixture, held_out_samples)
    assert dearer.mean() > 0.99


def test_a_pose_and_its_mirror_image_cost_about_the_same(mixture, held_out_samples):
    there = energy(mixture, held_out_samples)
    back = energy(mixture, anatomy.mirror(held_out_samples))
    assert abs(there.mean() - back.mean()) < 0.5
    assert np.median(abs(there - back)) < 0.1 * np.median(there)


def test_standing_is_among_the_cheap_poses(mixture, held_out_samples):
    hanging = anatomy.to_rotvec({f"{side}_shoulder_abduction": np.full(1, 9.0) for side in anatomy.SIDES})
    assert energy(mixture, hanging) < np.median(energy(mixture, held_out_samples))


def test_limbs_of_a_retargeted_skeleton_point_where_the_recorded_ones_do(maker, clips, rest_joints):
    for clip in clips:
        body_pose = maker.cmu.retarget(clip, rest_joints)
        body_pose[:, 0] = Rotation.from_matrix(clip.rotation[:, 0]).as_rotvec()
        _, place = anatomy.forward_kinematics(body_pose, rest_joints)
        angles = []
        for side in anatomy.SIDES:
            for bone, (start, end) in LIMBS.items():
                ours = place[:, joint(f"{side} {end}")] - place[:, joint(f"{side} {start}")]
                ours /= np.linalg.norm(ours, axis=-1, keepdims=True)
                cosine = (ours * clip.directions(f"{side[0]}{bone}")).sum(-1)
                angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())
        assert np.mean(angles) < 2, clip.name
        assert np.max(angles) < 6, clip.name


def test_recorded_knees_and_elbows_bend_forward(maker, clips, rest_joints):
    """Our elbow bends in its own plane, whatever the twist of the forearm."""
    for clip in clips:
        body_pose = maker.cmu.retarget(clip, rest_joints)
        assert body_pose[:, [joint("left knee"), joint("right knee")], 0].min() > -1e-6, clip.name
        for side, outward in (("left", 1), ("right", -1)):
            forearm = Rotation.from_rotvec(body_pose[:, joint(f"{side} elbow")]).apply([outward, 0, 0])
            assert abs(np.degrees(np.arcsin(forearm[:, 1]))).max() < 5, clip.name
            assert np.median(forearm[:, 2]) > 0, clip.name


def test_a_recording_at_rest_is_our_t_pose(maker, recordings, rest_joints):
    skeleton = maker.cmu.read_asf(recordings / "asf" / "16.asf")
    at_rest = maker.cmu.Clip("rest", skeleton.bones, np.tile(np.eye(3), (1, 31, 1, 1)))
    body_pose = maker.cmu.retarget(at_rest, rest_joints)[0]
    assert np.degrees(abs(body_pose)).max() < 30
    arms = [joint(f"{side} {name}") for side in anatomy.SIDES for name in ("wrist", "hand")]
    knees = [joint("left knee"), joint("right knee")]
    assert np.degrees(abs(body_pose[[*arms, *knees]])).max() < 16


def test_reading_and_translating_leave_the_clip_alone(maker, clips, rest_joints):
    before = clips[0].rotation.copy()
    maker.cmu.retarget(clips[0], rest_joints)
    np.testing.assert_array_equal(clips[0].rotation, before)


def test_every_clip_weighs_the_same(maker):
    short, long = np.zeros((3, 24, 3)), np.zeros((900, 24, 3))
    for clip in (short, long):
        assert len(maker.prior.resampled(clip, np.random.default_rng(0))) == maker.prior.FRAMES_PER_CLIP


def test_a_folder_without_skeletons_is_refused(maker, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no asf/\*\.asf"):
        maker.cmu.read_folder(tmp_path)


def test_a_bad_line_of_motion_is_named(maker, tmp_path):
    path = tmp_path / "01_01.amc"
    path.write_text(":DEGREES\n1\nroot 0 0 0 0 0 0\nltibia 1 2\n")
    skeleton = maker.cmu.Skeleton(np.zeros((31, 3)), np.tile(np.eye(3), (31, 1, 1)))
    with pytest.raises(ValueError, match=r"01_01\.amc: frame 1: 2 angles for 'ltibia'"):
        maker.cmu.read_amc(path, skeleton)


def test_the_database_lists_a_bone_after_its_parent(maker):
    assert len(maker.cmu.PARENTS) == len(maker.cmu.BONES) == 31
    assert all(parent < child for child, parent in enumerate(maker.cmu.PARENTS))
