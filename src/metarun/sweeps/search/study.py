"""The trials of a search, stored in an Optuna journal that several processes share."""

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
from metarun.sweeps.search.journal import open_journal
from metarun.sweeps.search.samplers import Settings, pruner, sampler
from metarun.sweeps.search.search_space import SEARCH, Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FOLDER, JOURNAL, LOCK = "search", "trials.jsonl", ".metarun.lock"
NAME = "search"
LOCK_TIMEOUT = 60  # seconds; a process holds the lock for less than one second


def import_optuna() -> Any:
    """Import Optuna and silence its log messages below errors.

    Raises:
        Refused: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise Refused(f"{SEARCH}: needs Optuna: pip install 'metarun[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """The trials of a search. Trial k is job k of the sweep, with the folder SWEEP/k.

    Args:
        sweep: the folder of the sweep; the journal is created if it does not exist.
        space: the search space.
        settings: the settings of the search.

    Raises:
        Refused: the journal is damaged or belongs to another search; it is not changed.
    """

    def __init__(self, sweep: Path, space: Space, settings: Settings) -> None:
        self.optuna = import_optuna()
        self.space, self.settings = space, settings
        self.folder = sweep / FOLDER
        if self.folder.is_symlink():
            raise Refused(f"{self.folder}: is a link; a search does not follow links")
        try:
            make_folder(self.folder)
            self.lock = FileLock(self._path(LOCK), timeout=LOCK_TIMEOUT)
            with self.lock:
                self._open(self._path(JOURNAL))
        except Timeout as error:
            raise Refused(f"{self.folder / LOCK}: another process holds the lock") from error
        except OSError as error:
            raise Refused(f"{error.filename or self.folder}: {error.strerror or error}") from error

    def _open(self, file: Path) -> None:
        """Open the journal and check that it belongs to this search."""
        try:
            self.storage = open_journal(file, self.lock)
            if any(study.study_name == NAME for study in self.storage.get_all_studies()):
                self.study = self.optuna.load_study(study_name=NAME, storage=self.storage)
            else:
                self.study = self.optuna.create_study(
                    study_name=NAME, storage=self.storage, direction="maximize"
                )
            matches = self.study.direction.name == "MAXIMIZE" and self._all_fit()
        except (OSError, Refused):
            raise
        except Exception as error:  # Optuna raises errors of many types
            raise Refused(f"{file}: is not the journal of a search ({one_line(error)})") from error
        if not matches:
            raise Refused(f"{file}: is the journal of a search over other ranges")

    def _path(self, name: str) -> Path:
        """Return the path of a file in the folder of the search; it must not be a link."""
        if (self.folder / name).is_symlink():
            raise Refused(f"{self.folder / name}: is a link; a search does not follow links")
        return self.folder / name

    def _all_fit(self) -> bool:
        """Return whether all saved trials fit the search space."""
        distributions = {d.key: d.distribution() for d in self.space.dimensions}
        return all(_fits(trial, distributions) for trial in self.trials())

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in the journal, by number; some may not have started."""
        return self.study.get_trials(deepcopy=False)

    def best(self) -> FrozenTrial | None:
        """Return the finished trial with the largest objective; the first one on a tie."""
        finished = [t for t in self.trials() if t.state.name == "COMPLETE"]
        return max(finished, key=lambda t: (t.value, -t.number), default=None)

    @contextlib.contextmanager
    def claim(self, number: int) -> Iterator[bool]:
        """Lock trial `number` while entered; yield `False` if another process has locked it."""
        lock = FileLock(self._path(f".{number}"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def state(self, number: int) -> str:
        """Return `WAITING`, `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`."""
        trials = self.trials()
        return trials[number].state.name if number < len(trials) else "WAITING"

    def values(self, number: int) -> dict[str, Any]:
        """Return the values of trial `number` by key; propose them if the trial has none.

        A proposal depends on the seed of the search, the number of the trial, and the reports of
        earlier trials.
        """
        from optuna.trial import Trial, TrialState, create_trial

        trials = self.trials()
        if number < len(trials) and trials[number].state.is_finished():
            return dict(trials[number].params)
        with self.lock:  # each proposal must see those before it
            while len(self.trials()) <= number:
                self.study.add_trial(create_trial(state=TrialState.WAITING))
            trial_id = self._id(number)
            if self.trials()[number].state is TrialState.WAITING:
                self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            self.study.sampler = sampler(self.settings, number)
            trial = Trial(self.study, trial_id)  # values that it already has are kept
            return {d.key: d.suggest(trial) for d in self.space.dimensions}

    def _id(self, number: int) -> int:
        """Return the identifier of trial `number` in the storage."""
        study_id = self.storage.get_study_id_from_name(NAME)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def report(self, number: int, step: int, value: float) -> None:
        """Record the objective of trial `number` after outer step `step`, unless it is recorded."""
        trial = self.trials()[number]
        if trial.intermediate_values.get(step, math.nan) != value:
            self.storage.set_trial_intermediate_value(self._id(number), step, value)

    def should_prune(self, number: int, eval_every: int) -> bool:
        """Return whether the pruner ends trial `number`, given its reports so far."""
        rule = pruner(self.settings, eval_every)
        return bool(rule.prune(self.study, self.trials()[number]))

    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """Record that trial `number` has ended: `COMPLETE` with its value, `PRUNED` or `FAIL`."""
        trial_state = self.optuna.trial.TrialState[state]
        self.study.tell(number, value, trial_state, skip_if_finished=True)


def _fits(trial: FrozenTrial, distributions: Mapping[str, Any]) -> bool:
    """Return whether a search with these distributions could have saved this trial.

    The values of a trial become overrides, so those of an untrusted journal must be checked.
    """
    numbers = [*trial.intermediate_values.values(), 0 if trial.value is None else trial.value]
    has_all = trial.value is not None and trial.params.keys() == distributions.keys()
    return (
        all(
            distributions.get(key) == trial.distributions[key]
            and _contains(distributions[key], value)
            for key, value in trial.params.items()
        )
        and all(isinstance(number, float | int) for number in numbers)
        and all(isinstance(step, int) for step in trial.intermediate_values)
        and (has_all or trial.state.name != "COMPLETE")
    )


def _contains(distribution: Any, value: Any) -> bool:
    """Return whether a value is one of the choices, or within the bounds."""
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high
