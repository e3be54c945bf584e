"""The meta-learner LSTM."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.func import functional_call

from metarun.algorithms import BatchNormKind, Learner
from metarun.algorithms.inner_loop import Normalised
from metarun.backbones.norm import normalised_by
from metarun.tasks.task import Evidence, Inputs, Model, Spec


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Size and sign of each number on a scale that a network can read, (…) → (…, 2).

    (log|x| / p, sign x) where |x| ≥ e⁻ᵖ, else (−1, eᵖ·x) (Ravi & Larochelle 2017, section 3.2,
    after Andrychowicz et al. 2016, appendix A).
    """
    least = math.exp(-p)
    size = x.abs()
    large = size >= least
    logs = torch.where(large, size.clamp_min(least).log() / p, -1.0)
    return torch.stack([logs, torch.where(large, x.sign(), x / least)], -1)


class State(NamedTuple):
    """What the meta-learner carries from update to update, for each of P coordinates.

    Attributes:
        cell: (P) cell state c, the parameters θ of the learner.
        forget, input: (P) gates before their sigmoid.
        first: output and cell of the first layer, each (P, hidden).
    """

    cell: Tensor
    forget: Tensor
    input: Tensor
    first: tuple[Tensor, Tensor]


class MetaLSTM(nn.Module):
    """One update of all coordinates, by weights that they share and states of their own.

    The first layer is an ordinary LSTM that reads the preprocessed gradient and loss; its output
    stands for [∇, L] in the gates of the second (Ravi & Larochelle 2017, section 3.1):

        i = σ(W_I · [first, θ, i'] + b_I)
        f = σ(W_F · [first, θ, f'] + b_F)
        c = f ⊙ c' + i ⊙ (−∇)                          (equation 2)

    As in the known re-runs, i' and f' are the gates before their sigmoid, 0 at first; W are drawn
    from ±0.01, b_F from 4…6 and b_I from −5…−4, so that learning begins near gradient descent with
    a small rate (section 3.3, initialization).
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.LSTMCell(4, hidden)
        self.forget, self.input = nn.Linear(hidden + 2, 1), nn.Linear(hidden + 2, 1)
        for gate, low, high in ((self.forget, 4.0, 6.0), (self.input, -5.0, -4.0)):
            nn.init.uniform_(gate.weight, -0.01, 0.01)
            nn.init.uniform_(gate.bias, low, high)

    def start(self, cell: Tensor) -> State:
        """The state before the first update, with the learner's initial parameters (P)."""
        zero = torch.zeros_like(cell)
        rest = cell.new_zeros(len(cell), self.first.hidden_size)
        return State(cell, zero, zero, (rest, rest))

    def forward(self, loss: Tensor, gradient: Tensor, state: State) -> State:
        """The state after one update.

        Args:
            loss: the learner's loss at `state.cell`, a scalar.
            gradient: (P) its gradient.
        """
        told = torch.cat([preprocess(gradient), preprocess(loss).expand(len(gradient), 2)], -1)
        first = self.first(told, state.first)

        def gate(layer: nn.Linear, before: Tensor) -> Tensor:
            return layer(torch.cat([first[0], torch.stack([state.cell, before], -1)], -1))[:, 0]

        forget, input = gate(self.forget, state.forget), gate(self.input, state.input)
        cell = forget.sigmoid() * state.cell - input.sigmoid() * gradient
        return State(cell, forget, input, first)


class LSTM(Learner):
    """An LSTM learns to be the optimizer of another network, and where that network starts.

    Ravi & Larochelle 2017, "Optimization as a Model for Few-Shot Learning", algorithm 1: the cell
    state is the parameter vector of the learner, its initial value c₀ is learned (here these are
    the parameters of `net`), and each update reads the loss and gradient of the support. Losses
    and gradients that the LSTM reads are constants in the meta-gradient ("gradient independence",
    section 3.3), so there are no second derivatives. What differs from the paper:

    - Each update sees the whole support, not a mini-batch of it, so that the order of the support
      does not matter; at 5 ways and up to 5 shots the re-runs' batch of 25 is the same.
    - No running averages: the paper collects them anew in each episode, so that nothing leaks from
      one to the next; here each batch is normalised as `batch_norm` says.

    Memory and time grow with P·hidden·inner_steps for P learner parameters: keep the learner small.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: its outputs are those of the learner's linear head.
        inner_steps: updates of the learner, in training and evaluation.
        hidden: units of the first layer for each coordinate.
        batch_norm: how queries are normalised, in training and evaluation. `transductive`: by the
            statistics of the task's query batch; `inductive`: by those of the support under the
            adapted weights (MetaBN, Bronskill et al. 2020). The support is normalised by itself.
    """

    per_label_head = True
    needs_labels = needs_examples = False
    slope = False  # what the LSTM reads counts as constant: part of the slope is left out

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_steps: PositiveInt = 8,
        hidden: PositiveInt = 20,
        batch_norm: BatchNormKind = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.meta = MetaLSTM(hidden)
        self.inner_steps, self.batch_norm = inner_steps, batch_norm

    def adapt(self, support: Evidence) -> Model:
        state = self.meta.start(torch.cat([p.flatten() for p in self.net.parameters()]))
        for _ in range(self.inner_steps):
            state = self.meta(*self.loss_and_gradient(state.cell, support), state)
        return Normalised(_With(self.net, state.cell), support, self.batch_norm)

    def loss_and_gradient(self, cell: Tensor, support: Evidence) -> tuple[Tensor, Tensor]:
        """The loss of the learner with the parameters `cell`, and its gradient: constants."""
        with torch.enable_grad(), normalised_by(self.net, "batch"):
            cell = cell.detach().requires_grad_()
            loss = support.loss(_With(self.net, cell))
            (gradient,) = torch.autograd.grad(loss, cell)
        return loss.detach(), gradient


class _With(nn.Module):
    """The learner with the parameters (P) that `cell` holds."""

    def __init__(self, net: nn.Module, cell: Tensor) -> None:
        super().__init__()
        self.net = net
        own = dict(net.named_parameters())
        pieces = cell.split([p.numel() for p in own.values()])
        self.values = {k: piece.view_as(own[k]) for k, piece in zip(own, pieces, strict=True)}

    def forward(self, x: Inputs) -> Tensor:
        return functional_call(self.net, self.values, (x,))
