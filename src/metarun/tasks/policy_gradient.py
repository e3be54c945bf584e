"""Policy gradients: returns, a linear baseline, advantages and the surrogate loss.

Arrays of rollouts have the shape (…, T, B): T time steps of B rollouts, all of one task; leading
dimensions are tasks. A mask is 1 in the steps that were taken and 0 after the end of a rollout.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

RIDGE = 1e-5  # penalty of the baseline's weights (Duan et al. 2016)


def gaussian(outputs: Tensor) -> Distribution:
    """Return the diagonal Gaussian over actions (…, A) of outputs (…, 2·A).

    The first half of the outputs are the means, the second half the logarithms of the standard
    deviations.
    """
    mean, log_std = outputs.chunk(2, -1)
    return Independent(Normal(mean, log_std.exp(), validate_args=False), 1, validate_args=False)


def categorical(outputs: Tensor) -> Distribution:
    """Return the distribution over actions 0 … A − 1 of logits (…, A)."""
    return Categorical(logits=outputs, validate_args=False)


def returns_to_go(rewards: Tensor, discount: float) -> Tensor:
    """Return Σ_{k ≥ t} discount^(k−t) · rewards[k] for each step t, (…, T, B).

    Args:
        rewards: (…, T, B); 0 after the end of a rollout.
    """
    to_go = torch.empty_like(rewards)
    total = torch.zeros_like(rewards[..., 0, :])
    for t in reversed(range(rewards.shape[-2])):
        total = rewards[..., t, :] + discount * total
        to_go[..., t, :] = total
    return to_go


def linear_baseline(observations: Tensor, returns: Tensor, mask: Tensor | None = None) -> Tensor:
    """Fit returns by ridge regression on features of the observations, and predict them.

    The features of an observation o in step t, counted from 0, are o, o², t/100, (t/100)²,
    (t/100)³ and 1, with o limited to ±10 (Duan et al. 2016, "Benchmarking Deep Reinforcement
    Learning for Continuous Control"). Each task is fitted on its own.

    Args:
        observations: (…, T, B, O).
        returns: (…, T, B) returns-to-go.
        mask: (…, T, B); steps with mask 0 are not fitted. Default: all are.

    Returns:
        The predictions, (…, T, B), without a graph.
    """
    o = observations.detach().double().clamp(-10, 10)
    t = torch.arange(o.shape[-3], dtype=o.dtype, device=o.device)[:, None, None] / 100
    t = t.expand(*o.shape[:-1], 1)
    features = torch.cat([o, o**2, t, t**2, t**3, torch.ones_like(t)], -1).flatten(-3, -2)
    y = returns.detach().double().flatten(-2).unsqueeze(-1)  # (…, T·B, 1)
    weighted = features if mask is None else features * mask.flatten(-2).unsqueeze(-1)
    gram = weighted.mT @ features
    gram = gram + RIDGE * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram, weighted.mT @ y)
    return (features @ weights).view_as(returns).to(returns.dtype)


def advantages(
    rewards: Tensor,
    values: Tensor,
    discount: float,
    *,
    trace: float = 1.0,
    mask: Tensor | None = None,
    normalise: bool = True,
) -> Tensor:
    """Return generalized advantage estimates (Schulman et al. 2016, equation 16), (…, T, B).

    With `trace=1`, these are returns-to-go minus values. A rollout ends after its last step: the
    value of what follows is 0.

    Args:
        rewards: (…, T, B); 0 after the end of a rollout.
        values: (…, T, B) predicted returns-to-go, for example of `linear_baseline`.
        trace: the parameter λ.
        mask: (…, T, B); the result is 0 where it is 0. Default: all steps were taken.
        normalise: scale the advantages of each task to mean 0 and standard deviation 1.
    """
    mask = torch.ones_like(rewards) if mask is None else mask.to(rewards.dtype)
    values = values * mask
    following = torch.cat([values[..., 1:, :], torch.zeros_like(values[..., :1, :])], -2)
    result = returns_to_go(rewards + discount * following - values, discount * trace) * mask
    if not normalise:
        return result
    count = mask.sum((-2, -1), keepdim=True)
    centred = (result - result.sum((-2, -1), keepdim=True) / count) * mask
    deviation = (centred.square().sum((-2, -1), keepdim=True) / count).sqrt()
    return centred / (deviation + 1e-8)


def surrogate(
    log_p: Tensor, old_log_p: Tensor, advantage: Tensor, dim: tuple[int, ...] | None = None
) -> Tensor:
    """Return −mean(exp(log_p − old_log_p) · advantage), a scalar, or a mean over dimensions `dim`.

    Where both policies are equal, its gradient is that of REINFORCE, −mean(∇log p · advantage).
    Unlike with −mean(log p · advantage), its second derivatives contain the dependence of the
    sampling distribution on the weights, so that it can be differentiated through an inner step
    (the estimator LVC; Rothfuss et al. 2019, "ProMP: Proximal Meta-Policy Search", section 5).

    Args:
        log_p: log-probabilities of the actions taken, of any shape, with their graph.
        old_log_p: those under the policy that took them.
        advantage: of the actions; 0 where none was taken.
    """
    return -((log_p - old_log_p.detach()).exp() * advantage).mean(dim)
