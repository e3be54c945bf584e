"""The learned optimizer of Andrychowicz et al. 2016, trained by gradients."""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms.function_optimizer import FunctionOptimizer, Step
from metarun.algorithms.lstm import lstm_step, preprocess
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.task import Spec


class LearnedOptimizer(FunctionOptimizer):
    """An LSTM that maps the gradient of each coordinate to its step.

    Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent": all
    coordinates share the weights of two LSTM layers and have a state each. Inputs are preprocessed
    by logarithm and sign (appendix A). Training minimises the mean of the function along the path.
    Its gradient is cut every `unroll` steps, and drops the second derivatives of the function
    (section 2.1). Differences from the paper:

    - An outer step sums the gradients of all parts of the path; the paper takes a step after each.
    - The preprocessing is used for quadratics, too, as for the paper's other functions.

    Args:
        backbone: not used.
        spec: describes the functions.
        hidden: units of an LSTM layer.
        layers: number of LSTM layers.
        scale: factor of the outputs, so that the first steps are small.
        unroll: steps between cuts of the gradient; 0: none.
        second_order: keep the second derivatives of the function.
        p: of `preprocess`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        hidden: PositiveInt = 20,
        layers: PositiveInt = 2,
        scale: PositiveFloat = 0.1,
        unroll: NonNegativeInt = 20,
        second_order: bool = False,
        p: PositiveFloat = 10.0,
    ) -> None:
        super().__init__()
        sizes = [2, *[hidden] * (layers - 1)]
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden) for size in sizes)
        self.output = nn.Linear(hidden, 1)
        self.scale, self.unroll, self.second_order, self.p = scale, unroll, second_order, p
        self.slope = second_order and not unroll

    def begin(self, functions: Optimizee) -> Step:
        coordinates = functions.start.numel()
        zeros = functions.start.new_zeros(self.output.in_features, coordinates)
        state, taken = [(zeros, zeros)] * len(self.cells), 0
        weights = [torch.cat([c.weight_ih, c.weight_hh], 1) for c in self.cells]
        biases = [c.bias_ih + c.bias_hh for c in self.cells]

        def step(value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal state, taken
            if self.unroll and taken % self.unroll == 0:
                state = [(output.detach(), cell.detach()) for output, cell in state]
            taken += 1
            x, new = preprocess(gradient.flatten(), self.p), []
            for weight, bias, before in zip(weights, biases, state, strict=True):
                new.append(lstm_step(weight, bias, x, *before))
                x = new[-1][0]
            state = new
            outputs = torch.addmm(self.output.bias[:, None], self.output.weight, x)
            return self.scale * outputs.view_as(gradient)

        return step
