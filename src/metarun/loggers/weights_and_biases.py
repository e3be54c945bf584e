"""Weights & Biases: offline by default, without prompts and long waits."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from metarun.config.explanation import show
from metarun.errors import Refused
from metarun.loggers import Guarded, Run
from metarun.loggers.tensorboard import TensorboardLogger

START_TIMEOUT = 30.0  # seconds to reach W&B at the start; otherwise the run logs offline
FINISH_TIMEOUT = 120.0  # seconds to finish uploads at the end; `wandb sync` can upload the rest

log = logging.getLogger(__name__)


class WandbLogger:
    """Logs figures and pictures to W&B.

    Where an argument is `None`, or the run has no tags, its environment variable is used
    (`conf/logger/wandb.yaml`). For a run started by `wandb agent`, the agent sets project, entity
    and run id.

    Args:
        mode: `offline` writes to the folder WANDB_DIR, by default that of the run, for `wandb
            sync`; `online` needs an account. By default `online` for a run started by `wandb agent`
            and `offline` for others.
        project, entity, group, name, notes: see the documentation of `wandb.init`.
        tensorboard: also write what `TensorboardLogger` writes.
    """

    title = "W&B"

    def __init__(
        self,
        run: Run,
        *,
        mode: Literal["online", "offline", "disabled"] | None = None,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        notes: str | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.tensorboard = Guarded(TensorboardLogger, run) if tensorboard else None
        if not os.access(os.environ.get("HOME", ""), os.W_OK):  # else W&B prints its own log
            for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
                os.environ.setdefault(variable, str(run.folder.absolute() / "wandb"))
        import wandb

        agent = bool(os.environ.get("WANDB_SWEEP_ID"))
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if agent else "offline")
        if mode == "online":
            mode = self._check_online(wandb)

        project = project or os.environ.get("WANDB_PROJECT") or "metarun"
        folder = (not agent and os.environ.get("WANDB_DIR")) or run.folder

        def start(mode: str) -> Any:
            return wandb.init(
                project=None if agent else project,
                entity=None if agent else entity,
                group=group,
                dir=os.path.abspath(folder),  # absolute, because W&B writes from another process
                id=None if agent else run.id,
                name=name or os.environ.get("WANDB_NAME") or run.name,
                notes=notes,
                resume="allow" if run.resumed else None,
                config=run.config,
                tags=run.tags or None,
                mode=mode,
                reinit="create_new",
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    init_timeout=START_TIMEOUT,
                    finish_timeout=FINISH_TIMEOUT,
                    finish_timeout_raises=True,
                    x_disable_stats=True,
                    x_disable_meta=True,
                    x_save_requirements=False,
                    disable_git=True,
                ),
            )

        try:
            self.run = start(mode)
        except wandb.errors.CommError as error:
            if mode != "online":
                raise
            _warn_offline(error)
            self.run = start("offline")

    @staticmethod
    def check(
        tags: list[str], project: str | None = None, tensorboard: bool = False, **_: Any
    ) -> None:
        """Check what was typed, and the environment.

        Args:
            tags: the tags of the run.

        Raises:
            Refused: W&B does not accept a value; a line for each.
        """
        import wandb

        if tensorboard:
            TensorboardLogger.check(tags)
        attempts = {
            f"tags={show(tags)}": partial(wandb.Settings, run_tags=tags or None),
            f"logger.project={show(project)}": partial(wandb.Settings, project=project),
        }
        for name, value in os.environ.items():
            attempts[name] = partial(wandb.Settings().update_from_env_vars, {name: value})
        mistakes = []
        for given, attempt in attempts.items():
            try:
                attempt()
            except (wandb.UsageError, ValueError) as error:
                known = isinstance(error, ValidationError)
                reason = error.errors()[0]["msg"] if known else str(error)
                reason = reason.removeprefix("Value error, ")
                mistakes.append(f"{given}: {reason}; or leave W&B out: logger=none")
        if mistakes:
            raise Refused(*mistakes)

    def _check_online(self, wandb: Any) -> str:
        """`online`; without a key or a network, log a warning and return `offline`."""
        try:
            if wandb.login(prompt=False):
                return "online"
            log.warning("W&B has no key here, so it logs offline; `wandb login` stores one")
        except Exception as error:  # the type depends on the cause
            _warn_offline(error)
        return "offline"

    def log(self, step: int, values: dict[str, float]) -> None:
        if self.tensorboard is not None:
            self.tensorboard.log(step, values)
        self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        import wandb

        if self.tensorboard is not None:
            self.tensorboard.finish(summary, pictures, failed)
        if pictures:
            self.run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
        self.run.summary.update(summary)
        self.run.finish(exit_code=int(failed))


def _warn_offline(error: Exception) -> None:
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    log.warning("W&B cannot be reached, so it logs offline; `wandb sync` uploads it: %s", reason)
