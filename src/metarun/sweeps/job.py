"""A job of a sweep: a command line whose run has its own folder in that of the sweep."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import checked
from metarun.config.groups import user_folders
from metarun.config.schema import RunConfig
from metarun.errors import Occupied, Refused, RunFailed, complain
from metarun.files import check_own, make_folder, write_whole
from metarun.process import describe
from metarun.sweeps.shared import Sweep

if TYPE_CHECKING:  # importing it would import torch
    from metarun.training.loop import Trial


@dataclass(frozen=True)
class Job:
    """A job, which can be called in any process.

    Attributes:
        number, jobs: the number of the job, from 0, and of the jobs in the sweep.
        out: the folder of its run, an absolute path.
        overrides: the overrides of its command line.
    """

    number: int
    jobs: int
    out: Path
    overrides: tuple[str, ...]
    sweep: Sweep

    @property
    def command(self) -> str:
        """The command line that makes the run of the job alone."""
        return self.sweep.command(self.overrides)

    def resumed(self) -> Job:
        """Return the job as one of a resumed sweep."""
        return replace(self, sweep=replace(self.sweep, go_on=True))

    def __call__(self) -> int:
        """Run the job and print its errors; return the exit code.

        A job that another process is running is skipped, which is no failure.

        Raises:
            KeyboardInterrupt: the process was told to stop; the run has saved its state.
        """
        from metarun.training.display import console

        try:
            return self.run()
        except Occupied as occupied:
            console().print(f"  skipped: {occupied}", markup=False, soft_wrap=True)
            return 0
        except Refused as refused:
            lines = refused.mistakes
        except RunFailed as failed:
            lines = [str(failed)]
        except OSError as error:  # of a file beside those of the run
            reason = f"{error.filename or self.out}: {error.strerror or error}"
            lines = [f"{reason}; go on with: metarun resume={self.sweep.folder}"]
        except Exception as error:
            if os.environ.get("METARUN_TRACEBACK"):
                raise
            lines = [describe(error)]
        complain(*(f"job {self.number}: {line}" for line in lines))
        return 1

    def run(self) -> int:
        """Run the job, print its result and return the exit code; see `make` for the errors."""
        from metarun.training.display import announce, conclude_job

        announce(self.number, self.overrides, self.jobs)
        conclude_job(self.make(*self.sweep.compose(self.overrides)))
        return 0

    def make(
        self, cfg: DictConfig | None, mistakes: list[str], trial: Trial | None = None
    ) -> dict[str, Any]:
        """Train or resume the run of the job, and return the content of its `result.json`.

        Args:
            cfg, mistakes: what the overrides compose to, and what is wrong in them.
            trial: receives each validation, if the job belongs to a search.

        Raises:
            Refused: the overrides are invalid; `result.json` holds the reasons.
            RunFailed: the run failed, or is refused because the folder holds another one.
            Occupied: another process is running in the folder.
        """
        from metarun.runs import results
        from metarun.training.display import console

        config = None if cfg is None or mistakes else checked(cfg)
        folders = [] if cfg is None else user_folders(cfg)
        go_on = self.sweep.go_on or self._started_elsewhere(config)
        has_result = (self.out / "result.json").exists() and not go_on
        check_own(self.out, (), (".hydra",))
        make_folder(self.out / ".hydra")
        write_whole(self.out / ".hydra/overrides.yaml", OmegaConf.to_yaml(list(self.overrides)))
        try:
            if go_on and (previous := _completed(self.out)):
                if config is not None:
                    self._refuse_other_run(config)
                console().print("  finished before")
                return previous
            if config is None:
                raise Refused(*mistakes)
            return self._train(config, folders, go_on, trial)
        except Occupied:
            raise
        except Refused as refused:
            if has_result or (self.out / "config.yaml").exists():
                raise RunFailed("; ".join(refused.mistakes)) from refused
            error, run = refused.mistakes, {"command": self.command}
            results.write(self.out, {"status": "failed", "error": error, "run": run})
            raise

    def _train(
        self, config: RunConfig, folders: list[Path], go_on: bool, trial: Trial | None
    ) -> dict[str, Any]:
        """Train a new run or, with `go_on`, resume the one that is in the folder."""
        from metarun.runs import config_file
        from metarun.train import resume, train

        out = self.out
        changes: dict[str, Any] = {"out": str(out)}
        if config.logger.get("group", "") is None and not os.environ.get("WANDB_RUN_GROUP"):
            changes["logger"] = {**config.logger, "group": self.sweep.folder.resolve().name}
        try:
            if go_on and (out / "config.yaml").exists():
                # The number of threads changes rounding: keep it.
                changes["threads"] = config_file.load_config(out, "resume").get("threads")
                config = config.model_copy(update=changes)
                return resume(config, out, self.command, folders, trial)
            config = config.model_copy(update=changes)
            return train(config, out, self.command, folders, afresh=go_on, trial=trial)
        except Refused:  # another process may have finished the run in the meantime
            if go_on and (current := _completed(out)):
                return current
            raise

    def _started_elsewhere(self, config: RunConfig | None) -> bool:
        """Return whether another process that resumed this sweep has already started the job."""
        try:
            sweep_file = (self.sweep.folder / "multirun.yaml").stat()
            if config is None or (self.out / "config.yaml").stat().st_mtime < sweep_file.st_mtime:
                return False
            self._refuse_other_run(config)
        except (OSError, Refused):
            return False
        return True

    def _refuse_other_run(self, config: RunConfig) -> None:
        """Check that the run in the folder was made with the settings in `config`.

        Raises:
            Refused: it was made with other settings.
        """
        from metarun.runs import config_file

        saved = OmegaConf.to_container(config_file.load_config(self.out, "resume"), resolve=True)
        if lines := config_file.differences(saved, config.model_dump()):
            raise Refused(f"{self.out} holds another run: {lines[0]}")


def _completed(out: Path) -> dict[str, Any] | None:
    """Return the result in the folder if it is that of a completed run."""
    from metarun.runs import results

    result = results.read_result(out) or {}
    return result if result.get("status") == "completed" else None
