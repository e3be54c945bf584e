"""Weights & Biases: offline unless the user says otherwise, never a prompt, never fatal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from metarun.loggers import Run

log = logging.getLogger(__name__)


class WandbLogger:
    """Logs figures and pictures to W&B.

    Args:
        mode: `offline` keeps all in the run folder for `wandb sync`; `online` needs an account.
            `None`: what the environment variable WANDB_MODE says, else `offline`.
        project, entity, group: as W&B has them.
    """

    def __init__(
        self,
        run: Run,
        *,
        mode: Literal["online", "offline", "disabled"] | None = None,
        project: str = "metarun",
        entity: str | None = None,
        group: str | None = None,
    ) -> None:
        self.run: Any = None
        self._guard(self._start, run, mode, project, entity, group)

    def _start(
        self, run: Run, mode: str | None, project: str, entity: str | None, group: str | None
    ) -> None:
        import wandb

        mode = mode or os.environ.get("WANDB_MODE") or "offline"
        if mode == "online" and not wandb.login(prompt=False):
            log.warning("W&B has no key here, so it logs offline; `wandb login` stores one")
            mode = "offline"
        self.run = wandb.init(
            project=project,
            entity=entity,
            group=group,
            dir=str(run.folder.absolute()),  # W&B writes from a process of its own
            id=run.id,
            name=run.name,
            resume="allow" if run.resumed else None,
            config=run.config,
            tags=run.tags,
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                silent=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
                disable_git=True,
            ),
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        if self.run is not None:
            self._guard(self.run.log, values, step=step)

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        if self.run is not None:
            self._guard(self._finish, summary, pictures, failed)

    def _finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        import wandb

        if pictures:
            self.run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
        self.run.summary.update(summary)
        self.run.finish(exit_code=int(failed))

    def _guard(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """A logger's trouble is said once and costs the run nothing."""
        try:
            call(*args, **kwargs)
        except Exception as error:
            self.run = None
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            log.warning("W&B is off for the rest of this run: %s", reason)
