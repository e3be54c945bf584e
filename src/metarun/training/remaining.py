"""The expected time until a run ends, from the time that its steps and episodes have taken."""

from __future__ import annotations

from dataclasses import dataclass, field

from metarun.config.schema import RunConfig


@dataclass
class Rate:
    """Mean time of a unit of work, in seconds.

    The first measurement is replaced by the second, because it contains the time of starting up.
    """

    seconds: float = 0.0
    units: int = 0
    measurements: int = 0

    def add(self, seconds: float, units: int) -> None:
        """Add a measurement: the time that these units took together."""
        self.measurements += 1
        if self.measurements == 2:
            self.seconds, self.units = 0.0, 0
        self.seconds, self.units = self.seconds + seconds, self.units + units

    def mean(self) -> float | None:
        """Seconds per unit; `None` before the first measurement."""
        return self.seconds / self.units if self.units else None


@dataclass(kw_only=True)
class Remaining:
    """The work that a run still has to do: outer steps, validations and the test.

    Attributes:
        steps, meta_batch, eval_every, val_episodes, test_episodes: as in `RunConfig`. The defaults
            are those of a test without training.
        step: number of finished outer steps.
        validated: the step of the last finished validation; 0 before the first.
        evaluated: number of finished episodes of the validation or test in progress.
        step_rate, episode_rate: time per outer step and per evaluated episode.
    """

    steps: int = 0
    meta_batch: int = 1
    eval_every: int = 1
    val_episodes: int = 0
    test_episodes: int = 0
    step: int = 0
    validated: int = 0
    evaluated: int = 0
    step_rate: Rate = field(default_factory=Rate)
    episode_rate: Rate = field(default_factory=Rate)

    @classmethod
    def of(cls, config: RunConfig, step: int, validated: int) -> Remaining:
        """The remaining work of a training run."""
        keys = ("steps", "meta_batch", "eval_every", "val_episodes", "test_episodes")
        return cls(**{k: getattr(config, k) for k in keys}, step=step, validated=validated)

    def episodes(self) -> int:
        """Number of validation and test episodes that are left."""
        validations = self.steps // self.eval_every - self.validated // self.eval_every
        if self.steps % self.eval_every and self.validated < self.steps:
            validations += 1  # the one after the last step
        return max(0, validations * self.val_episodes + self.test_episodes - self.evaluated)

    def seconds(self) -> float | None:
        """Expected time until the end of the test; `None` if nothing has been measured yet.

        Before the first validation, an episode is expected to take as long as a training task.
        """
        steps, step_time = self.steps - self.step, self.step_rate.mean()
        episode_time = self.episode_rate.mean()
        if episode_time is None and step_time is not None:
            episode_time = step_time / self.meta_batch
        if episode_time is None or (steps and step_time is None):
            return None
        return steps * (step_time or 0.0) + self.episodes() * episode_time
