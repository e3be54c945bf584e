"""The trials of a search, on disk, shared by its processes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from metarun.config.overrides import one_line
from metarun.errors import Refused
from metarun.files import make_folder
from metarun.sweeps.search.journal import opened
from metarun.sweeps.search.samplers import Settings, pruner, sampler
from metarun.sweeps.search.search_space import CHOSEN, Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FOLDER, JOURNAL, LOCK = "search", "trials.jsonl", ".metarun.lock"
NAME = "search"
PATIENCE = 60  # seconds for the lock, which is held for parts of one


def need_optuna() -> Any:
    """Optuna, without its news on standard error.

    Raises:
        Refused: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise Refused(f"{CHOSEN}: needs Optuna: pip install 'metarun[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """A search's trials. Trial k is that of job k, in the folder SWEEP/k.

    Args:
        sweep: its folder; what is missing there is made.

    Raises:
        Refused: the journal is damaged, or another search's; it stays as it is.
    """

    def __init__(self, sweep: Path, space: Space, settings: Settings) -> None:
        self.optuna = need_optuna()
        self.space, self.settings = space, settings
        self.folder = sweep / FOLDER
        if self.folder.is_symlink():
            raise Refused(f"{self.folder}: is a link; a search's own folder is not")
        try:
            make_folder(self.folder)
            self.lock = FileLock(self._own(LOCK), timeout=PATIENCE)
            with self.lock:
                self._open(self._own(JOURNAL))
        except Timeout as error:
            raise Refused(f"{self.folder / LOCK}: another process does not let go of it") from error
        except OSError as error:
            raise Refused(f"{error.filename or self.folder}: {error.strerror or error}") from error

    def _open(self, file: Path) -> None:
        try:
            self.storage = opened(file, self.lock)
            if any(study.study_name == NAME for study in self.storage.get_all_studies()):
                self.study = self.optuna.load_study(study_name=NAME, storage=self.storage)
            else:
                self.study = self.optuna.create_study(
                    study_name=NAME, storage=self.storage, direction="maximize"
                )
            own = self.study.direction.name == "MAXIMIZE" and self._all_fit()
        except (OSError, Refused):
            raise
        except Exception as error:  # Optuna raises whatever it stumbles over
            raise Refused(f"{file}: is not a search's journal ({one_line(error)})") from error
        if not own:
            raise Refused(f"{file}: is the journal of a search over other ranges")

    def _own(self, name: str) -> Path:
        if (self.folder / name).is_symlink():
            raise Refused(f"{self.folder / name}: is a link; a search's own files are not")
        return self.folder / name

    def _all_fit(self) -> bool:
        known = {d.key: d.distribution() for d in self.space.dimensions}
        return all(_fits(trial, known) for trial in self.trials())

    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, and some that were not, by number."""
        return self.study.get_trials(deepcopy=False)

    def best(self) -> FrozenTrial | None:
        """The finished trial with the best validation; the first of equals."""
        done = [t for t in self.trials() if t.state.name == "COMPLETE"]
        return max(done, key=lambda t: (t.value, -t.number), default=None)

    @contextlib.contextmanager
    def claimed(self, number: int) -> Iterator[bool]:
        """While entered, trial `number` is this process's, or not, if it is another's."""
        claim = FileLock(self._own(f".{number}"))
        try:
            claim.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            claim.release()

    def state(self, number: int) -> str:
        """`WAITING`, `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`."""
        trials = self.trials()
        return trials[number].state.name if number < len(trials) else "WAITING"

    def value(self, number: int) -> float | None:
        """What trial `number` came to, if to anything."""
        return self.trials()[number].value

    def values(self, number: int) -> dict[str, Any]:
        """What trial `number` tries: what it was given before, or a proposal now.

        A proposal depends on the search's seed, the number, and what earlier trials have reported.
        """
        from optuna.trial import Trial, TrialState, create_trial

        trials = self.trials()
        if number < len(trials) and trials[number].state.is_finished():
            return dict(trials[number].params)
        with self.lock:  # one proposal after the other, each knowing of those before
            while len(self.trials()) <= number:
                self.study.add_trial(create_trial(state=TrialState.WAITING))
            trial = self.trials()[number]
            if trial.state is TrialState.WAITING:
                self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            self.study.sampler = sampler(self.settings, number)
            one = Trial(self.study, trial._trial_id)  # a value that it has, it keeps
            return {d.key: d.suggest(one) for d in self.space.dimensions}

    def report(self, number: int, step: int, value: float) -> None:
        """Note the validation of trial `number` after outer step `step`; once more is no harm."""
        trial = self.trials()[number]
        if trial.intermediate_values.get(step, math.nan) != value:
            self.storage.set_trial_intermediate_value(trial._trial_id, step, value)

    def bad(self, number: int, eval_every: int) -> bool:
        """Is trial `number`, by what it has reported, to be ended?"""
        rule = pruner(self.settings, eval_every)
        return bool(rule.prune(self.study, self.trials()[number]))

    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """Trial `number` is over: `COMPLETE` with its best validation, `PRUNED` or `FAIL`."""
        kind = self.optuna.trial.TrialState[state]
        self.study.tell(number, value, kind, skip_if_finished=True)


def _fits(trial: FrozenTrial, known: Mapping[str, Any]) -> bool:
    """Can a search over what is `known` have left this trial? Its values are put into words."""
    numbers = [*trial.intermediate_values.values(), 0 if trial.value is None else trial.value]
    whole = trial.value is not None and trial.params.keys() == known.keys()
    return (
        all(
            known.get(key) == trial.distributions[key] and _within(known[key], value)
            for key, value in trial.params.items()
        )
        and all(isinstance(number, float | int) for number in numbers)
        and all(isinstance(step, int) for step in trial.intermediate_values)
        and (whole or trial.state.name != "COMPLETE")
    )


def _within(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high
