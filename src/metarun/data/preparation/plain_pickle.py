"""Reading a pickle as data: nothing that its author names is imported or called.

The standard library's `pickletools` takes the file apart; the few instructions that build arrays
and plain containers are followed here, everything else is refused. Unpickling with an allow-list
would leave numpy to rebuild arrays from a stranger's state, and would make room for whatever size
a file of twenty bytes asks for (https://github.com/python/cpython/issues/115952).
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INSTRUCTIONS = 5_000_000  # most that are followed; CIFAR-100's longest file has 210,000

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {  # instructions that carry a value, Python 2's strings included
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CALLED = {  # what a pickled array asks to be called, under numpy's old names and its new
    f"{module} {name}"
    for module, name in [
        *((f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core")),
        *((f"{core}.multiarray", "scalar") for core in ("numpy.core", "numpy._core")),
        *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("_codecs", "encode"),
        ("__builtin__", "bytes"),
    ]
}


def load(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of protocol 2 to 5, Python 2's included.

    Its keys are strings (bytes are taken for Latin-1), its values numbers, strings, bytes, lists,
    tuples, dictionaries and read-only arrays of numbers.

    Raises:
        ValueError: the pickle is damaged, or holds or asks for anything else; with the reason.
    """
    machine = _Machine()
    try:
        for count, (code, value, _) in enumerate(pickletools.genops(content)):
            if count > INSTRUCTIONS:
                raise ValueError("more instructions than is plausible")
            machine.follow(code.name, value)
        (found,) = machine.stack
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError("damaged: its instructions do not fit each other") from error
    if not isinstance(found, dict):
        raise ValueError("no dictionary")
    return {key: v.whole() if isinstance(v, _Array) else v for key, v in found.items()}


@dataclass(frozen=True)
class _Named:
    """A function or class that the pickle names: never imported."""

    name: str


@dataclass(eq=False)
class _Type:
    """What will be a numpy dtype."""

    code: str
    order: str = "|"

    def whole(self) -> np.dtype:
        if not re.fullmatch(r"[|<>=](b1|[iu][1248]|f[248])", self.order + self.code):
            raise ValueError("an array of something else than numbers")
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class _Array:
    """What will be a numpy array."""

    parts: tuple[Any, ...] = ()

    def whole(self) -> np.ndarray:
        if not self.parts:
            raise ValueError("an array without content")
        shape, kind, columns, raw = self.parts
        if isinstance(raw, str):
            raw = raw.encode("latin-1")
        plain = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not (plain and isinstance(kind, _Type) and isinstance(raw, bytes | bytearray)):
            raise ValueError("an array that is none")
        dtype = kind.whole()
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array whose shape does not fit its {len(raw)} bytes")
        array = np.frombuffer(bytes(raw), dtype)
        return array.reshape(shape, order="F" if columns else "C")


@dataclass
class _Machine:
    """A stack, and a memory for what is used again."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def follow(self, code: str, value: Any) -> None:
        """Do one instruction."""
        stack, push = self.stack, self.stack.append
        if code in LITERALS:
            push(value)
        elif code in CONSTANTS:
            push(CONSTANTS[code])
        elif code in ("BINPUT", "LONG_BINPUT"):
            self.memo[value] = stack[-1]
        elif code == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif code in ("BINGET", "LONG_BINGET"):
            push(self.memo[value])
        elif code == "MARK":
            self.marks.append(len(stack))
        elif code in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            push({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[code]())
        elif code == "TUPLE":
            push(tuple(self._since_mark()))
        elif code in ("TUPLE1", "TUPLE2", "TUPLE3"):
            push(tuple(self._top(int(code[-1]))))
        elif code in ("APPEND", "APPENDS"):
            items = self._top(1) if code == "APPEND" else self._since_mark()
            self._last(list).extend(items)
        elif code in ("SETITEM", "SETITEMS"):
            items = self._top(2) if code == "SETITEM" else self._since_mark()
            pairs = zip(items[::2], items[1::2], strict=True)
            self._last(dict).update((_key(key), value) for key, value in pairs)
        elif code in ("GLOBAL", "STACK_GLOBAL"):
            push(_named(value if code == "GLOBAL" else " ".join(self._top(2))))
        elif code == "REDUCE":
            push(_call(*self._top(2)))
        elif code == "BUILD":
            (state,) = self._top(1)
            _build(stack[-1], state)
        elif code not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"holds more than arrays and plain containers ({code})")

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _last(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]


def _key(key: Any) -> str:
    # Strings only: the hash of tuples in tuples takes as long as their author likes.
    if not isinstance(key, str | bytes):
        raise ValueError("a dictionary whose keys are no names")
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _named(name: str) -> _Named:
    if name not in CALLED:
        raise ValueError(f"asks for {name.replace(' ', '.', 1)!a:.80}, which is never called")
    return _Named(name.split()[1])


def _call(function: Any, args: Any) -> Any:
    """What `function`, one of `CALLED`, would make of `args`."""
    if not isinstance(function, _Named):
        raise TypeError
    match function.name, args:
        case "_reconstruct", (_Named("ndarray"), _, _):
            return _Array()
        case "_frombuffer", (raw, kind, shape, order):
            return _Array((shape, kind, order == "F", raw))
        case "dtype", (str(code), *_):
            return _Type(code)
        case "scalar", (kind, raw):
            return _Array(((), kind, False, raw)).whole().item()
        case "encode", (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
        case "bytes", ():
            return b""
    raise TypeError


def _build(target: Any, state: Any) -> None:
    match target, state:
        case _Array(), (_, shape, kind, columns, raw):
            target.parts = (shape, kind, columns, raw)
        case _Type(), (_, str(order), None, None, None, *_):
            target.order = order
        case _:
            raise TypeError
