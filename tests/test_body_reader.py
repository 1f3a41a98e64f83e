"""Reading SMPL-format files: every honest layout, and refusals that run nothing."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import python2
import scipy.sparse
import torch

from spinkit import body as bodies
from spinkit.body import reader

VERTICES = 12


def made(vertices=VERTICES, shapes=10, seed=0):
    """Arrays of a small model: right in every shape, meaningless in every number."""
    rng = np.random.default_rng(seed)
    regressor, weights = rng.random((24, vertices)), rng.random((vertices, 24))
    parents = np.array([4294967295, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": rng.normal(size=(vertices, 3, shapes)),
        "posedirs": rng.normal(size=(vertices, 3, 207)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": rng.integers(0, vertices, (20, 3)).astype(np.uint32),
        "kintree_table": np.stack([parents, np.arange(24)]).astype(np.uint32),
    }


def written(path, arrays, **changed):
    """The arrays in a file of the kind that its name says."""
    arrays = {name: array for name, array in (arrays | changed).items() if array is not None}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(python2.dumps(arrays, protocol=2))
    return path


def assert_is(body, arrays):
    for field, key in (("v_template", "v_template"), ("posedirs", "posedirs"), ("joint_regressor", "J_regressor")):
        expected = torch.from_numpy(arrays[key].astype(np.float32))
        torch.testing.assert_close(getattr(body, field), expected, atol=0, rtol=0)
    torch.testing.assert_close(body.shapedirs, torch.from_numpy(arrays["shapedirs"][..., :10].astype(np.float32)))
    assert torch.equal(body.faces, torch.from_numpy(arrays["f"].astype(np.int64)))


@pytest.fixture
def chumpy(monkeypatch):
    """Stand-ins for chumpy's classes, so that files can be written that name them."""
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def chumpy_class(module, name):
        made = type(name, (), {"__module__": module})
        setattr(sys.modules[module], name, made)
        return made

    def build(kind, **state):
        node = kind()
        node.__dict__.update(state)
        return node

    return types.SimpleNamespace(
        build=build,
        Ch=chumpy_class("chumpy.ch", "Ch"),
        Select=chumpy_class("chumpy.reordering", "Select"),
        MatVecMult=chumpy_class("chumpy.ch", "MatVecMult"),
    )


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


def test_arrays_wrapped_by_chumpy_are_read_without_it(tmp_path, chumpy):
    arrays = made()
    every_dir = np.concatenate([arrays["shapedirs"], np.ones((VERTICES, 3, 290))], axis=2)
    index = np.arange(every_dir.size).reshape(every_dir.shape)[..., :10].ravel()
    wrapped = {
        "v_template": chumpy.build(chumpy.Ch, x=arrays["v_template"], _dirty_vars=set()),
        "shapedirs": chumpy.build(
            chumpy.Select, a=chumpy.build(chumpy.Ch, x=every_dir), idxs=index, preferred_shape=(VERTICES, 3, 10)
        ),
        # Never read, so it may be any expression.
        "J": chumpy.build(chumpy.MatVecMult, mtx=1, vec=2),
    }
    path = written(tmp_path / "model.pkl", arrays, **wrapped)
    assert_is(bodies.load(path), arrays)


def test_a_chumpy_expression_is_refused_by_field_and_name(tmp_path, chumpy):
    path = written(tmp_path / "model.pkl", made(), posedirs=chumpy.build(chumpy.MatVecMult, mtx=1))
    with pytest.raises(ValueError, match=r"model\.pkl: field 'posedirs' is a chumpy\.ch\.MatVecMult expression"):
        bodies.load(path)


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
