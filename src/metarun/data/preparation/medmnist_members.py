"""The members of MedMNIST, and checks of their assignment to splits.

`medmnist.json` holds labels, channels, numbers of images, licences and checksums of each member.
"""

from __future__ import annotations

import difflib
import itertools
import json
from pathlib import Path
from typing import Any

MEMBERS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "medmnist.json").read_text(encoding="utf-8")
)["members"]
SAME_SCANS = ("organamnist", "organcmnist", "organsmnist")
UNSUPPORTED = {"chestmnist": "its images have several labels each, so they form no classes"}


def unfit(members: dict[str, list[str]]) -> list[str]:
    """A line for each mistake in the choice of members for the splits."""
    lines = []
    for split, names in members.items():
        if not names:
            lines.append(f"data.{split}=[]: name at least one of {', '.join(MEMBERS)}")
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                lines.append(f"data.{split}={name}: named twice")
            if name not in MEMBERS:
                close = difflib.get_close_matches(name, MEMBERS, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                reason = UNSUPPORTED.get(name, f"no such member{hint}")
                lines.append(f"data.{split}={name}: {reason} ({', '.join(MEMBERS)})")
    for (split, a), (other, b) in itertools.combinations(members.items(), 2):
        lines += [
            f"data.{split} and data.{other}: {name} is in both; a member may be in one split only"
            for name in MEMBERS
            if name in a and name in b
        ]
        scans = [(x, y) for x in a for y in b if x != y and {x, y} <= set(SAME_SCANS)]
        lines += [
            f"data.{split} and data.{other}: {x} and {y} are views of the same patients' scans; "
            "they go into one split"
            for x, y in scans[:1]
        ]
    return lines
