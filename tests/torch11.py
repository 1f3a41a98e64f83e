"""Torch files as torch 1.1 under Python 2 wrote them, which is how SPIN's checkpoint is distributed."""

import pickletools
import struct
from collections import OrderedDict
from pathlib import Path

import torch
from python2 import Python2Pickler
from torch._utils import _rebuild_tensor_v2

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
STORAGES = {torch.float32: "FloatStorage", torch.int64: "LongStorage"}


class _Storage:
    """Stands for a tensor's numbers, which follow after the pickles."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor


class TorchPickler(Python2Pickler):
    """Python 2's C pickler, with torch's way to keep numbers out of the pickle."""

    dispatch = dict(Python2Pickler.dispatch)  # noqa: RUF012

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = {}
        self.dispatch_table = {torch.Tensor: self._tensor, OrderedDict: self._ordered}

    def save_string(self, text):
        raw = text.encode("latin1")
        self.write(b"U" + bytes([len(raw)]) + raw)
        self.memoize(text)

    def save_int(self, number):
        # What does not fit into 32 bits but into a C long was written as text: the keys of an optimiser's state.
        if 2**31 <= number < 2**63:
            self.write(b"I" + str(number).encode() + b"\n")
        else:
            self.save_long(number)

    dispatch[str] = save_string
    dispatch[int] = save_int

    def _tensor(self, tensor):
        strides = tensor.stride()
        return _rebuild_tensor_v2, (_Storage(tensor), 0, tuple(tensor.shape), strides, False, OrderedDict())

    def _ordered(self, content):
        # Python 2 hands the pairs to the constructor, as lists.
        pairs = [list(pair) for pair in content.items()]
        return OrderedDict, (pairs,) if pairs else ()

    def persistent_id(self, obj):
        if not isinstance(obj, _Storage):
            return None
        key = str(94_000_000_000_000 + 64 * len(self.storages))
        self.storages[key] = obj.tensor
        kind = getattr(torch, STORAGES[obj.tensor.dtype])
        return ("storage", kind, key, "cuda:0", obj.tensor.numel(), None)


def save(path: Path, content: object) -> None:
    """Write what torch 1.1's `torch.save` would have written."""
    with open(path, "wb") as file:
        for part in (MAGIC, PROTOCOL, SYSTEM):
            TorchPickler(file).dump(part)
        pickler = TorchPickler(file)
        pickler.dump(content)
        TorchPickler(file).dump(sorted(pickler.storages))
        for key in sorted(pickler.storages):
            tensor = pickler.storages[key].contiguous()
            file.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())


def opcodes(path: Path) -> set[str]:
    """The names of all opcodes in a file's pickles."""
    found = set()
    with open(path, "rb") as file:
        for _ in range(5):
            found |= {code.name for code, _, _ in pickletools.genops(file)}
    return found
