"""`metarun audit run=FOLDER` and `metarun audit algo=… data=…`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.config.command_line import Request
from metarun.errors import Refused

if TYPE_CHECKING:
    from metarun.checks import Finding
    from metarun.config.schema import RunConfig
    from metarun.training.parts import Parts

CHANGEABLE = ("device", "threads", "data.root", "data.cache", "eval_seed")
MARKS = {"passed": "✓", "failed": "✗", "measured": "·"}


def run(request: Request) -> int:
    """Audit a trained run, or what a training command would begin with; 1 if an audit fails."""
    request.accept("--config-dir")
    own, run, out = request.flags.config_dir, request.folder("run"), request.folder("out")
    episodes = _episodes(request.take("episodes"))
    if out is not None:
        _refuse_unfit(out)
    folders = [Path(own)] if own else []
    if run is None:
        from metarun.config.compose import checked, compose
        from metarun.config.groups import user_folders

        cfg = compose(request.words, own)
        config, folders = checked(cfg), user_folders(cfg)
    else:
        from metarun.runs import config_file

        config = config_file.amend(
            config_file.load_config(run, "run"), request.words, CHANGEABLE, "audit", own
        )

    from metarun.checks import EPISODES, audit
    from metarun.runs import results

    parts = _parts(config, folders, run)
    findings = _show(audit(parts, episodes or EPISODES))
    if out is None and run is not None:
        from metarun.files import new_folder

        out = new_folder(run / "evaluations", None, "audit") / "audit.json"
    if out is not None:
        _keep(
            out,
            {
                "command": request.line,
                "failed": [f.name for f in findings if f.status == "failed"],
                "findings": [asdict(finding) for finding in findings],
                "algo": config.choices.algo,
                "data": config.choices.data,
                "split_sha256": {split: tasks.sha256 for split, tasks in parts.splits.items()},
                "versions": results.versions(),
            },
        )
        print(out)
    return int(any(finding.status == "failed" for finding in findings))


def _parts(config: RunConfig, folders: list[Path], run: Path | None) -> Parts:
    """With the weights of the run's best checkpoint, or with initial ones."""
    from metarun.training.parts import assemble

    if run is None:
        return assemble(config, folders)
    from metarun.evaluate import restored
    from metarun.runs import checkpoint
    from metarun.training.compatibility import RUN

    return restored(config, run, checkpoint.best(run / "checkpoints"), RUN, folders)


def _show(findings: Iterable[Finding]) -> list[Finding]:
    """Print each as soon as it is there."""
    found = []
    for finding in findings:
        print(f"{MARKS[finding.status]} {finding.name}: {finding.text}", flush=True)
        found.append(finding)
    return found


def _episodes(typed: str | None) -> int | None:
    if typed is None:
        return None
    if not typed.isascii() or not typed.isdigit() or not 2 <= int(typed[:10]) <= 10**6:
        raise Refused(f"episodes={typed}: should be a number from 2 to 1000000")
    return int(typed)


def _refuse_unfit(out: Path) -> None:
    if out.suffix != ".json":
        raise Refused(f"out={out}: an audit writes one file: out=FILE.json")
    if out.exists() or out.is_symlink():
        raise Refused(f"out={out}: is there already")
    if not out.parent.is_dir():
        raise Refused(f"out={out}: {out.parent} is not a folder")


def _keep(out: Path, content: dict[str, Any]) -> None:
    from metarun.files import write_whole
    from metarun.runs.results import as_json

    try:
        write_whole(out, as_json(content))
    except OSError as error:
        raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
