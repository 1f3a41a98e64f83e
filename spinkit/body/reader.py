"""Read an SMPL-format file without chumpy and without running what a pickle names."""

import pickle
from pathlib import Path

import numpy as np

REQUIRED = {
    "v_template": 2,
    "shapedirs": 3,
    "posedirs": 3,
    "J_regressor": 2,
    "weights": 2,
    "f": 2,
    "kintree_table": 2,
}
"""Arrays that every SMPL file holds, with their number of dimensions."""

OPTIONAL = (
    "J_regressor_extra",
    "J_regressor_h36m",
    "part6",
    "part6_names",
    "mirror",
    "vertex_ids",
    "vertex_id_names",
)
"""Arrays that our own default body adds."""

SAFE_GLOBALS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("copyreg", "_reconstructor"),
    ("copyreg", "__newobj__"),
    ("collections", "OrderedDict"),
    ("builtins", "object"),
    ("builtins", "set"),
    ("builtins", "slice"),
}
"""What an honest SMPL pickle needs in order to rebuild its arrays: nothing here can act."""

OLD_MODULES = {"copy_reg": "copyreg", "__builtin__": "builtins"}
SPARSE = {"csc_matrix", "csr_matrix", "coo_matrix"}


class _Inert:
    """Stands in for any chumpy class: it remembers the pickled state and computes nothing."""

    chumpy_name = "?"

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        self.state = {}

    def __setstate__(self, state):
        # Python 2 objects with slots pickle a pair whose second part is the dictionary.
        self.state = state[1] if isinstance(state, tuple) and len(state) == 2 else state


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that rebuilds arrays and refuses every other class or function by name."""

    def find_class(self, module, name):
        module = OLD_MODULES.get(module, module).replace("numpy.core", "numpy._core")
        if (module, name) in SAFE_GLOBALS:
            return super().find_class(module, name)
        if module.startswith("scipy.sparse") and name in SPARSE:
            import scipy.sparse

            return getattr(scipy.sparse, name)
        if module.split(".")[0] == "chumpy":
            return type("Inert" + name, (_Inert,), {"chumpy_name": f"{module}.{name}"})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")


def _as_array(value, path: Path, key: str) -> np.ndarray:
    """The plain array behind a dense, sparse or chumpy value."""
    if isinstance(value, _Inert):
        state = value.state if isinstance(value.state, dict) else {}
        if "x" in state:
            return _as_array(state["x"], path, key)
        if value.chumpy_name.endswith(".Select"):
            base = _as_array(state["a"], path, key)
            return base.ravel()[np.asarray(state["idxs"])].reshape(state["preferred_shape"])
        raise ValueError(
            f"{path}: field '{key}' is a {value.chumpy_name} expression, not a stored array. "
            "Save the model once with chumpy installed as plain arrays (np.savez), and load that file."
        )
    if hasattr(value, "toarray"):
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ValueError(f"{path}: field '{key}' holds Python objects; an SMPL file holds arrays only.")
    return array


def read_array_pickle(path: Path) -> dict:
    """The dictionary in a pickle of arrays, as SMPL and SMPLify ship them (Python 2 or 3).

    Args:
        path: the .pkl file.

    Returns:
        name -> array, sparse matrix, or an inert stand-in for a chumpy object.

    Raises:
        ValueError: the file is no pickle, is damaged, names anything but array builders (that is then
            not run), or holds no dictionary.
    """
    try:
        with open(path, "rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: not loaded: {error}. Use the file as its authors distribute it.") from error
    except Exception as error:  # Damage surfaces as whatever pickle or numpy stumbles over.
        raise ValueError(f"{path}: damaged or not a pickle ({error}). Download it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a dictionary of arrays.")
    return content


def _read_npz(path: Path) -> dict:
    try:
        # Opened here, because numpy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if key in REQUIRED or key in OPTIONAL}
    except Exception as error:  # Damage surfaces as whatever zipfile, zlib or numpy stumbles over.
        raise ValueError(f"{path}: not an npz file of plain arrays ({error}).") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an SMPL-format .npz or .pkl file, checked for presence, dimensions and agreement.

    Args:
        path: `SMPL_NEUTRAL.pkl`, `basicModel_neutral_lbs_10_207_0_v1.0.0.pkl`, our `body.npz`, or the like.

    Returns:
        Every array of `REQUIRED`, and those of `OPTIONAL` that the file has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field is missing, has the wrong shape, holds NaN, or is not an array.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No SMPL model at {path}. Its licence does not let us fetch it for you: register at "
            "https://smpl.is.tue.mpg.de, and put the file there. To go on without a licence, use the "
            "default body: body.load()."
        )
    raw = _read_npz(path) if path.suffix == ".npz" else read_array_pickle(path)
    missing = sorted(set(REQUIRED) - set(raw))
    if missing:
        raise ValueError(f"{path}: no field {', '.join(missing)}. An SMPL file has {', '.join(REQUIRED)}.")
    arrays = {key: _as_array(raw[key], path, key) for key in (*REQUIRED, *OPTIONAL) if key in raw}
    _check(arrays, path)
    return arrays


def _check(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse fields whose dimensions do not fit each other."""
    for key, dimensions in REQUIRED.items():
        if arrays[key].ndim != dimensions:
            raise ValueError(f"{path}: field '{key}' has shape {arrays[key].shape}, expected {dimensions} dimensions.")
    vertices = arrays["v_template"].shape[0]
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, arrays["shapedirs"].shape[2]),
        "posedirs": (vertices, 3, 207),
        "J_regressor": (24, vertices),
        "weights": (vertices, 24),
        "f": (arrays["f"].shape[0], 3),
        "kintree_table": (2, 24),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ValueError(
                f"{path}: field '{key}' has shape {arrays[key].shape}, expected {shape} (SMPL, 24 joints)."
            )
        if not (np.abs(arrays[key]) <= np.finfo(np.float32).max).all():
            raise ValueError(f"{path}: field '{key}' holds NaN or infinity. Download the file again.")
    if arrays["shapedirs"].shape[2] < 10:
        raise ValueError(f"{path}: field 'shapedirs' has {arrays['shapedirs'].shape[2]} shapes, 10 are needed.")
    if arrays["f"].min() < 0 or arrays["f"].max() >= vertices:
        raise ValueError(f"{path}: field 'f' names vertices outside 0..{vertices - 1}.")
