"""Writes the items of a data set as one `.npy` file, whose length is known only at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from metarun.data.preparation.images import Class, Ledger

DTYPES = ("uint8", "int32", "float16", "float32")


def write_array(file: BinaryIO, classes: Iterable[Class]) -> tuple[Ledger, list[int], str]:
    """Write the items of all classes as one array.

    Returns:
        What the classes hold, and the shape and the type of the array.

    Raises:
        ValueError: there are no classes, or their items differ in shape or type.
    """
    ledger, shape, dtype, start = Ledger(), None, None, 0
    for current in classes:
        items = ledger.add(current)
        if shape is None:
            shape, dtype = items.shape[1:], items.dtype
            start = _header(file, (0, *shape), dtype)
        if (items.shape[1:], items.dtype) != (shape, dtype) or str(dtype) not in DTYPES:
            raise ValueError(
                f"{current.name}: {items.dtype} {items.shape[1:]} after {dtype} {shape}"
            )
        file.write(items.data)
    if shape is None or dtype is None:
        raise ValueError("no classes")
    full_shape = [sum(ledger.counts), *shape]
    file.seek(0)
    if _header(file, tuple(full_shape), dtype) != start:  # numpy pads headers for a growing length
        raise ValueError("the array header has changed its size")
    return ledger, full_shape, str(dtype)


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Write an npy header and return the position after it."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
