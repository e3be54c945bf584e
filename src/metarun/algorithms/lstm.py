"""The LSTM meta-learner (Ravi & Larochelle 2017)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind, Learner
from metarun.algorithms.inner_loop import Adapted, Normalised, unflattened
from metarun.backbones.norm import normalised_by
from metarun.errors import Refused
from metarun.tasks.task import Evidence, Model, Spec


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Rescale numbers of very different magnitudes as inputs of a network, (…) → (2, …).

    (log|x| / p, sign x) if |x| ≥ e⁻ᵖ, else (−1, eᵖ·x) (Ravi & Larochelle 2017, section 3.2,
    after Andrychowicz et al. 2016, appendix A).
    """
    threshold = math.exp(-p)
    size = x.abs()
    large = size >= threshold
    logs = torch.where(large, size.clamp_min(threshold).log() / p, -1.0)
    return torch.stack([logs, torch.where(large, x.sign(), x / threshold)])


def lstm_step(
    weight: Tensor, bias: Tensor, inputs: Tensor, output: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the next output and cell state of an LSTM layer, each (hidden, P).

    The same as `nn.LSTMCell`, which takes (P, hidden): there, each gate is a strided part of
    memory, which takes twice the time.

    Args:
        weight: (4·hidden, I + hidden) `weight_ih` and `weight_hh` side by side.
        bias: (4·hidden) sum of both biases.
        inputs: (I, P) inputs of the P coordinates.
        output, cell: (hidden, P) the state.
    """
    gates = torch.addmm(bias[:, None], weight, torch.cat([inputs, output]))
    enter, keep, new, out = gates.chunk(4)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


class State(NamedTuple):
    """State of the meta-learner between updates, for each of the P coordinates.

    Attributes:
        cell: (P) cell state c, which is the parameter vector θ of the learner.
        gates: (2, P) forget and input gate before the sigmoid.
        first: output and cell state of the first layer, each (hidden, P).
    """

    cell: Tensor
    gates: Tensor
    first: tuple[Tensor, Tensor]


class MetaLSTM(nn.Module):
    """Two-layer LSTM that updates all coordinates, with shared weights and one state for each.

    The first layer is an ordinary LSTM on the preprocessed gradient and loss. Its output replaces
    [∇, L] in the gates of the second layer (Ravi & Larochelle 2017, section 3.1):

        i = σ(W_I · [first, θ, i'] + b_I)
        f = σ(W_F · [first, θ, f'] + b_F)
        c = f ⊙ c' + i ⊙ (−∇)                          (equation 2)

    As in public reimplementations, i' and f' are the gates before the sigmoid, initially 0. W is
    drawn uniformly from ±0.01, b_F from 4…6 and b_I from −5…−4, so that the first updates are close
    to gradient descent with a small learning rate (section 3.3, initialization).
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.LSTMCell(4, hidden)
        self.forget, self.input = nn.Linear(hidden + 2, 1), nn.Linear(hidden + 2, 1)
        for gate, low, high in ((self.forget, 4.0, 6.0), (self.input, -5.0, -4.0)):
            nn.init.uniform_(gate.weight, -0.01, 0.01)
            nn.init.uniform_(gate.bias, low, high)

    def start(self, cell: Tensor) -> State:
        """Return the state before the first update, for initial parameters (P)."""
        hidden = cell.new_zeros(self.first.hidden_size, len(cell))
        return State(cell, cell.new_zeros(2, len(cell)), (hidden, hidden))

    def forward(self, loss: Tensor, gradient: Tensor, state: State) -> State:
        """Return the state after one update.

        Args:
            loss: loss of the learner at `state.cell`, a scalar.
            gradient: (P) gradient of the loss.
            state: the state before the update.
        """
        first = self._first(loss, gradient, *state.first)
        weight = torch.cat([self.forget.weight, self.input.weight])  # (2, hidden + 2)
        bias = torch.cat([self.forget.bias, self.input.bias])[:, None]
        hidden, of_cell, of_gate = weight.split([len(first[0]), 1, 1], 1)
        gates = torch.addmm(bias + of_cell * state.cell + of_gate * state.gates, hidden, first[0])
        forget, input = gates.sigmoid()
        return State(forget * state.cell - input * gradient, gates, first)

    def _first(
        self, loss: Tensor, gradient: Tensor, output: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return output and cell state of the first layer, each (hidden, P)."""
        layer = self.first
        of_gradient, of_loss = layer.weight_ih.split(2, 1)
        weight = torch.cat([of_gradient, layer.weight_hh], 1)
        bias = layer.bias_ih + layer.bias_hh + of_loss @ preprocess(loss)
        return lstm_step(weight, bias, preprocess(gradient), output, cell)


class LSTM(Learner):
    """Learns the optimizer of another network (an LSTM) and that network's initial weights.

    Ravi & Larochelle 2017, "Optimization as a Model for Few-Shot Learning", algorithm 1: the cell
    state is the parameter vector of the learner. Its initial value c₀ is learned (here: the
    parameters of `net`), and each update reads the loss and gradient on the support. These inputs
    are constants in the meta-gradient ("gradient independence", section 3.3), so there are no
    second derivatives. Differences from the paper:

    - Each update uses the whole support instead of a mini-batch, so the order of the support does
      not matter. Public reimplementations use mini-batches of 25, which is the whole support for
      up to 5 ways and 5 shots.
    - The paper normalises queries by running averages of the support, reset in each episode. Here
      there are none: `batch_norm: inductive` takes the statistics of the whole support.
    - The gradient is that of the mean loss. The authors divide it by the batch size once more.

    Memory and time are proportional to P·hidden·inner_steps for P parameters of the learner, so the
    learner has to be small.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the learner's linear head.
        inner_steps: updates of the learner, in training and evaluation.
        hidden: units of the first LSTM layer, for each coordinate.
        batch_norm: statistics that normalise queries, in training and evaluation. `inductive`:
            those of the support under the adapted weights (MetaBN, Bronskill et al. 2020);
            `transductive`: those of the task's query batch. The support is always normalised by its
            own.

    Raises:
        Refused: weights of the backbone are frozen.
    """

    per_label_head = True
    needs_labels = False
    takes = ("examples", "environments")
    adapts_alike = True
    slope = False  # the inputs of the LSTM are treated as constants

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_steps: PositiveInt = 8,
        hidden: PositiveInt = 20,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__()
        if not all(p.requires_grad for p in backbone.parameters()):
            raise Refused(
                "backbone.frozen=true: lstm adapts all weights of a small network; "
                "set backbone.frozen=false or choose a smaller backbone"
            )
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.meta = MetaLSTM(hidden)
        self.inner_steps, self.batch_norm = inner_steps, batch_norm

    def adapt(self, support: Evidence) -> Model:
        state = self.meta.start(torch.cat([p.flatten() for p in self.net.parameters()]))
        for _ in range(self.inner_steps):
            state = self.meta(*self.loss_and_gradient(state.cell, support), state)
        return Normalised(self._learner(state.cell), support, self)

    def loss_and_gradient(self, cell: Tensor, support: Evidence) -> tuple[Tensor, Tensor]:
        """Return the loss of the learner with the parameters `cell` and its gradient, detached."""
        with torch.enable_grad(), normalised_by(self.net, "batch"):
            cell = cell.detach().requires_grad_()
            loss = support.loss(self._learner(cell))
            (gradient,) = torch.autograd.grad(loss, cell)
        return loss.detach(), gradient

    def _learner(self, cell: Tensor) -> Adapted:
        """Return `net` with the vector `cell` (P) as its parameters."""
        return Adapted(self.net, unflattened(cell, self.net))
