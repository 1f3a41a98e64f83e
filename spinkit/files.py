"""Read files that somebody else made, without running anything that they name.

The field's files are npz archives and pickles, often of Python 2 and full of chumpy objects. A pickle can call any
function; the readers here rebuild arrays and refuse all else.
"""

import json
import pickle
from pathlib import Path

import numpy as np

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
"""What an honest pickle of arrays needs in order to rebuild them: nothing here can act."""

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


def as_array(value, path: Path, key: str) -> np.ndarray:
    """The plain array behind a dense, sparse or chumpy value."""
    if isinstance(value, _Inert):
        state = value.state if isinstance(value.state, dict) else {}
        if "x" in state:
            return as_array(state["x"], path, key)
        if value.chumpy_name.endswith(".Select"):
            base = as_array(state["a"], path, key)
            return base.ravel()[np.asarray(state["idxs"])].reshape(state["preferred_shape"])
        raise ValueError(
            f"{path}: field '{key}' is a {value.chumpy_name} expression, not a stored array. "
            "Save the file once with chumpy installed as plain arrays (np.savez), and load that file."
        )
    if hasattr(value, "toarray"):
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ValueError(f"{path}: field '{key}' holds Python objects; arrays are expected.")
    return array


def read_pickle(path: Path) -> dict:
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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz archive.

    Raises:
        ValueError: the file is no archive, is damaged, or holds Python objects.
    """
    try:
        # Opened here, because numpy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:  # Damage surfaces as whatever zipfile, zlib or numpy stumbles over.
        raise ValueError(f"{path}: not an npz file of plain arrays ({error}). Make or download it again.") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file.

    Raises:
        ValueError: the file is damaged, of another kind, or holds Python objects.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an npy file of a plain array ({error}). Make or download it again.") from error


def read_json(path: Path, remedy: str) -> object:
    """The content of a JSON file.

    Raises:
        ValueError: the file is no JSON; the message ends in the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); {remedy}") from error


def read(path: Path) -> dict:
    """The content of an .npz file, or of a pickle of arrays under any other ending."""
    return read_npz(path) if path.suffix == ".npz" else read_pickle(path)
