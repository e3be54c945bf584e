"""Safe reading of untrusted pickles as data: no global of a pickle is imported or called.

The unpickler of the standard library runs only opcodes that build plain containers. The functions
that pickled arrays refer to are replaced by stand-ins, so numpy does not restore untrusted state.
The Python unpickler is used because the C one allocates any size that a tiny file states
(https://github.com/python/cpython/issues/115952) and hashes any key.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from typing import Any

import numpy as np

INSTRUCTIONS = 5_000_000  # maximum; the longest file of CIFAR-100 has 210,000
CORES = ("numpy.core", "numpy._core")
ALLOWED = {
    "PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE",
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "MARK",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
}  # fmt: skip


def unpickle(content: bytes) -> dict[str, Any]:
    """Read the dictionary in a pickle of protocol 2 to 5, written by Python 2 or 3.

    Keys are strings (bytes are decoded as Latin-1). Values are numbers, strings, bytes, lists,
    tuples, dictionaries and read-only arrays of numbers.

    Raises:
        ValueError: the pickle is damaged or contains anything else; the message is the reason.
    """
    for count, (code, _, _) in enumerate(pickletools.genops(content)):
        if count > INSTRUCTIONS:
            raise ValueError("more instructions than is plausible")
        if code.name not in ALLOWED:
            raise ValueError(f"holds more than arrays and plain containers ({code.name})")
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="latin-1").load()
        if not isinstance(loaded, dict):
            raise ValueError("not a dictionary")
        return {key: v.to_array() if isinstance(v, _Array) else v for key, v in loaded.items()}
    except ValueError:
        raise
    except Exception as error:  # the unpickler raises various exceptions
        raise ValueError("damaged: its instructions are inconsistent") from error


class _StringDict(dict):
    """Accepts only string keys: hashing nested tuples could take unlimited time."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str | bytes):
            raise ValueError("a dictionary with keys that are not strings")
        super().__setitem__(key.decode("latin-1") if isinstance(key, bytes) else key, value)


class _Type:
    """Stand-in for a numpy dtype."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "|"

    def build(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def to_dtype(self) -> np.dtype:
        if not re.fullmatch(r"[|<>=](b1|[iu][1248]|f[248])", self.order + self.code):
            raise ValueError("an array that does not hold numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """Stand-in for a numpy array."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def build(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns, raw = state
        self.parts = (raw, kind, shape, "F" if columns else "C")

    def to_array(self) -> np.ndarray:
        if not self.parts:
            raise ValueError("an array without content")
        raw, kind, shape, order = self.parts
        if isinstance(raw, str):
            raw = raw.encode("latin-1")
        valid_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not (valid_shape and isinstance(kind, _Type) and isinstance(raw, bytes | bytearray)):
            raise ValueError("not a valid array")
        dtype = kind.to_dtype()
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array whose shape does not fit its {len(raw)} bytes")
        return np.frombuffer(bytes(raw), dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, code: str) -> bytes:
    if code not in ("latin1", "latin-1"):
        raise ValueError("bytes that are not encoded as Latin-1")
    return text.encode("latin-1")


def _scalar(kind: _Type, raw: bytes) -> int | float | bool:
    return _Array(raw, kind, (), "C").to_array().item()


STAND_INS = {  # functions that pickled arrays refer to, in old and new numpy → stand-in
    **{f"{core}.multiarray._reconstruct": lambda *_: _Array() for core in CORES},
    **{f"{core}.multiarray.scalar": _scalar for core in CORES},
    **{f"{core}.numeric._frombuffer": _Array for core in CORES},
    "numpy.dtype": _Type,
    "numpy.ndarray": None,  # only referred to
    "_codecs.encode": _bytes,
    "__builtin__.bytes": lambda: b"",  # without the size argument, which could be huge
}


class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (full := f"{module}.{name}") not in STAND_INS:
            raise ValueError(f"refers to {full!a:.80}, which is never called")
        return STAND_INS[full]

    def _load_dict(self) -> None:
        self.append(_StringDict())

    def _load_build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].build(state)  # only stand-ins have this method

    dispatch = pickle._Unpickler.dispatch | {
        pickle.EMPTY_DICT[0]: _load_dict,
        pickle.BUILD[0]: _load_build,
    }
