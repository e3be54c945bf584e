"""The result of an audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """The result of an audit.

    Attributes:
        name: name of the audit.
        status: `passed`, `failed`, or `measured` for a figure that is neither right nor wrong.
        text: one line for the user.
        values: the figures behind the result, as JSON values.
    """

    name: str
    status: Literal["passed", "failed", "measured"]
    text: str
    values: dict[str, Any] = field(default_factory=dict)
