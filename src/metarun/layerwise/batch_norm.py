"""The passes of batch normalisation by the statistics of the batch of each task."""

from __future__ import annotations

import torch
from torch import Tensor

from metarun.backbones.norm import refuse_single
from metarun.layerwise.layers import Gradients, Layer, channels_last

PIECE = 1 << 17  # values that are computed at once, which stay in the cache of a core


class BatchNorm(Layer):
    """Normalise (T, B, C) or (T, B, C, H, W) by mean and variance over all dimensions but T and C.

    With n values a channel, c = x − mean, s = 1/√(var + ε) and x̂ = s·c, the output is w·x̂ + b. The
    gradients are w·s·(g − Σg/n − x̂·Σ(g·x̂)/n) for x, Σ(g·x̂) for w and Σg for b. The tangents of x̂
    and s are dx̂ = s·(dx − Σdx/n) − r·c and ds = −r, with r = s³·Σ(dx·c)/n. So all passes consist
    of sums, and of linear combinations whose coefficients, `on_…`, are (T, 1, C).
    """

    def forward(self, x: Tensor) -> Tensor:
        self.x = self._rows(x)
        self.like, self.n = x, self.x.shape[1]
        refuse_single(self.n)
        self.mean = self.x.mean(1, keepdim=True)
        var = self._sum(self.x, self.x, centre_both=True) / self.n
        self.s = (var + self.module.eps).rsqrt_()
        w, b = self._columns(self.weights)
        on_x = w * self.s
        return self._combined(b - on_x * self.mean, (self.x, on_x))

    def backward(self, g: Tensor, needs_x: bool) -> Gradients:
        self.g = g = self._rows(g)
        w, s = self._columns(self.weights)[0], self.s
        self.sum_g, self.sum_gx = g.sum(1, keepdim=True), s * self._sum(self.x, g)
        on_g = w * s
        on_c = -on_g * s * self.sum_gx / self.n
        constant = -on_g * self.sum_g / self.n - on_c * self.mean
        gx = self._combined(constant, (g, on_g), (self.x, on_c))
        return gx, [self.sum_gx[:, 0], self.sum_g[:, 0]]

    def tangent(self, dx: Tensor | None, dweights: list[Tensor]) -> Tensor:
        (w, _), (self.dw, db), s = self._columns(self.weights), self._columns(dweights), self.s
        self.dx = self._rows(torch.zeros_like(self.like) if dx is None else dx)
        self.dmean = self.dx.mean(1, keepdim=True)
        self.r = s**3 * self._sum(self.x, self.dx) / self.n
        on_dx, on_c = w * s, self.dw * s - w * self.r
        constant = db - on_dx * self.dmean - on_c * self.mean
        return self._combined(constant, (self.dx, on_dx), (self.x, on_c))

    def tangent_backward(self, dg: Tensor, needs_x: bool) -> Gradients:
        dg, w, n = self._rows(dg), self._columns(self.weights)[0], self.n
        s, r, sum_g, sum_gx = self.s, self.r, self.sum_g, self.sum_gx
        sum_dg = dg.sum(1, keepdim=True)
        centred = self._sum(self.dx, self.g, centre=False) - self.dmean * sum_g
        sum_dgx = s * (self._sum(self.x, dg) + centred) - r / s * sum_gx  # the tangent of Σ(g·x̂)
        on_g, on_dg, on_dx = self.dw * s - w * r, w * s, -w * s * s * sum_gx / n
        on_c = -(on_g * s * sum_gx + w * s * (s * sum_dgx - r * sum_gx)) / n
        constant = -(on_g * sum_g + on_dg * sum_dg) / n - on_dx * self.dmean - on_c * self.mean
        dgx = self._combined(
            constant, (self.g, on_g), (dg, on_dg), (self.dx, on_dx), (self.x, on_c)
        )
        of_weights = [sum_dgx[:, 0], sum_dg[:, 0]]
        return dgx, [v.sum(0, keepdim=True) for v in of_weights] if self.shared else of_weights

    def _sum(self, a: Tensor, b: Tensor, centre: bool = True, centre_both: bool = False) -> Tensor:
        """Σ(a − mean)·b, Σa·b or Σ(a − mean)·(b − mean): (T, 1, C)."""
        total = torch.zeros_like(self.mean)
        for tasks, rows in self._pieces():
            part, mean = a[tasks, rows], self.mean[tasks]
            if centre_both:
                products = (part - mean).square_()
            else:
                products = (part - mean).mul_(b[tasks, rows]) if centre else part * b[tasks, rows]
            total[tasks] += products.sum(1, keepdim=True)
        return total

    def _combined(self, constant: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
        """constant + Σ term·coefficient, in the shape of the input."""
        (first, coefficient), *others = terms
        total = torch.empty_like(first)
        constant, coefficient = constant.expand_as(self.mean), coefficient.expand_as(self.mean)
        for tasks, rows in self._pieces():
            part = total[tasks, rows]
            torch.addcmul(constant[tasks], first[tasks, rows], coefficient[tasks], out=part)
            for term, on_term in others:
                part.addcmul_(term[tasks, rows], on_term[tasks])
        shape = self.like.movedim(2, -1).shape
        return total.view(shape).movedim(-1, 2)

    def _pieces(self) -> list[tuple[slice, slice]]:
        """Tasks and rows of consecutive parts of the batch."""
        tasks, rows, channels = self.x.shape
        at_once = max(1, PIECE // channels)
        if rows > at_once:
            parts = [slice(r, r + at_once) for r in range(0, rows, at_once)]
            return [(slice(t, t + 1), part) for t in range(tasks) for part in parts]
        step = at_once // rows
        return [(slice(t, t + step), slice(None)) for t in range(0, tasks, step)]

    @staticmethod
    def _rows(x: Tensor) -> Tensor:
        """(T, n, C)."""
        return channels_last(x).movedim(2, -1).flatten(1, -2)

    @staticmethod
    def _columns(weights: list[Tensor]) -> list[Tensor]:
        return [w[:, None] for w in weights]
