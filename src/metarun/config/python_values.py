"""Overrides from Python values."""

from __future__ import annotations

import os
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from metarun.config.overrides import quote
from metarun.errors import Refused


def override(key: str, value: Any) -> str:
    """The override that gives `key` a Python value, for example `shots=5` or `tags=[a,'b c']`.

    Args:
        value: `None`, a bool, a number, text, a path, or a list or tuple of these; also a scalar or
            an array of NumPy or torch.

    Raises:
        Refused: the value has another type.
    """
    return f"{key}={_text(key, value)}"


def _text(key: str, value: Any) -> str:
    if hasattr(value, "tolist"):  # of NumPy or torch
        value = value.tolist()
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() | os.PathLike():
            text = os.fspath(value)
            return text if _reads_back(text) else quote(text)
        case list() | tuple():
            return f"[{','.join(_text(key, element) for element in value)}]"
    raise Refused(
        f"{key}={value}: is a {type(value).__name__}; should be None, a bool, a number, text, a "
        "path, or a list of these"
    )


def _reads_back(text: str) -> bool:
    """Whether Hydra reads the text without quotes as this text, also in a list."""
    try:
        return OverridesParser.create().parse_override(f"k=[{text}]").value() == [text]
    except HydraException:
        return False
