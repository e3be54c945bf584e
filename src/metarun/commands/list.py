"""`metarun list [GROUP]`."""

from __future__ import annotations

from metarun.errors import Refused
from metarun.request import Request


def run(request: Request) -> int:
    """Print what can be chosen, each with its one-line meaning."""
    from metarun.overrides import nearest
    from metarun.tree import GROUPS, choices

    request.accept("--config-dir")
    for group in request.words:
        if group not in GROUPS:
            raise Refused(
                f"list {group}: no such group{nearest(group, GROUPS)} ({', '.join(GROUPS)})"
            )
    for group in request.words or GROUPS:
        offered = choices(group, request.flags.config_dir)
        width = max((len(name) for name in offered), default=0)
        print(f"{group}=")
        for name, meaning in offered.items():
            print(f"  {name:<{width}}  {meaning}".rstrip())
    return 0
