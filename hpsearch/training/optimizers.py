"""Optimizers over torch's fused kernels, with little else around them.

`torch.optim` imports torch's compiler at the first step, only to keep itself out of it: a second
at the start of every worker; and its Python is 2 to 3 % of a step of a network with 16 filters.
The numbers are the same bit for bit, and so are the state dicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def _keep_compiler_out() -> None:
    """Mark the methods of `Optimizer` as torch's compiler would mark them at their first call."""
    for method in vars(Optimizer).values():
        inner = getattr(method, "__wrapped__", None)
        if inner is not None:
            setattr(inner, "__dynamo_disable", inner)


_keep_compiler_out()


class _Fused(Optimizer):
    """One kernel for each group of parameters; all of them on one device, gradients dense."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._move(group, moved, [p.grad for p in moved])

    def _move(self, group: dict[str, Any], moved: list[Tensor], gradients: list[Tensor]) -> None:
        raise NotImplementedError


class Adam(_Fused):
    """Adam (Kingma and Ba, 2015); AdamW where `decoupled` (Loshchilov and Hutter, 2019)."""

    def __init__(self, groups: Iterable[dict[str, Any]], rate: float, decoupled: bool) -> None:
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        super().__init__(groups, {"lr": rate, "weight_decay": 0.0})

    def _move(self, group: dict[str, Any], moved: list[Tensor], gradients: list[Tensor]) -> None:
        states = [self.state[p] or self._begin(p) for p in moved]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        self._kernel(
            moved,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _begin(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state


class Sgd(_Fused):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al., 2013)."""

    def __init__(self, groups: Iterable[dict[str, Any]], rate: float, momentum: float) -> None:
        self._momentum = momentum
        super().__init__(groups, {"lr": rate, "weight_decay": 0.0})

    def _move(self, group: dict[str, Any], moved: list[Tensor], gradients: list[Tensor]) -> None:
        states = [self.state[p] for p in moved]
        first = not states[0]
        for state, gradient in zip(states, gradients, strict=True):
            if first:
                state["momentum_buffer"] = torch.empty_like(gradient)
        torch._fused_sgd_(
            moved,
            gradients,
            [state["momentum_buffer"] for state in states],
            weight_decay=group["weight_decay"],
            momentum=self._momentum,
            lr=group["lr"],
            dampening=0.0,
            nesterov=True,
            maximize=False,
            is_first_step=first,
        )
