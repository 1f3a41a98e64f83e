"""Reading SMPL-format files: every honest layout, and refusals that run nothing."""

import os
import pickle

import numpy as np
import pytest
import python2
import roma
import scipy.sparse
import smplx
import torch
from smpl_files import VERTICES, made, official, old_classes, written

from spinkit import body as bodies
from spinkit.body import reader


def assert_is(body, arrays):
    for field, key in (("v_template", "v_template"), ("posedirs", "posedirs"), ("joint_regressor", "J_regressor")):
        expected = torch.from_numpy(arrays[key].astype(np.float32))
        torch.testing.assert_close(getattr(body, field), expected, atol=0, rtol=0)
    torch.testing.assert_close(body.shapedirs, torch.from_numpy(arrays["shapedirs"][..., :10].astype(np.float32)))
    assert torch.equal(body.faces, torch.from_numpy(arrays["f"].astype(np.int64)))


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_the_same_arrays_give_the_same_body_whatever_the_file(tmp_path, suffix):
    arrays = made()
    body = bodies.load(written(tmp_path / f"model{suffix}", arrays))
    assert_is(body, arrays)
    assert body.name == f"model{suffix}"


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("layout", ["csc_matrix", "csr_matrix", "coo_matrix"])
def test_a_sparse_joint_regressor_is_read(tmp_path, layout, protocol):
    arrays = made()
    sparse = getattr(scipy.sparse, layout)(arrays["J_regressor"])
    path = tmp_path / "model.pkl"
    path.write_bytes(python2.dumps(arrays | {"J_regressor": sparse}, protocol))
    assert_is(bodies.load(path), arrays)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_read(tmp_path, protocol):
    arrays = made()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    assert_is(bodies.load(path), arrays)


def test_of_the_300_shapes_of_later_releases_ten_are_kept(tmp_path):
    arrays = made(shapes=300)
    assert_is(bodies.load(written(tmp_path / "model.npz", arrays)), arrays)


@pytest.mark.parametrize(("release", "shapes"), [("1.0", 10), ("1.1", 300)])
def test_an_official_file_is_read_without_chumpy(tmp_path, release, shapes):
    arrays = made(shapes=shapes)
    assert_is(bodies.load(official(tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", arrays, release)), arrays)


def test_what_chumpy_reorders_is_put_in_order(tmp_path):
    arrays = made()
    with old_classes() as old:
        flat = old.Ch(x=arrays["v_template"].ravel())
        every_second = old.Select(a=old.Ch(x=arrays["weights"].ravel().repeat(2)), idxs=np.arange(0, VERTICES * 48, 2))
        wrapped = {
            "v_template": old.Reshape(a=flat, newshape=(VERTICES, 3)),
            "weights": old.Reshape(a=every_second, newshape=(VERTICES, 24)),
        }
        path = written(tmp_path / "model.pkl", arrays, **wrapped)
    body = bodies.load(path)
    assert_is(body, arrays)
    torch.testing.assert_close(body.weights, torch.from_numpy(arrays["weights"].astype(np.float32)))


def test_a_chumpy_expression_is_refused_by_field_and_name(tmp_path):
    with old_classes() as old:
        path = written(tmp_path / "model.pkl", made(), posedirs=old.dot(a=1, b=2))
    with pytest.raises(
        ValueError, match=r"model\.pkl: field 'posedirs' is a chumpy\.ch_ops\.dot expression.*np\.savez"
    ):
        bodies.load(path)


def broken_nodes(old):
    endless = old.Ch()
    endless.x = endless
    parts = {"data": np.ones(24), "indices": np.full(24, 10**6), "indptr": np.r_[np.arange(12) * 2, 24]}
    return {
        "endless": endless,
        "empty": old.Ch(),
        "selects_outside": old.Select(a=np.ones(3), idxs=np.array([5])),
        "sparse_outside": old.csc_matrix(_shape=(24, VERTICES), **parts),
        "sparse_empty": old.csc_matrix(),
    }


@pytest.mark.parametrize("kind", ["endless", "empty", "selects_outside", "sparse_outside", "sparse_empty"])
def test_parts_that_do_not_fit_each_other_are_refused_by_field(tmp_path, kind):
    with old_classes() as old:
        path = written(tmp_path / "model.pkl", made(), J_regressor=broken_nodes(old)[kind])
    with pytest.raises(ValueError, match=r"model\.pkl: field 'J_regressor' is damaged .* Download the file again"):
        bodies.load(path)


def test_an_npz_into_which_numpy_pickled_a_sparse_regressor_is_read(tmp_path):
    arrays = made()
    path = written(tmp_path / "model.npz", arrays, J_regressor=scipy.sparse.csc_matrix(arrays["J_regressor"]))
    with np.load(path) as file, pytest.raises(ValueError, match="Object arrays"):
        file["J_regressor"]
    assert_is(bodies.load(path), arrays)


def test_an_npz_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    path = written(tmp_path / "model.npz", made(), extra=np.array(Call(os.mkdir, str(tmp_path / "ran")), dtype=object))
    with pytest.raises(ValueError, match=r"model\.npz: .*it asks for \w+\.mkdir"):
        bodies.load(path)
    assert not (tmp_path / "ran").exists()


class Call:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, os.mkdir], ids=lambda f: f.__name__)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, function, protocol):
    marker = tmp_path / "ran"
    argument = {"system": f"mkdir {marker}", "eval": f"__import__('os').mkdir({str(marker)!r})", "mkdir": str(marker)}
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(made() | {"extra": Call(function, argument[function.__name__])}, protocol))
    with pytest.raises(ValueError, match=rf"model\.pkl: not loaded: it asks for \w+\.{function.__name__}"):
        bodies.load(path)
    assert not marker.exists()


def test_a_missing_file_says_where_smpl_is_to_be_had(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"SMPL_NEUTRAL\.pkl.*smpl\.is\.tue\.mpg\.de.*body\.load\(\)"):
        bodies.load(tmp_path / "SMPL_NEUTRAL.pkl")


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
@pytest.mark.parametrize("field", reader.REQUIRED)
def test_a_missing_field_is_named(tmp_path, suffix, field):
    path = written(tmp_path / f"model{suffix}", made(), **{field: None})
    with pytest.raises(ValueError, match=rf"model\{suffix}: no field {field}\."):
        bodies.load(path)


@pytest.mark.parametrize(("joints", "model"), [(52, "SMPL-H"), (55, "SMPL-X"), (16, "MANO")])
def test_a_model_of_other_joints_is_told_by_name(tmp_path, joints, model):
    correctives = np.zeros((VERTICES, 3, 9 * (joints - 1)))
    other = {"weights": np.zeros((VERTICES, joints)), "posedirs": correctives, "J_regressor": np.zeros((joints, 12))}
    path = written(tmp_path / "model.npz", made(), kintree_table=np.zeros((2, joints)), **other)
    with pytest.raises(
        ValueError, match=rf"model\.npz: field 'weights' has {joints} joints, as {model} has.*Give an SMPL"
    ):
        bodies.load(path)


def test_joints_in_another_order_are_refused(tmp_path):
    table = made()["kintree_table"]
    table[0, 4] = 2
    with pytest.raises(ValueError, match="field 'kintree_table' orders the joints in another way"):
        bodies.load(written(tmp_path / "model.npz", made(), kintree_table=table))


@pytest.mark.parametrize("field", ["v_template", "f", "shapedirs", "weights"])
def test_an_empty_field_is_named(tmp_path, field):
    path = written(tmp_path / "model.npz", made(), **{field: made()[field][:0]})
    with pytest.raises(ValueError, match=r"model\.npz: field '\w+' has shape"):
        bodies.load(path)


def test_words_in_place_of_numbers_are_refused(tmp_path):
    path = written(tmp_path / "model.npz", made(), f=np.full((20, 3), "0"))
    with pytest.raises(ValueError, match="field 'f' holds <U1, expected numbers"):
        bodies.load(path)


WRONG = {
    "v_template": np.zeros((VERTICES, 4)),
    "shapedirs": np.zeros((VERTICES, 3, 9)),
    "posedirs": np.zeros((VERTICES, 3, 459)),
    "J_regressor": np.zeros((VERTICES, 24)),
    "weights": np.zeros((VERTICES, 52)),
    "f": np.full((20, 3), VERTICES),
    "kintree_table": np.zeros(24),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_wrong_shape_or_range_is_named(tmp_path, field):
    path = written(tmp_path / "model.npz", made(), **{field: WRONG[field]})
    with pytest.raises(ValueError, match=rf"model\.npz: field '{field}'"):
        bodies.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_refused(tmp_path, value):
    weights = made()["weights"]
    weights[3, 5] = value
    with pytest.raises(ValueError, match="field 'weights' holds NaN or infinity"):
        bodies.load(written(tmp_path / "model.npz", made(), weights=weights))


def test_python_objects_in_place_of_numbers_are_refused(tmp_path):
    path = written(tmp_path / "model.pkl", made(), v_template=np.array([[1, 2, None]] * VERTICES))
    with pytest.raises(ValueError, match="field 'v_template' holds Python objects"):
        bodies.load(path)


def test_a_pickle_of_something_else_is_refused(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="holds a list, expected a dictionary"):
        bodies.load(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_a_truncated_file_is_refused_by_name(tmp_path, suffix, kept):
    path = written(tmp_path / f"model{suffix}", made())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"model\{suffix}"):
        bodies.load(path)


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_a_damaged_file_is_read_or_refused_but_never_fails_otherwise(tmp_path, suffix):
    path = written(tmp_path / f"model{suffix}", made())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    # Half the damage goes to the first bytes, where a file says what it is.
    places = np.concatenate([rng.integers(0, 300, 40), rng.integers(0, len(whole), 40)])
    for place in places:
        damaged = bytearray(whole)
        damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            bodies.load(path)
        except ValueError as error:
            assert path.name in str(error)


def test_a_body_from_an_official_file_moves_as_in_smplx(human, without_regressor, tmp_path):
    arrays = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in without_regressor[0].items()
    }
    ours = bodies.load(official(tmp_path / "SMPL_NEUTRAL.pkl", arrays, "1.0"))
    cleaned = arrays | {"J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}
    (tmp_path / "cleaned.pkl").write_bytes(pickle.dumps(cleaned, 2))
    theirs = smplx.SMPL(str(tmp_path / "cleaned.pkl"), batch_size=2)
    g = torch.Generator().manual_seed(0)
    rotvec, betas = 0.5 * torch.randn(2, 24, 3, generator=g), torch.randn(2, 10, generator=g)
    answer = theirs(betas=betas, global_orient=rotvec[:, :1].flatten(1), body_pose=rotvec[:, 1:].flatten(1))
    posed = ours.shaped(betas).posed(roma.rotvec_to_rotmat(rotvec))
    torch.testing.assert_close(posed.vertices(), answer.vertices.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.joints, answer.joints[:, :24].detach(), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def without_regressor(root):
    """The default body's arrays as SMPL's own files have them: without regressors of keypoints."""
    with np.load(root / "data" / "body.npz") as file:
        return {name: file[name] for name in reader.REQUIRED}, file["J_regressor_extra"]


def test_the_regressor_beside_a_file_gives_it_keypoints(human, without_regressor, tmp_path):
    arrays, extra = without_regressor
    path = written(tmp_path / "model.npz", arrays)
    still, betas = torch.eye(3).expand(24, 3, 3), torch.ones(10)
    with pytest.raises(ValueError, match=r"model\.npz: no regressor.*J_regressor_extra\.npy"):
        bodies.load(path).keypoints(still, betas)
    np.save(tmp_path / "J_regressor_extra.npy", extra)
    torch.testing.assert_close(bodies.load(path).keypoints(still, betas), human.keypoints(still, betas))
    np.save(tmp_path / "J_regressor_extra.npy", extra[:, :100])
    with pytest.raises(ValueError, match=r"J_regressor_extra\.npy: 'J_regressor_extra' has shape \(9, 100\)"):
        bodies.load(path)
    for broken, complaint in ((np.full_like(extra, np.nan), "holds NaN"), (np.array([{}]), "not an npy file")):
        np.save(tmp_path / "J_regressor_extra.npy", broken, allow_pickle=True)
        with pytest.raises(ValueError, match=rf"J_regressor_extra\.npy: .*{complaint}"):
            bodies.load(path)


def test_parts_follow_from_the_weights_where_a_file_has_none(human, without_regressor, tmp_path):
    body = bodies.load(written(tmp_path / "model.npz", without_regressor[0]))
    assert body.vertex_mirror is None and body.h36m_regressor is None
    names = {body.part6_names[part] for part in body.part6}
    assert names == {"head", "torso", "left_arm", "right_arm", "left_leg", "right_leg"}
    agreed = [body.part6_names[a] == human.part6_names[b] for a, b in zip(body.part6, human.part6, strict=True)]
    assert np.mean(agreed) > 0.95
