"""A few nested Python values as JSON and tensors, and back: for what a snapshot must hold and no array can."""

from dataclasses import fields

import torch
from torch import Tensor

from spinkit.spin.step import Outcome


def pack(value: object, tensors: dict[str, Tensor]) -> object:
    """A value as JSON has it.

    Args:
        value: numbers, words, tensors and outcomes of steps, in lists, tuples and dictionaries.
        tensors: is filled with the tensors met, under names that stand for them.
    """
    if isinstance(value, Tensor):
        name = f"{len(tensors):05d}"
        # A copy: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().cpu().clone()
        return {"tensor": name}
    if isinstance(value, Outcome):
        return {"outcome": {f.name: pack(getattr(value, f.name), tensors) for f in fields(value)}}
    if isinstance(value, dict):
        # In pairs, because JSON would make words of numbers.
        return {"dict": [[key, pack(one, tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [pack(one, tensors) for one in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot pack a {type(value).__name__}")


def unpack(packed: object, tensors: dict[str, Tensor], device: torch.device) -> object:
    """The inverse of `pack`, its tensors on a device."""
    if not isinstance(packed, dict):
        return packed
    ((kind, held),) = packed.items()
    if kind == "tensor":
        return tensors[held].to(device)
    if kind == "outcome":
        return Outcome(**{name: unpack(one, tensors, device) for name, one in held.items()})
    if kind == "dict":
        return {key: unpack(one, tensors, device) for key, one in held}
    return {"list": list, "tuple": tuple}[kind](unpack(one, tensors, device) for one in held)
