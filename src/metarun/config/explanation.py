"""What is wrong with the value of a key, on one line. Imports only pydantic."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError, prefix: str = "") -> list[str]:
    """An error line for each mistake that pydantic reports: `key=value: what is right`."""
    lines: dict[tuple[str, str], str] = {}
    wrong_values = {".".join(map(str, d["loc"])): d["input"] for d in error.errors()}
    for detail in error.errors():
        source = str(detail["loc"][0]).removeprefix("train_")
        if source != detail["loc"][0] and wrong_values.get(source, ...) == detail["input"]:
            continue  # train_shots has the value of shots, which has a line already
        # Only the key is shown, without positions below it (a branch of a union, an item's index).
        name = [str(part) for part in detail["loc"] if str(part).isidentifier()][:1]
        key = ".".join(([prefix] if prefix else []) + name)
        message = detail["msg"].removeprefix("Value error, ")
        message = message.removeprefix("Input ").partition(" or instance of ")[0]
        message = message[0].lower() + message[1:]
        if detail["type"] == "string_unicode":
            message = "should be a name in UTF-8"
        if detail["type"] == "missing":
            lines[key, ""] = f"{key}: missing"
            continue
        value = detail["input"]
        first = lines.setdefault(
            (key, show(value)), f"{key}={show(value)}: {message}{_hint(key, value, message)}"
        )
        if message not in first:  # of another branch of a union
            lines[key, show(value)] = f"{first}, or {message.removeprefix('should be ')}"
    return list(lines.values())


def _hint(key: str, value: Any, message: str) -> str:
    """`; …` with the form in which a wrong value should be typed; empty if that is not plain."""
    if isinstance(value, str) and value.lower() == "none" and "'none'" not in message:
        return "; no value is written null"
    if isinstance(value, str) and message.endswith("list"):
        return f"; write {key}=[{show(value)}]"
    if message.endswith("integer") and isinstance(value, float) and value.is_integer():
        return f"; write {key}={int(value)}"
    return ""


def show(value: Any) -> str:
    """A value as it is typed on a command line, at most 80 characters."""
    text = {None: "null", True: "true", False: "false"}.get(value) if _plain(value) else None
    text = text if text is not None else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)
