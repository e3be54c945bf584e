"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One audit's answer.

    Attributes:
        name: of the audit.
        status: `passed`, `failed`, or `measured` where there is a figure and no right or wrong.
        text: one line for a person.
        values: the figures behind it, plain numbers and strings.
    """

    name: str
    status: Literal["passed", "failed", "measured"]
    text: str
    values: dict[str, Any] = field(default_factory=dict)
