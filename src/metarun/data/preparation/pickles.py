"""Reading a pickle as data: nothing that its author names is imported or called.

The standard library follows the instructions, as far as they build plain containers. What an array
asks to be called has a stand-in here, so that numpy rebuilds nothing from a stranger's state. The
unpickler is the one in Python: that in C makes room for whatever size a file of twenty bytes asks
for (https://github.com/python/cpython/issues/115952), and hashes any key.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from typing import Any

import numpy as np

INSTRUCTIONS = 5_000_000  # most that are followed; CIFAR-100's longest file has 210,000
CORES = ("numpy.core", "numpy._core")
ALLOWED = {
    *("PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "MARK"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
}


def unpickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of protocol 2 to 5, Python 2's included.

    Its keys are strings (bytes are taken for Latin-1), its values numbers, strings, bytes, lists,
    tuples, dictionaries and read-only arrays of numbers.

    Raises:
        ValueError: the pickle is damaged, or holds or asks for anything else; with the reason.
    """
    for count, (code, _, _) in enumerate(pickletools.genops(content)):
        if count > INSTRUCTIONS:
            raise ValueError("more instructions than is plausible")
        if code.name not in ALLOWED:
            raise ValueError(f"holds more than arrays and plain containers ({code.name})")
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin-1").load()
        if not isinstance(found, dict):
            raise ValueError("no dictionary")
        return {key: v.whole() if isinstance(v, _Array) else v for key, v in found.items()}
    except ValueError:
        raise
    except Exception as error:  # the unpickler checks little
        raise ValueError("damaged: its instructions do not fit each other") from error


class _Names(dict):
    """Strings only: the hash of tuples in tuples takes as long as their author likes."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str | bytes):
            raise ValueError("a dictionary whose keys are no names")
        super().__setitem__(key.decode("latin-1") if isinstance(key, bytes) else key, value)


class _Type:
    """What will be a numpy dtype."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "|"

    def build(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def whole(self) -> np.dtype:
        if not re.fullmatch(r"[|<>=](b1|[iu][1248]|f[248])", self.order + self.code):
            raise ValueError("an array of something else than numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """What will be a numpy array."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def build(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns, raw = state
        self.parts = (raw, kind, shape, "F" if columns else "C")

    def whole(self) -> np.ndarray:
        if not self.parts:
            raise ValueError("an array without content")
        raw, kind, shape, order = self.parts
        if isinstance(raw, str):
            raw = raw.encode("latin-1")
        plain = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not (plain and isinstance(kind, _Type) and isinstance(raw, bytes | bytearray)):
            raise ValueError("an array that is none")
        dtype = kind.whole()
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array whose shape does not fit its {len(raw)} bytes")
        return np.frombuffer(bytes(raw), dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, code: str) -> bytes:
    if code not in ("latin1", "latin-1"):
        raise ValueError("bytes in another code than Latin-1")
    return text.encode("latin-1")


def _scalar(kind: _Type, raw: bytes) -> int | float | bool:
    return _Array(raw, kind, (), "C").whole().item()


CALLED = {  # what a pickled array asks for, under numpy's old names and its new → the stand-in
    **{f"{core}.multiarray._reconstruct": lambda *_: _Array() for core in CORES},
    **{f"{core}.multiarray.scalar": _scalar for core in CORES},
    **{f"{core}.numeric._frombuffer": _Array for core in CORES},
    "numpy.dtype": _Type,
    "numpy.ndarray": None,  # named, not called
    "_codecs.encode": _bytes,
    "__builtin__.bytes": lambda: b"",  # never so many zeros as a stranger likes
}


class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (full := f"{module}.{name}") not in CALLED:
            raise ValueError(f"asks for {full!a:.80}, which is never called")
        return CALLED[full]

    def _load_names(self) -> None:
        self.append(_Names())

    def _load_build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].build(state)  # of a stand-in; nothing else has that method

    dispatch = pickle._Unpickler.dispatch | {
        pickle.EMPTY_DICT[0]: _load_names,
        pickle.BUILD[0]: _load_build,
    }
