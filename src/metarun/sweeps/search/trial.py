"""A job of a search: it asks for values when it begins, trains, and tells what came of it."""

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
from metarun.sweeps.job import objective, rerun_command, run_and_record, train_or_resume
from metarun.sweeps.job import refuse_other_run as refuse
from metarun.sweeps.search import best
from metarun.sweeps.search.samplers import Settings, behind
from metarun.sweeps.search.search_space import Space
from metarun.sweeps.search.study import Study

TRIAL = "trial"  # the key of a job of a search, which finds out its own settings
BEFORE = {"COMPLETE": "finished before", "PRUNED": "ended early before", "FAIL": "failed before"}


def marked(space: Space, settings: Settings) -> str:
    """The only word of each job of a search: it carries what was typed, under any launcher."""
    carried = {"words": space.plain(), "settings": settings.model_dump()}
    return f"++{TRIAL}={quote(json.dumps(carried).encode().hex())}"


def run_trial(cfg: DictConfig, go_on: bool) -> float | None:
    """The trial whose number is the job's, in the job's folder, unless it is over or another's.

    Returns:
        What was told to the search, the `objective`; `nan` where it failed, `None` where it is
        another's.
    """
    from metarun.training.display import announce

    hydra = HydraConfig.get()
    number, out = hydra.job.num, Path(hydra.runtime.output_dir)
    carried = json.loads(bytes.fromhex(cfg[TRIAL]))
    space, settings = Space.of(carried["words"]), Settings.checked(carried["settings"])
    study = Study(out.parent, space, settings)
    with study.claimed(number) as mine:
        if not mine:
            announce(number, ["another process is at it"])
            return None
        state = study.state(number)
        values = study.values(number)
        if state in BEFORE:
            announce(number, [f"{BEFORE[state]}: {_words(space, values)}"])
            if (first := study.best()) is not None and first.number == number:
                best.keep(study, out.parent, hydra)  # it may have been killed before it did
            return math.nan if state == "FAIL" else study.value(number)
        typed = space.typed(values)
        announce(number, typed)
        loader, found = loader_for(hydra)
        job = _Job(study, number, out, rerun_command(hydra, typed))
        try:
            return job.run(composed(loader, [*found, *typed]), go_on or state == "RUNNING")
        except OSError as error:
            place = error.filename or study.folder
            raise RunFailed(
                f"job {number}: {place}: {error.strerror or error}; the trial goes on with: "
                f"metarun resume={out.parent}"
            ) from error


class _Job:
    """A trial at work; `train` tells it of each validation.

    Attributes:
        number: of the trial.
        config: of its run; `None` where its words do not compose.
    """

    def __init__(self, study: Study, number: int, out: Path, line: str) -> None:
        self.study, self.number, self.out, self.line = study, number, out, line
        self.config: RunConfig | None = None
        self.no_fault = False  # of its values, if it fails

    def run(self, found: Composed, go_on: bool) -> float | None:
        from metarun.runs import results
        from metarun.training.display import console

        self.config = found.config
        before = (results.read_result(self.out) or {}) if go_on else {}
        held = (self.out / "config.yaml").exists() or (
            not go_on and (self.out / "result.json").exists()
        )
        try:
            result = run_and_record(
                self.number, self.out, self.line, held, lambda: self._work(found, before, go_on)
            )
        except Pruned as early:
            self.study.tell(self.number, "PRUNED")
            console().print(f"  ended early: {behind(self.study.settings)} at step {early.step}")
            return self.study.value(self.number)
        value = math.nan if result is None else objective(result)
        if self.no_fault:
            return value
        if math.isnan(value):
            if result is not None:
                complain(f"job {self.number}: its validation came to no number: it has failed")
            self.study.tell(self.number, "FAIL")
            return value
        self.study.tell(self.number, "COMPLETE", value)
        best.keep(self.study, self.out.parent, HydraConfig.get())
        return value

    def _work(self, found: Composed, before: Mapping[str, Any], go_on: bool) -> dict[str, Any]:
        if self.config is None:
            raise Refused(*found.mistakes)
        if before.get("status") == "completed":  # killed before it could tell
            refuse(self.config, self.out)
            return dict(before)
        if go_on:
            self._catch_up()
            if isinstance(pruned := before.get("pruned"), dict):
                raise Pruned(self.number, pruned.get("step", 0))
        try:
            return train_or_resume(self.config, self.out, self.line, go_on, self)
        except RunFailed as failed:
            self.no_fault = isinstance(failed.__cause__, OSError)  # a full disk: it can go on
            raise

    def _catch_up(self) -> None:
        """Report what was validated before a kill, and was not reported any more."""
        from metarun.runs import metrics

        for line in metrics.read_metrics(self.out):
            if line["split"] == "val" and isinstance(line["step"], int):
                value = self._worth({name: {"mean": mean} for name, mean in line.items()})
                if not math.isnan(value):
                    self.study.report(self.number, line["step"], value)

    def validated(self, step: int, val: Mapping[str, Any]) -> None:
        """Report a validation; one at the last step ends nothing any more."""
        self.study.report(self.number, step, self._worth(val))
        if step < self.config.steps and self.study.bad(self.number, self.config.eval_every):
            raise Pruned(self.number, step)

    def _worth(self, val: Mapping[str, Any]) -> float:
        """What the search maximises; the run has written down which score that is."""
        from metarun.runs import results

        return objective({**(results.read_result(self.out) or {}), "val": val})


def _words(space: Space, values: Mapping[str, Any]) -> str:
    return " ".join(d.word(values[d.key]) for d in space.dimensions if d.key in values)
