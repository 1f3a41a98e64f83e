"""Ways to damage a file. Each takes the whole file's bytes and a generator, and returns other bytes."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
import torch

Way = Callable[[bytes, np.random.Generator], bytes]

EDGE = 300
"""Bytes at either end of a file in which most of its structure lies."""
NUMBERS = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1)
"""What counts, lengths and offsets are overwritten with."""
CANARY = "canary_that_must_not_be_made"
"""A folder that appears in the working directory if code in a file is run."""


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A byte of the file; every other one is near an end."""
    if rng.random() < 0.5:
        return int(rng.integers(len(data)))
    offset = int(rng.integers(min(EDGE, len(data))))
    return offset if rng.random() < 0.5 else len(data) - 1 - offset


def _length(data: bytes, rng: np.random.Generator) -> int:
    """A short piece mostly, a large part of the file at times."""
    return 1 + int(rng.integers(min(len(data), 64) if rng.random() < 0.7 else len(data)))


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit to eight bits, each anywhere."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.5 else 1):
        out[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def burst(data: bytes, rng: np.random.Generator) -> bytes:
    """A run of other bytes, or of zeros."""
    at, length = _place(data, rng), _length(data, rng)
    new = bytes(length) if rng.random() < 0.3 else rng.bytes(length)
    return data[:at] + new[: len(data) - at] + data[at + length :]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The end, the beginning, or a piece missing."""
    at, length = _place(data, rng), _length(data, rng)
    return (data[:at], data[at:], data[:at] + data[at + length :])[int(rng.integers(3))]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that do not belong there, or some of the file's own once more."""
    at, length, source = _place(data, rng), _length(data, rng), int(rng.integers(len(data)))
    new = rng.bytes(length) if rng.random() < 0.5 else data[source : source + length]
    return data[:at] + new + data[at:]


def swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Two neighbouring blocks in each other's place."""
    a, b, c = sorted(_place(data, rng) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def number(data: bytes, rng: np.random.Generator) -> bytes:
    """Four or eight bytes that say something extreme, should they be a count, a length or an offset."""
    at, width = _place(data, rng), (4, 8)[int(rng.integers(2))]
    value = NUMBERS[int(rng.integers(len(NUMBERS)))] % 2 ** (8 * width)
    return data[:at] + value.to_bytes(width, "little")[: len(data) - at] + data[at + width :]


BYTES: dict[str, Way] = {"flip": flip, "burst": burst, "cut": cut, "insert": insert, "swap": swap, "number": number}


def directory(data: bytes, rng: np.random.Generator) -> bytes:
    """A number in a zip archive's directory, or in the header of an entry, made another."""
    marks = [i for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for i in _all(data, mark)]
    at = marks[int(rng.integers(len(marks)))] + 4 + 2 * int(rng.integers(20))
    value = (0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, int(rng.integers(2**16)))[int(rng.integers(6))]
    width = 2 if value < 2**16 and rng.random() < 0.5 else 4
    return data[:at] + value.to_bytes(width, "little")[: max(0, len(data) - at)] + data[at + width :]


def _all(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


MARK = "where the other value goes"
OTHER_VALUES = (
    *("null", "true", "false", "0", "1", "-1", "2", "0.5", "NaN", "Infinity", "-Infinity", "1e308", "1e999", "-1e39"),
    *("1" + 400 * "0", 5000 * "1", '""', '"x"', '"\\u0000"', '"\\ud800"', '"../.."', '"neutral"', f'"{300 * "a"}"'),
    *("[]", "{}", "[[]]", "[{}]", "[1, 2, 3]", '{"x": 1}', '["a", null]'),
    *(3000 * "[" + 3000 * "]", 100_000 * "[" + 100_000 * "]", 100_000 * '{"a": ' + "1" + 100_000 * "}"),
)
"""JSON for what may stand in the place of any value: of other types, too large, not finite, too deep."""


def structure(data: bytes, rng: np.random.Generator) -> bytes:
    """JSON in which one value is another, one key is missing or has another name, or one value stands twice."""
    content = json.loads(data)
    places = list(_places(content))
    if rng.random() < 0.05:
        return _other_value(rng).encode()
    (holder, key), (other, other_key) = (places[int(rng.integers(len(places)))] for _ in range(2))
    match int(rng.integers(6)):
        case 0:
            del holder[key]
        case 1:
            value = holder[key]
            del holder[key]
            holder.update({f"{key}_": value}) if isinstance(holder, dict) else holder.append(value)
        case 2:
            holder[key] = json.loads(json.dumps(other[other_key]))
        case _:
            holder[key] = MARK
    return json.dumps(content).replace(f'"{MARK}"', _other_value(rng)).encode()


def _other_value(rng: np.random.Generator) -> str:
    return OTHER_VALUES[int(rng.integers(len(OTHER_VALUES)))]


def _places(content: object):
    """Every value in a JSON document, as its holder and its key; long lists only at some of their entries."""
    if isinstance(content, dict | list):
        items = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
        for key, value in items[:: 1 + len(items) // 12]:
            yield content, key
            yield from _places(value)


def fields(data: bytes, rng: np.random.Generator) -> bytes:
    """An npz archive, whole, in which one array is missing, of another type or shape, or holds other numbers."""
    with np.load(io.BytesIO(data)) as archive:
        return _packed(altered(dict(archive), rng))


def array(data: bytes, rng: np.random.Generator) -> bytes:
    """The same for the only array of an npy file."""
    changed = altered({"it": np.load(io.BytesIO(data))}, rng)
    out = io.BytesIO()
    np.save(out, next(iter(changed.values()), np.zeros(0)), allow_pickle=True)
    return out.getvalue()


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def altered(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A file's arrays with one changed."""
    name = list(arrays)[int(rng.integers(len(arrays)))]
    if rng.random() < 0.1:
        renamed = {} if rng.random() < 0.5 else {name + "_": arrays[name]}
        return {key: value for key, value in arrays.items() if key != name} | renamed
    change = (_other_type, _other_shape, _other_numbers)[int(rng.integers(3))]
    return arrays | {name: change(np.asarray(arrays[name]), rng)}


def _other_type(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = ("f2", "f4", ">f8", "i1", "u1", "u8", "?", "c16", "U5", "S5", "O", "M8[s]", "V4", "f4,i4", "g")
    with np.errstate(all="ignore"):
        try:
            return value.astype(kind[int(rng.integers(len(kind)))])
        except (ValueError, TypeError):
            return np.array([{"a": 1}, None], dtype=object)


def _other_shape(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ways = (
        lambda a: a[None],
        lambda a: a[..., None],
        lambda a: a.T,
        np.asfortranarray,
        lambda a: a.ravel(),
        lambda a: a.ravel()[:1].reshape(()) if a.size else a,
        lambda a: a[:0] if a.ndim else np.zeros(0, a.dtype),
        lambda a: a[..., :0] if a.ndim else np.zeros((0, 2), a.dtype),
        lambda a: a[:-1] if a.ndim else a[None],
        lambda a: np.concatenate([np.atleast_1d(a)] * 2),
    )
    return ways[int(rng.integers(len(ways)))](value)


def _other_numbers(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if value.dtype.kind not in "fiu" or not value.size:
        return np.array(["", "\x00", "../..", 300 * "a", "zz"])[int(rng.integers(5)) :][: max(1, value.size)]
    odd = (np.nan, np.inf, -np.inf, 1e38, -1.0, 0.0, 1e300, 2.0**31, 3.7e9)
    out = value.astype(np.float64 if rng.random() < 0.7 or value.dtype.kind == "f" else value.dtype, order="C")
    with np.errstate(all="ignore"):
        chosen = np.array(odd[int(rng.integers(len(odd)))]).astype(out.dtype)
    out.reshape(-1)[rng.integers(value.size, size=1 if rng.random() < 0.5 else value.size)] = chosen
    return out


class _Canary:
    def __reduce__(self) -> tuple:
        return os.mkdir, (CANARY,)


def canary(data: bytes, rng: np.random.Generator) -> bytes:
    """Instead of the file one whose pickle makes a folder when it is loaded, in any of the field's five containers."""
    held = ({"model": _Canary()}, _Canary(), [_Canary()], {"v_template": _Canary(), "means": _Canary()})
    content, out = held[int(rng.integers(len(held)))], io.BytesIO()
    box = np.empty((), dtype=object)
    box[()] = content
    match int(rng.integers(5)):
        case 0:
            return pickle.dumps(content, protocol=int(rng.integers(pickle.HIGHEST_PROTOCOL + 1)))
        case 1:
            torch.save(content, out)
        case 2:
            torch.save(content, out, _use_new_zipfile_serialization=False)
        case 3:
            np.save(out, box, allow_pickle=True)
        case _:
            names = ["means"]
            if zipfile.is_zipfile(io.BytesIO(data)):
                with zipfile.ZipFile(io.BytesIO(data)) as old:
                    names = [name.removesuffix(".npy") for name in old.namelist()]
            return _packed(dict.fromkeys(names, box))
    return out.getvalue()
