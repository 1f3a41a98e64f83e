"""glTF's binary container: a tree of JSON whose arrays lie one behind the other in one chunk of bytes.

The format is this small, so it is written here: the libraries that write skins and animations take the same arrays,
packed by the caller, and bring half a dozen packages along. Source: Khronos, glTF 2.0, sections 3.6 and 4.4.
"""

import json
import struct
from dataclasses import dataclass

import numpy as np

ATTRIBUTE, INDEX = 34962, 34963
"""What a viewer is told of the arrays that the graphics card reads."""
COMPONENTS = {"float32": 5126, "uint32": 5125, "uint8": 5121}
SHAPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (16,): "MAT4"}


@dataclass(frozen=True, eq=False)
class Numbers:
    """An array in its place in the tree; the same object in two places is stored once."""

    values: np.ndarray
    """Float32, uint32 or uint8; a matrix is a row of 16, column by column."""
    target: int | None = None
    """`ATTRIBUTE`, `INDEX`, or None for what only the processor reads."""


def pack(tree: dict) -> bytes:
    """A .glb file of a glTF document that holds `Numbers` wherever glTF wants the index of an accessor."""
    arrays: list[Numbers] = []
    document = _replaced(tree, arrays)
    places, views = b"", []
    for array in arrays:
        data = array.values.tobytes()
        view = {"buffer": 0, "byteOffset": len(places), "byteLength": len(data)}
        views.append(view if array.target is None else {**view, "target": array.target})
        places += _padded(data, b"\0")
    accessors = [_accessor(index, array) for index, array in enumerate(arrays)]
    document |= {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(places)}]}
    text = _padded(json.dumps(document, separators=(",", ":"), allow_nan=False).encode(), b" ")
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(places), 0x004E4942) + places
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _replaced(node: object, arrays: list[Numbers]) -> object:
    """The tree with each array replaced by its place among `arrays`, which grows."""
    if isinstance(node, Numbers):
        if node not in arrays:
            arrays.append(node)
        return arrays.index(node)
    if isinstance(node, dict):
        return {key: _replaced(value, arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_replaced(value, arrays) for value in node]
    return node


def _padded(data: bytes, filler: bytes) -> bytes:
    """To a multiple of four bytes."""
    return data + filler * (-len(data) % 4)


def _accessor(index: int, array: Numbers) -> dict:
    values = array.values
    accessor = {
        "bufferView": index,
        "componentType": COMPONENTS[values.dtype.name],
        "count": len(values),
        "type": SHAPES[values.shape[1:]],
    }
    if values.dtype == np.float32:
        # Asked for of positions and times, allowed for all. One number still comes as a list.
        rows = values.reshape(len(values), -1)
        accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
    return accessor
