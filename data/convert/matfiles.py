"""MATLAB's files, old (version 5) and new (7.3, which is HDF5), as arrays in MATLAB's own order of axes.

New ones need h5py, which spinkit does not install: `pip install h5py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.io

HDF5 = b"\x89HDF\r\n\x1a\n"
MATLAB_HEADER = 512
"""Bytes that MATLAB puts before the HDF5 file proper."""


def read_mat(path: Path, fields: Sequence[str], remedy: str) -> list[np.ndarray]:
    """The arrays of those names.

    Args:
        path: the .mat file.
        fields: names.
        remedy: ends every complaint.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: when it is no MATLAB file, is damaged, or lacks a field.
        ModuleNotFoundError: when it is a new one and h5py is not installed.
    """
    with _opened(path, fields, remedy) as file:
        return [file[field][()].T if _is_hdf5(path) else file[field] for field in fields]


def map_cells(path: Path, field: str, see: Callable, chosen: Sequence[int], remedy: str) -> list:
    """What `see` makes of the chosen cells of a cell array; of a new file one cell is in memory at a time.

    Raises:
        IndexError: when there is no such cell.
        And as `read_mat`.
    """
    with _opened(path, [field], remedy) as file:
        if _is_hdf5(path):
            cells = file[field][()].ravel()
            return [see(file[cells[i]][()].T) for i in chosen]
        cells = file[field].ravel(order="F")
        return [see(np.asarray(cells[i])) for i in chosen]


def read_struct(path: Path, field: str, remedy: str) -> object:
    """A struct of an old file, its fields as attributes.

    Raises:
        As `read_mat`.
    """
    return _load(path, [field], remedy, squeeze_me=True, struct_as_record=False)[field]


@contextmanager
def open_hdf5(path: Path, fields: Sequence[str], remedy: str) -> Iterator:
    """An HDF5 file that has those fields.

    Raises:
        As `read_mat`.
    """
    _refuse_absent(path, remedy)
    try:
        import h5py
    except ImportError as error:
        raise ModuleNotFoundError(f"{path} is an HDF5 file, and h5py is not installed; pip install h5py") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}") from error
    with file:
        _refuse_without(file, fields, path, remedy)
        try:
            yield file
        except OSError as error:
            raise ValueError(f"{path}: field {', '.join(fields)} is damaged ({error}); {remedy}") from error


@contextmanager
def _opened(path: Path, fields: Sequence[str], remedy: str) -> Iterator:
    _refuse_absent(path, remedy)
    if _is_hdf5(path):
        with open_hdf5(path, fields, remedy) as file:
            yield file
    else:
        yield _load(path, fields, remedy)


def _load(path: Path, fields: Sequence[str], remedy: str, **how) -> dict:
    _refuse_absent(path, remedy)
    try:
        content = scipy.io.loadmat(path, variable_names=list(fields), **how)
    except Exception as error:  # Damage surfaces as whatever scipy or zlib stumbles over.
        raise ValueError(f"{path} is damaged or no MATLAB file ({error!r}); {remedy}") from error
    _refuse_without(content, fields, path, remedy)
    return content


def _is_hdf5(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(MATLAB_HEADER + len(HDF5))
    return HDF5 in (head[: len(HDF5)], head[MATLAB_HEADER:])


def _refuse_absent(path: Path, remedy: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {remedy}")


def _refuse_without(content, fields: Sequence[str], path: Path, remedy: str) -> None:
    missing = [field for field in fields if field not in content]
    if missing:
        raise ValueError(f"{path} has no field {missing[0]!r}; {remedy}")
