"""RL²: a recurrent policy that learns within a trial."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import Learner
from metarun.tasks.environment import together
from metarun.tasks.task import Evidence, Judged, Spec, Task


class Recurrent(nn.Module):
    """A policy with a memory.

    Args:
        backbone: maps observations (rows, *shape) to features.
        hidden: units of the recurrent layer.
        outputs: outputs of the policy.
    """

    def __init__(self, backbone: nn.Module, hidden: int, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.gru, self.head = nn.GRU(backbone.features, hidden), nn.Linear(hidden, outputs)

    def unroll(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map observations (T, rows, *shape) and a memory to outputs (T, rows, K) and a memory."""
        features = self.backbone(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        states, memory = self.gru(features, memory)
        return self.head(states), memory


class RL2(Learner):
    """Learns a recurrent policy whose memory is what it knows of the task.

    Duan et al. 2016, "RL²: Fast Reinforcement Learning via Slow Reinforcement Learning"; Wang et
    al. 2016, "Learning to Reinforcement Learn". The observations contain the action and the reward
    before. No weight changes in a task. The baseline of the policy gradient is linear and fitted on
    each task; the authors train a second recurrent network for it.

    Args:
        backbone: maps observations (rows, *shape) to the inputs of the recurrent layer.
        spec: sets the number of outputs.
        hidden: units of the recurrent layer, a GRU.
    """

    needs_labels, joint = False, True
    takes = ("trials",)

    def __init__(self, backbone: nn.Module, spec: Spec, *, hidden: PositiveInt = 32) -> None:
        super().__init__()
        self.policy = Recurrent(backbone, hidden, spec.outputs)

    def adapt(self, support: Evidence) -> Recurrent:
        return self.policy

    def outer_losses(self, tasks: Sequence[Task]) -> list[Judged]:
        return together([task.query for task in tasks]).judge_all(self.policy)
