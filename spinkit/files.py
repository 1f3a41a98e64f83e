"""Read files that somebody else made, without running anything that they name.

The field's files are npz archives and pickles, often of Python 2 and full of chumpy objects. A pickle can call any
function; the readers here rebuild arrays and refuse all else.
"""

import io
import json
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy.sparse

SAFE_GLOBALS = {
    ("numpy", "dtype"),
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

_ARRAY = object()
"""Stands for numpy's class of arrays. Whoever calls that gets as much memory as he says, with whatever lay in it."""


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """An array without numbers, which pickle then fills from the file."""
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("it begins an array as none begins")
    return np.empty(0, np.int8)


ARRAY_BUILDERS = {("numpy", "ndarray"): _ARRAY, ("numpy._core.multiarray", "_reconstruct"): _empty_array}
"""The two names by which every pickled array begins, made harmless."""

OLD_MODULES = {"copy_reg": "copyreg", "__builtin__": "builtins"}


class _Inert:
    """Stands in for a class that is not loaded: it remembers the pickled state and computes nothing."""

    original = "?"
    state: object = None

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        # Python 2 objects with slots pickle a pair whose second part is the dictionary.
        self.state = state[1] if isinstance(state, tuple) and len(state) == 2 else state


class BoundedUnpickler(pickle._Unpickler):
    """An unpickler that takes no more memory than there are bytes in the file.

    Python's own code does it, for C's makes room for as many remembered objects as four bytes of a file claim. Who
    derives from it says in `find_class` what a file may name.
    """

    dispatch = dict(pickle._Unpickler.dispatch)  # noqa: RUF012

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and nothing may be named")

    def load_bytearray8(self):
        # The original fills as many bytes with zeros as the file claims, before it reads any.
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


class _ArrayUnpickler(BoundedUnpickler):
    """An unpickler that rebuilds arrays and refuses every other class or function by name."""

    def find_class(self, module, name):
        module = OLD_MODULES.get(module, module).replace("numpy.core", "numpy._core")
        if (module, name) in ARRAY_BUILDERS:
            return ARRAY_BUILDERS[module, name]
        if (module, name) in SAFE_GLOBALS:
            return pickle._Unpickler.find_class(self, module, name)
        sparse = module.split(".")[:2] == ["scipy", "sparse"] and name in BUILDERS
        if sparse or module.split(".")[0] == "chumpy":
            return type("Inert" + name, (_Inert,), {"original": f"{module}.{name}"})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")


def as_array(value: object, path: Path, key: str) -> np.ndarray:
    """The plain array behind a dense, sparse or chumpy value of a file's field.

    Raises:
        ValueError: the field holds something else, or its parts do not fit each other.
    """
    try:
        array = _plain(value)
    except _ExpressionError as error:
        raise ValueError(
            f"{path}: field '{key}' is a {error} expression, not a stored array. "
            "Save the file once with chumpy installed as plain arrays (np.savez), and load that file."
        ) from error
    except Exception as error:  # Damage surfaces as whatever numpy or scipy stumbles over.
        raise ValueError(f"{path}: field '{key}' is damaged ({error!r}). Download the file again.") from error
    if array.dtype.hasobject:
        raise ValueError(
            f"{path}: field '{key}' holds Python objects; arrays are expected. "
            "Use the file as its authors distribute it."
        )
    return array


class _ExpressionError(Exception):
    """A chumpy node whose value would have to be computed."""


def _plain(value: object) -> np.ndarray:
    if isinstance(value, _Inert):
        build = BUILDERS.get(value.original.split(".")[-1])
        if build is None:
            raise _ExpressionError(value.original)
        return build(value.state)
    array = np.asarray(value)
    # numpy saves what it does not know, such as a sparse matrix, as an array of one object.
    return _plain(array.item()) if array.dtype == object and array.shape == () and array.item() is not None else array


def _selected(state: dict) -> np.ndarray:
    """chumpy's way to keep ten of many shapes: those entries of the flattened array."""
    chosen = _plain(state["a"]).ravel()[np.asarray(state["idxs"])]
    return chosen.reshape(state["preferred_shape"]) if "preferred_shape" in state else chosen


# Sparse matrices are built anew: scipy trusts the indices of a pickled one, and wrong ones write beside the array.
def _compressed(make: Callable, state: dict) -> np.ndarray:
    matrix = make((state["data"], state["indices"], state["indptr"]), state["_shape"])
    matrix.check_format(full_check=True)
    return matrix.toarray()


def _coordinates(state: dict) -> np.ndarray:
    # Since 2024 scipy keeps rows and columns in a pair.
    places = state["coords"] if "coords" in state else (state["row"], state["col"])
    return scipy.sparse.coo_matrix((state["data"], places), state["_shape"]).toarray()


SPARSE = {
    "csc": partial(_compressed, scipy.sparse.csc_matrix),
    "csr": partial(_compressed, scipy.sparse.csr_matrix),
    "coo": _coordinates,
}
BUILDERS = {f"{layout}_{kind}": build for layout, build in SPARSE.items() for kind in ("matrix", "array")} | {
    "Ch": lambda state: _plain(state["x"]),
    "Select": _selected,
    "Reshape": lambda state: _plain(state["a"]).reshape(state["newshape"]),
}
"""How the array behind a stand-in is put together, by the name of the class that it stands for."""


def finite(array: np.ndarray) -> bool:
    """Whether an array holds numbers alone, all of which are finite, also in float32, in which bodies are computed."""
    # Numbers of more than 64 bits are none to torch.
    plain = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    return plain and bool((np.abs(array) <= np.finfo(np.float32).max).all())


def read_pickle(path: Path) -> dict:
    """The dictionary in a pickle of arrays, as SMPL and SMPLify ship them (Python 2 or 3).

    Args:
        path: the .pkl file.

    Returns:
        name -> array, or an inert stand-in for a sparse matrix or a chumpy object, which `as_array` understands.

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
    return _read_archive(path, _entry)


def _entry(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    array = archive[key]
    if isinstance(array, bytes):  # Which is what numpy makes of an entry that is no array.
        raise ValueError(f"field '{key}' is no array")
    return array


def _read_archive(path: Path, entry: Callable) -> dict[str, np.ndarray]:
    try:
        # Opened here, because numpy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            check_directory(archive, file)
            return {key: entry(archive, key) for key in archive.files}
    except Exception as error:  # Damage surfaces as whatever zipfile, zlib or numpy stumbles over.
        raise ValueError(f"{path}: not an npz file of plain arrays ({error}). Make or download it again.") from error


END_OF_DIRECTORY = struct.Struct("<10xH10x")
"""The last bytes of a zip archive but for its comment, and in them the number of entries. Source: PKWARE's APPNOTE."""


def check_directory(archive: np.lib.npyio.NpzFile, file: BinaryIO) -> None:
    """See that no field of an npz archive is hidden by damage to its directory, which no checksum covers.

    Args:
        archive: as numpy opened it.
        file: from which it did.

    Raises:
        Exception: of any kind that zipfile raises, where the directory and what it lists tell of other fields.
    """
    entries = archive.zip.infolist()
    file.seek(-END_OF_DIRECTORY.size - len(archive.zip.comment), io.SEEK_END)
    claimed = END_OF_DIRECTORY.unpack(file.read(END_OF_DIRECTORY.size))[0]
    if claimed not in (len(entries), 0xFFFF):  # The latter where there are too many for two bytes.
        raise ValueError(f"its directory claims {claimed} fields and lists {len(entries)}")
    for entry in entries:
        archive.zip.open(entry).close()  # Which compares its name.


def _entry_or_stand_in(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """An array; of one that numpy had to pickle, such as a sparse matrix, what the safe reader makes of it."""
    try:
        return archive[key]
    except ValueError:
        with archive.zip.open(f"{key}.npy") as file:
            version = np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file) if version == (1, 0) else np.lib.format.read_array_header_2_0(
                file
            )
            return _ArrayUnpickler(file, encoding="latin1").load()


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file.

    Raises:
        ValueError: the file is damaged, of another kind, or holds Python objects.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # Damage surfaces as whatever numpy or Python's parser, which reads the header, meets.
        raise ValueError(f"{path}: not an npy file of a plain array ({error}). Make or download it again.") from error


def read_json(path: Path, remedy: str) -> object:
    """The content of a JSON file.

    Raises:
        ValueError: the file is no JSON, or is nested too deep; the message ends in the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); {remedy}") from error


def read_object(path: Path, remedy: str) -> dict:
    """The content of a JSON file that holds one object.

    Raises:
        ValueError: the file is no JSON, or holds something else; the message ends in the remedy.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected an object; {remedy}")
    return content


def read_records(path: Path, remedy: str) -> list[dict]:
    """The content of a JSON file that holds a list of objects.

    Raises:
        ValueError: the file is no JSON, or holds something else; the message ends in the remedy.
    """
    content = read_json(path, remedy)
    if not (isinstance(content, list) and all(isinstance(record, dict) for record in content)):
        raise ValueError(f"{path} holds no list of records; {remedy}")
    return content


def read(path: Path) -> dict:
    """The content of an .npz file, or of a pickle of arrays under any other ending; `as_array` gives its fields."""
    return _read_archive(path, _entry_or_stand_in) if path.suffix.lower() == ".npz" else read_pickle(path)
