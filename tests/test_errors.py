"""Text that may come from somebody else reaches the terminal without control characters."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from metarun.errors import complain, printable, say
from metarun.training import display
from tests.report.material import learned, of_status
from tests.test_imports import SOURCE

Metarun = Callable[..., tuple[int, str, list[str]]]
# Colours, the title of the window, the clipboard, a link, a new line of its own, and hidden text.
EVIL = "\x1b[31mred\x1b]0;title\x07\x1b]52;c;Zm9v\x07\x9b2J\r\x08\x7f\u202egnp\u2066\x1b]8;;http://x\x1b\\"


def is_clean(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_every_character_that_cannot_be_printed_is_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printable("a\x1b[0m\u202eb ä–") == "a�[0m�b ä–"
    assert printable("x" * 30, 10) == "x" * 7 + "…"
    complain(f"{EVIL}\nmetarun: all is well")
    say(f"{EVIL}\nsecond")
    out, err = capsys.readouterr()
    assert is_clean(out + err)
    assert (out.count("\n"), err.count("\n")) == (1, 1)


@pytest.mark.parametrize("make", [str, Text, Text.from_markup], ids=["text", "Text", "markup"])
def test_the_console_prints_no_control_characters(
    capsys: pytest.CaptureFixture[str], make: Callable[[str], object]
) -> None:
    display.console().print(make(f"first {EVIL}"), soft_wrap=True)
    table = Table(title=Text(EVIL), caption=Text(EVIL))
    table.add_column(Text(EVIL))
    table.add_row(Text(EVIL))
    display.console().print(table)
    out = capsys.readouterr().out
    assert is_clean(out)
    assert out.count("red") == 5


def test_the_console_keeps_the_codes_of_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    screen = display.Screen(force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with Progress(console=screen) as bar:
        bar.add_task("plain", total=2)
        screen.print("\x1b]0;title\x07", style="bold")
    out = capsys.readouterr().out
    assert "\x1b[2K" in out  # erases the bar before it is drawn again
    assert "\x1b]0" not in out
    assert "\x07" not in out


def test_brackets_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    display.console().print("[bold]step[/bold] [link=http://x]3[/link]")
    assert capsys.readouterr().out == "[bold]step[/bold] [link=http://x]3[/link]\n"


def evil_run(folder: Path, seed: int, **protocol: object) -> None:
    learned(folder, seed, **protocol)
    result = json.loads((folder / "result.json").read_text())
    result["run"] |= {"algo": EVIL, "command": f"metarun algo='{EVIL}' seed={seed} {EVIL}=1"}
    result["protocol"] |= {"published": EVIL, EVIL: f"{EVIL}{seed}"}
    result["protocol"]["train_data"] = f"{EVIL}{seed}"
    (folder / "result.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "runs/a", "runs/b"),  # refused: an entry of the protocol differs
        ("compare", "runs/a", "runs/same"),  # its notes
        ("compare", "runs/a", f"runs/{EVIL.replace('/', '')}"),
        ("compare", "runs/a", "runs/failed"),
        ("report", "runs"),
        ("resume=sweep",),
        ("resume=runs/a",),
        ("evaluate", "run=runs/a"),
        ("audit", "run=runs/a"),
        ("list", f"{EVIL}"),
        (f"algo={EVIL}",),
        ("show", f"data={EVIL}"),
        ("--config-dir", "mine", "list", "algo"),
    ],
    ids=" ".join,
)
def test_no_command_prints_control_characters_of_a_file(
    metarun: Metarun, command: tuple[str, ...]
) -> None:
    for seed, name in enumerate(["a", "b"]):
        evil_run(Path("runs") / name, seed)
    evil_run(Path("runs") / EVIL.replace("/", ""), 0)
    evil_run(Path("runs/same"), 0)
    same = json.loads(Path("runs/same/result.json").read_text())
    same["protocol"]["train_data"] = f"other {EVIL}"
    Path("runs/same/result.json").write_text(json.dumps(same))
    of_status(Path("runs/failed"), EVIL, error=EVIL)
    Path("runs/a/config.yaml").write_text(yaml.safe_dump({EVIL: EVIL, "tags": ["${" + EVIL]}))
    Path("sweep").mkdir()
    overrides = {"task": [], "hydra": [f"hydra.searchpath={EVIL}"]}
    Path("sweep/multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    Path("mine/algo").mkdir(parents=True)
    Path("mine/algo/x.yaml").write_text(
        f"# metarun algo=x\n# {EVIL.splitlines()[0]}\n_target_: x.X\n"
    )
    _, out, err = metarun(*command)
    assert is_clean(out + "".join(err))
    assert out or err


def test_there_is_one_way_to_the_terminal() -> None:
    """Other modules call `say`, `complain` or `Screen.print`, which print no control characters."""
    allowed = {"errors.py", "cli.py", "download.py"}  # fixed texts, and a progress line
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "print":
                assert file.name in allowed, f"{file}:{node.lineno}"
            if isinstance(called, ast.Name) and called.id == "Console":
                assert file.name == "display.py", f"{file}:{node.lineno}"
