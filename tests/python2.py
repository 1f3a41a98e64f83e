"""Pickles as Python 2 wrote them, which is how SMPL's and SMPLify's files are distributed."""

import io
import pickle
import struct


class Python2Pickler(pickle._Pickler):
    """Python 2 knew one kind of string, for names and for the bytes of arrays alike."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_string(self, text):
        raw = text if isinstance(text, bytes) else text.encode("latin1")
        if self.bin:
            self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        else:
            self.write(b"S" + repr(raw)[1:].encode() + b"\n")
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def dumps(content: object, protocol: int) -> bytes:
    """The pickle of an object by protocol 0 or 2, with numpy's modules under their old names."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol).dump(content)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
