"""A trial is a job of a search: it asks for its values, trains, and reports its validations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from metarun.errors import Occupied, Pruned, Refused, RunFailed
from metarun.sweeps.job import Job
from metarun.sweeps.search import best
from metarun.sweeps.search.samplers import Settings, prune_reason
from metarun.sweeps.search.search_space import Space
from metarun.sweeps.search.study import Study
from metarun.tasks.headline import Headline

BEFORE = {"COMPLETE": "finished before", "PRUNED": "ended early before", "FAIL": "failed before"}


@dataclass(frozen=True)
class Trial(Job):
    """A trial; its overrides are those of all trials until it has asked for its values.

    Attributes:
        space: the overrides of the search, with its ranges.
        settings: the settings of the search.
    """

    space: Space
    settings: Settings

    def run(self) -> int:
        """Run the trial, unless it has ended or another process runs it."""
        from metarun.training.display import announce

        study = Study(self.out.parent, self.space, self.settings)
        with study.claim(self.number) as claimed:
            if not claimed:
                announce(self.number, ["another process is running this trial"], self.jobs)
                return 0
            state = study.state(self.number)
            values = study.values(self.number)
            if state in BEFORE:
                known = (d for d in self.space.dimensions if d.key in values)
                searched = (d.override_for(values[d.key]) for d in known)
                announce(self.number, [f"{BEFORE[state]}:", *searched], self.jobs)
                # The process of the best trial may have been killed before it saved the settings.
                if (first := study.best()) is not None and first.number == self.number:
                    best.save(study, self.sweep)
                return int(state == "FAIL")
            job = replace(self, overrides=tuple(self.space.overrides_for(values)))
            announce(self.number, job.overrides, self.jobs)
            return (job.resumed() if state == "RUNNING" else job)._search(study)

    def _search(self, study: Study) -> int:
        """Run the trial with its values, and report its outcome to the search."""
        from metarun.training.display import conclude_job, console
        from metarun.training.processes import WorkerEnded

        cfg, mistakes = self.sweep.compose(self.overrides)
        reports = Reports(study, self.number, self.out, cfg)
        try:
            if self.sweep.go_on:
                reports.send_missing()
            result = self.make(cfg, mistakes, reports)
        except Pruned as pruned:
            study.tell(self.number, "PRUNED")
            reason = prune_reason(self.settings)
            console().print(f"  ended early: {reason} at step {pruned.step}")
            return 0
        except Occupied:  # by the process that resumes the run of the trial alone
            raise
        except (Refused, RunFailed) as error:
            # Where the disk is full, a worker was killed or the folder holds another run, the trial
            # can be resumed.
            if not isinstance(error.__cause__, OSError | WorkerEnded | Refused):
                study.tell(self.number, "FAIL")
            raise
        conclude_job(result)
        value = objective(result)
        if math.isnan(value):
            study.tell(self.number, "FAIL")
            raise RunFailed("the validation score is not a number: the trial failed")
        study.tell(self.number, "COMPLETE", value)
        best.save(study, self.sweep)
        return 0


@dataclass
class Reports:
    """Sends the validations of a running trial to its search (`training.loop.Trial`)."""

    study: Study
    number: int
    out: Path
    config: DictConfig | None

    def send_missing(self) -> None:
        """Report validations that a killed process had saved but not reported.

        Raises:
            Pruned: the search had ended the trial.
        """
        from metarun.runs import metrics, results

        for line in metrics.read_metrics(self.out):
            if line["split"] == "val" and isinstance(line["step"], int):
                value = self._objective({name: {"mean": mean} for name, mean in line.items()})
                if not math.isnan(value):
                    self.study.report(self.number, line["step"], value)
        pruned = (results.read_result(self.out) or {}).get("pruned")
        if isinstance(pruned, dict):
            raise Pruned(self.number, pruned.get("step", 0))

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


def objective(result: Mapping[str, Any]) -> float:
    """Return the value to maximise: the headline score on the validation split.

    The sign is reversed if a lower score is better. The value is `nan` if there is no score.
    """
    headline = Headline.of(result)
    try:
        return headline.worth(float(result["val"][headline.score]["mean"]))
    except (KeyError, TypeError, ValueError):
        return math.nan
