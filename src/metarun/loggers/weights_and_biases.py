"""Weights & Biases: offline by default, without prompts and long waits."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Literal

from metarun.loggers import Run

START_TIMEOUT = 30.0  # seconds to reach W&B at the start; otherwise the run logs offline
FINISH_TIMEOUT = 120.0  # seconds to finish uploads at the end; `wandb sync` can upload the rest

log = logging.getLogger(__name__)


class WandbLogger:
    """Logs figures and pictures to W&B.

    Args:
        mode: `offline` writes to the run folder, for `wandb sync`; `online` needs an account.
            `None`: the value of the environment variable WANDB_MODE; if that is not set, `online`
            for a run started by `wandb agent` and `offline` for others.
        project, entity, group: see the documentation of `wandb.init`. For a run started by `wandb
            agent`, the agent sets project, entity and run id.
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
            mode = self._check_online(wandb)

        def start(mode: str) -> Any:
            return wandb.init(
                project=None if agent else project,
                entity=None if agent else entity,
                group=group,
                dir=str(run.folder.absolute()),  # absolute, because W&B writes from another process
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
        self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        import wandb

        if pictures:
            self.run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
        self.run.summary.update(summary)
        self.run.finish(exit_code=int(failed))


def _warn_offline(error: Exception) -> None:
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    log.warning("W&B cannot be reached, so it logs offline; `wandb sync` uploads it: %s", reason)
