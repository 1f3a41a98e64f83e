"""Small body models in every layout in which SMPL's files are handed round."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import python2
import scipy.sparse

VERTICES = 12
STAND_INS = {
    "Ch": "chumpy.ch",
    "Select": "chumpy.reordering",
    "Reshape": "chumpy.reordering",
    "dot": "chumpy.ch_ops",
    "csc_matrix": "scipy.sparse.csc",
}
"""Classes that the official files name, where they lay when those were written."""


def made(vertices=VERTICES, shapes=10, seed=0) -> dict[str, np.ndarray]:
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


def written(path: Path, arrays: dict, **changed: object) -> Path:
    """The arrays, but for those that are None, in a file of the kind that its name says."""
    arrays = {name: array for name, array in (arrays | changed).items() if array is not None}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(python2.dumps(arrays, protocol=2))
    return path


@contextmanager
def old_classes() -> Iterator[types.SimpleNamespace]:
    """Makers of objects that pickle as chumpy's and old scipy's do; neither has to be installed."""
    modules = {name: types.ModuleType(name) for name in {"chumpy", *STAND_INS.values()}}

    def maker(name: str, module: str):
        kind = type(name, (), {"__module__": module})
        setattr(modules[module], name, kind)

        def make(**state):
            node = kind()
            node.__dict__.update(state)
            return node

        return make

    with mock.patch.dict(sys.modules, modules):
        yield types.SimpleNamespace(**{name: maker(name, module) for name, module in STAND_INS.items()})


def official(path: Path, arrays: dict[str, np.ndarray], release: str) -> Path:
    """A file as SMPL distributes it: by Python 2, full of chumpy, the regressor sparse.

    Args:
        path: where to write.
        arrays: as from `made`; of release 1.0 they become ten of many shapes.
        release: "1.0" or "1.1".
    """
    with old_classes() as old:

        def ch(array: np.ndarray) -> object:
            return old.Ch(
                x=array, _dirty_vars=set(), _itr=None, _make_dense=False, _make_sparse=False, _depends_on_deps={}
            )

        shapedirs = ch(arrays["shapedirs"])
        if release == "1.0":
            many = np.concatenate([arrays["shapedirs"], np.ones((len(arrays["v_template"]), 3, 5))], axis=2)
            kept = np.arange(many.size).reshape(many.shape)[..., :10].ravel()
            shapedirs = old.Select(a=ch(many), idxs=kept, preferred_shape=arrays["shapedirs"].shape)
        sparse = scipy.sparse.csc_matrix(arrays["J_regressor"])
        parts = {"data": sparse.data, "indices": sparse.indices, "indptr": sparse.indptr}
        regressor = old.csc_matrix(_shape=sparse.shape, maxprint=50, format="csc", **parts)
        return written(
            path,
            arrays,
            shapedirs=shapedirs,
            v_template=ch(arrays["v_template"]),
            posedirs=ch(arrays["posedirs"]),
            weights=ch(arrays["weights"]),
            J_regressor=regressor,
            # Never read, so it may be any expression.
            J=old.dot(a=regressor, b=ch(arrays["v_template"])),
            bs_style="lbs",
            bs_type="lrotmin",
            pose_training_info={"gender": "neutral", "number": 1},
        )
