"""Weights & Biases: offline unless the user says otherwise, never a prompt, never a long wait."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Literal

from metarun.loggers import Run

REACHED = 30.0  # seconds that W&B has to answer at the start, else the run logs offline
UPLOADED = 120.0  # seconds that it has to take the rest at the end, else `wandb sync` is left to do

log = logging.getLogger(__name__)


class WandbLogger:
    """Logs figures and pictures to W&B.

    Args:
        mode: `offline` keeps all in the run folder for `wandb sync`; `online` needs an account.
            `None`: what the environment variable WANDB_MODE says, else `online` for a run that
            `wandb agent` started and `offline` for others.
        project, entity, group: as W&B has them. An agent's sweep has its own project and entity,
            and knows its runs by ids of its own.
    """

    title = "W&B"

    def __init__(
        self,
        run: Run,
        *,
        mode: Literal["online", "offline", "disabled"] | None = None,
        project: str = "metarun",
        entity: str | None = None,
        group: str | None = None,
    ) -> None:
        import wandb

        agent = bool(os.environ.get("WANDB_SWEEP_ID"))
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if agent else "offline")
        if mode == "online":
            mode = self._reachable(wandb)

        def start(mode: str) -> Any:
            return wandb.init(
                project=None if agent else project,
                entity=None if agent else entity,
                group=group,
                dir=str(run.folder.absolute()),  # W&B writes from a process of its own
                id=None if agent else run.id,
                name=run.name,
                resume="allow" if run.resumed else None,
                config=run.config,
                tags=run.tags,
                mode=mode,
                reinit="create_new",
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    init_timeout=REACHED,
                    finish_timeout=UPLOADED,
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
            _say_offline(error)
            self.run = start("offline")

    def _reachable(self, wandb: Any) -> str:
        """`online`, or `offline` where there is no key or no network, which is said."""
        try:
            if wandb.login(prompt=False):
                return "online"
            log.warning("W&B has no key here, so it logs offline; `wandb login` stores one")
        except Exception as error:  # what it raises depends on what does not answer
            _say_offline(error)
        return "offline"

    def log(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        import wandb

        if pictures:
            self.run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
        self.run.summary.update(summary)
        self.run.finish(exit_code=int(failed))


def _say_offline(error: Exception) -> None:
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    log.warning("W&B cannot be reached, so it logs offline; `wandb sync` uploads it: %s", reason)
