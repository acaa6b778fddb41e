"""Averaged weights: a second network whose weights are the mean of what the first one's were.

At a constant learning rate the network itself moves about the place that it would come to rest at,
and its mean is near that place at every epoch: its scores are those of a training that has ended.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

# The mean of a step reaches back over a share of all steps before it: 12 % of them (the mean age is
# 1 / (POWER + 2) of the training), so that it is right for a training of any length. Karras et al.,
# "Analyzing and Improving the Training Dynamics of Diffusion Models", 2024, section 3.1.
POWER = 7.0


class Averaged:
    """The running mean of a network's learning weights and of its batch-norm statistics.

    `model` has the mean, and shares what never changes with the network itself.
    """

    def __init__(self, source: nn.Module) -> None:
        self.model = _sharing_what_is_frozen(source)
        pairs = list(_moving(source, self.model))
        self._from = [a for a, _ in pairs if a.is_floating_point()]
        self._to = [b for a, b in pairs if a.is_floating_point()]
        self._counts = [(a, b) for a, b in pairs if not a.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step; steps of a training count from 1."""
        share = 1.0 - (1.0 - 1.0 / step) ** (POWER + 1.0)
        torch._foreach_lerp_(self._to, self._from, share)
        for counted, kept in self._counts:
            kept.copy_(counted)


def _sharing_what_is_frozen(source: nn.Module) -> nn.Module:
    """Return a copy of a network without gradients, with the frozen parameters of the first.

    Its layers that draw share their generator, which cannot be copied, and never draw: it is for
    evaluation alone.
    """
    shared: list[Any] = [p for p in source.parameters() if not p.requires_grad]
    shared += [m.generator for m in source.modules() if getattr(m, "generator", None) is not None]
    return copy.deepcopy(source, memo={id(s): s for s in shared}).requires_grad_(False)


def _moving(source: nn.Module, averaged: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return what changes while a network learns, beside its mean: weights and statistics."""
    learning = [
        (p, mean)
        for p, mean in zip(source.parameters(), averaged.parameters(), strict=True)
        if p is not mean
    ]
    return learning + list(zip(source.buffers(), averaged.buffers(), strict=True))
