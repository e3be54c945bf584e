"""Run a trial, which is a job of a search: get its values, train, and report the result."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metarun.config.overrides import quote
from metarun.config.schema import RunConfig
from metarun.errors import Pruned, Refused, RunFailed, complain
from metarun.sweeps.composition import Composed, composed, loader_for
from metarun.sweeps.job import (
    objective,
    refuse_other_run,
    rerun_command,
    run_and_record,
    train_or_resume,
)
from metarun.sweeps.search import best
from metarun.sweeps.search.samplers import Settings, prune_reason
from metarun.sweeps.search.search_space import Space
from metarun.sweeps.search.study import Study

TRIAL = "trial"  # config key of a job of a search; holds the space and the settings
BEFORE = {"COMPLETE": "finished before", "PRUNED": "ended early before", "FAIL": "failed before"}


def trial_override(space: Space, settings: Settings) -> str:
    """Return the override that makes a job a trial: it passes the search to any launcher."""
    content = {"words": space.to_json(), "settings": settings.model_dump()}
    return f"++{TRIAL}={quote(json.dumps(content).encode().hex())}"


def run_trial(cfg: DictConfig, go_on: bool) -> float | None:
    """Run the trial with the number of the job, unless it has ended or another process runs it.

    Returns:
        The `objective` of the trial; `nan` if it failed, `None` if another process runs it.
    """
    from metarun.training.display import announce

    hydra = HydraConfig.get()
    number, out = hydra.job.num, Path(hydra.runtime.output_dir)
    content = json.loads(bytes.fromhex(cfg[TRIAL]))
    space, settings = Space.of(content["words"]), Settings.checked(content["settings"])
    study = Study(out.parent, space, settings)
    with study.claim(number) as claimed:
        if not claimed:
            announce(number, ["another process is running this trial"], settings.trials)
            return None
        state = study.state(number)
        values = study.values(number)
        if state in BEFORE:
            line = f"{BEFORE[state]}: {_searched_overrides(space, values)}"
            announce(number, [line], settings.trials)
            # The process of the best trial may have been killed before it saved the settings.
            if (first := study.best()) is not None and first.number == number:
                best.save(study, out.parent, hydra)
            return math.nan if state == "FAIL" else study.value(number)
        overrides = space.overrides_for(values)
        announce(number, overrides, settings.trials)
        loader, search_path = loader_for(hydra)
        job = _Job(study, number, out, rerun_command(hydra, overrides))
        try:
            return job.run(
                composed(loader, [*search_path, *overrides]), go_on or state == "RUNNING"
            )
        except OSError as error:
            path = error.filename or study.folder
            raise RunFailed(
                f"job {number}: {path}: {error.strerror or error}; go on with: "
                f"metarun resume={out.parent}"
            ) from error


class _Job:
    """A running trial; the training loop calls `validated` after each validation.

    Attributes:
        number: the number of the trial.
        config: the configuration of its run; `None` if its overrides are invalid.
        disk_error: whether the run failed because of the disk; the trial can then be resumed.
    """

    def __init__(self, study: Study, number: int, out: Path, line: str) -> None:
        self.study, self.number, self.out, self.line = study, number, out, line
        self.config: RunConfig | None = None
        self.disk_error = False

    def run(self, job: Composed, go_on: bool) -> float | None:
        """Run the trial, report its outcome to the search, and return its objective."""
        from metarun.runs import results
        from metarun.training.display import conclude_job, console

        self.config = job.config
        previous = (results.read_result(self.out) or {}) if go_on else {}
        try:
            result = run_and_record(
                self.number, self.out, self.line, go_on, lambda: self._work(job, previous, go_on)
            )
        except Pruned as pruned:
            self.study.tell(self.number, "PRUNED")
            reason = prune_reason(self.study.settings)
            console().print(f"  ended early: {reason} at step {pruned.step}")
            return self.study.value(self.number)
        value = math.nan
        if result is not None:
            conclude_job(result)
            value = objective(result)
        if self.disk_error:
            return value
        if math.isnan(value):
            if result is not None:
                complain(
                    f"job {self.number}: the validation score is not a number: the trial failed"
                )
            self.study.tell(self.number, "FAIL")
            return value
        self.study.tell(self.number, "COMPLETE", value)
        best.save(self.study, self.out.parent, HydraConfig.get())
        return value

    def _work(self, job: Composed, previous: Mapping[str, Any], go_on: bool) -> dict[str, Any]:
        """Train or resume the run, and return its result."""
        if self.config is None:
            raise Refused(*job.mistakes)
        if previous.get("status") == "completed":  # killed before it reported the result
            refuse_other_run(self.config, self.out)
            return dict(previous)
        if go_on:
            self._report_missing()
            if isinstance(pruned := previous.get("pruned"), dict):
                raise Pruned(self.number, pruned.get("step", 0))
        try:
            return train_or_resume(self.config, self.out, self.line, go_on, self)
        except RunFailed as error:
            self.disk_error = isinstance(error.__cause__, OSError)  # the trial can be resumed
            raise

    def _report_missing(self) -> None:
        """Report validations that a killed process had saved but not reported."""
        from metarun.runs import metrics

        for line in metrics.read_metrics(self.out):
            if line["split"] == "val" and isinstance(line["step"], int):
                value = self._objective({name: {"mean": mean} for name, mean in line.items()})
                if not math.isnan(value):
                    self.study.report(self.number, line["step"], value)

    def validated(self, step: int, val: Mapping[str, Any]) -> None:
        """Report a validation.

        Raises:
            Pruned: the pruner ends the trial, and this was not the last step.
        """
        self.study.report(self.number, step, self._objective(val))
        every = self.config.eval_every
        if 0 < step < self.config.steps and self.study.should_prune(self.number, every):
            raise Pruned(self.number, step)

    def _objective(self, val: Mapping[str, Any]) -> float:
        """Return the value to maximise; the result file of the run names the headline score."""
        from metarun.runs import results

        return objective({**(results.read_result(self.out) or {}), "val": val})


def _searched_overrides(space: Space, values: Mapping[str, Any]) -> str:
    """Return the overrides of the searched keys, separated by spaces."""
    return " ".join(d.override_for(values[d.key]) for d in space.dimensions if d.key in values)
