"""`metarun audit run=FOLDER` and `metarun audit algo=… data=…`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request, new_file_mistakes
from metarun.config.schema import PLACES
from metarun.errors import Refused, refusing_os_errors, say

if TYPE_CHECKING:
    from metarun.config.schema import RunConfig
    from metarun.training.parts import Parts

CHANGEABLE = ("device", "threads", *PLACES, "eval_seed")
MARKS = {"passed": "✓", "failed": "✗", "measured": "·"}


def run(request: Request) -> int:
    """Audit a trained run, or the untrained learner and data of a training command.

    Returns:
        The exit code: 1 if an audit fails.
    """
    request.accept("--config-dir")
    config_dir, run, out = request.flags.config_dir, request.folder("run"), request.folder("out")
    episodes = _episodes(request.take("episodes"))
    if mistakes := new_file_mistakes(out, ".json"):
        raise Refused(*mistakes)
    folders = [Path(config_dir)] if config_dir else []
    if run is None:
        from metarun.config.compose import checked, compose
        from metarun.config.groups import user_folders

        cfg = compose(request.words, config_dir)
        config, folders = checked(cfg), user_folders(cfg)
    else:
        from metarun.runs import config_file

        saved = config_file.load_config(run, "run")
        config = config_file.amend(saved, request.words, CHANGEABLE, "audit", config_dir)

    from metarun.checks import EPISODES, audit
    from metarun.files import write_whole
    from metarun.runs import results
    from metarun.runs.evaluations import new_folder

    parts = _build_parts(config, folders, run)
    findings = []
    for finding in audit(parts, episodes or EPISODES):  # printed as soon as its audit ends
        say(f"{MARKS[finding.status]} {finding.name}: {finding.text}")
        findings.append(finding)
    content = {
        "command": request.line,
        "failed": [f.name for f in findings if f.status == "failed"],
        "findings": [asdict(finding) for finding in findings],
        "algo": config.choices.algo,
        "data": config.choices.data,
        "split_sha256": {split: tasks.sha256 for split, tasks in parts.splits.items()},
        "versions": results.versions(),
    }
    if out is not None:
        with refusing_os_errors(f"out={out}", "cannot be written to"):
            write_whole(out, results.as_json(content))
        say(str(out))
    elif run is not None:
        with new_folder(run / "evaluations", None, "audit") as folder:
            write_whole(folder / "audit.json", results.as_json(content))
        say(str(folder / "audit.json"))
    return int(any(finding.status == "failed" for finding in findings))


def _build_parts(config: RunConfig, folders: list[Path], run: Path | None) -> Parts:
    """Build the parts with the best checkpoint of the run, or with initial weights."""
    from metarun.training.parts import assemble

    if run is None:
        return assemble(config, folders)
    from metarun.runs import checkpoint
    from metarun.training.compatibility import RUN
    from metarun.training.restored import restored

    return restored(config, run, checkpoint.best(run / "checkpoints"), RUN, folders)


def _episodes(value: str | None) -> int | None:
    """Return the number in `episodes=`, or `None` if it is not set."""
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or not 2 <= int(value[:10]) <= 10**6:
        raise Refused(f"episodes={value}: should be a number from 2 to 1000000")
    return int(value)
