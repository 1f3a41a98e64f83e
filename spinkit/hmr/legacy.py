"""Reads torch files from before its zip format, as Python 2 wrote them, without running anything that they name.

SPIN's released checkpoint is one. Torch's own safe reader refuses it, though nothing in it is unsafe: Python 2 pickled
the optimiser's keys, which are addresses beyond 32 bits, by an opcode that this reader does not know. So here Python's
unpickler reads it, and may rebuild tensors and dictionaries alone.
"""

import io
import pickle
import types
from collections import OrderedDict
from pathlib import Path

import torch
from torch._utils import _rebuild_parameter, _rebuild_tensor, _rebuild_tensor_v2

from spinkit.files import BoundedUnpickler

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
"""The number that such a file begins with. Still older ones are tar archives, and are not read."""
BUILDERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
"""All that a state dict needs besides storages, which torch names itself. Nothing here can act."""


class _TensorUnpickler(BoundedUnpickler):
    """An unpickler that rebuilds tensors and refuses every other class or function by name."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs")


def _reader() -> types.ModuleType:
    """What torch takes for a pickle module."""
    module = types.ModuleType("tensors_only")
    module.Unpickler = _TensorUnpickler
    module.load = lambda file, **options: _TensorUnpickler(file, **options).load()
    return module


def is_legacy(path: Path) -> bool:
    """Whether a file is in the format that `read_legacy` reads."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_legacy(path: Path) -> object:
    """The content of such a file, all tensors on the CPU.

    Raises:
        Exception: of any kind, where the file is damaged; `UnpicklingError` where it asks for what no tensor needs.
    """
    # The unpickler above is what keeps this safe; torch's own would refuse it unseen. Out of memory, because of a file
    # on disk torch would first ask whether it is a tar archive, and extract it.
    content = io.BytesIO(path.read_bytes())
    return torch.load(content, map_location="cpu", pickle_module=_reader(), weights_only=False)
