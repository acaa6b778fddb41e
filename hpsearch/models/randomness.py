"""Randomness of networks, passed in: initial weights and dropout draw from generators of their own.

Torch draws both from one generator of the whole process. There a thread, a callback or a library
that draws at the wrong moment makes another training of a seed, and a training reseeds what others
draw from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What torch's and torchvision's layers may call for initial values.
DRAW = frozenset(
    {
        "uniform_",
        "normal_",
        "trunc_normal_",
        "kaiming_uniform_",
        "kaiming_normal_",
        "xavier_uniform_",
        "xavier_normal_",
        "orthogonal_",
        "sparse_",
        "bernoulli_",
        "exponential_",
        "random_",
        "rand",
        "randn",
        "randint",
        "randperm",
    }
)


class DrawingFrom(TorchFunctionMode):
    """A context in which whatever initialises layers draws from one generator, in this thread.

    The values are those that the process's generator would give, seeded alike.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAW and kwargs.get("generator") is None:
            kwargs = kwargs | {"generator": self._generator}
        return func(*args, **kwargs)


class Dropout(nn.Dropout):
    """Dropout that draws from `generator`; without one, as torch's own does.

    With generators seeded alike both give the same numbers on a CPU, bit for bit, and as fast.
    Takes and returns a tensor of any shape.
    """

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        kept = 1 - self.p
        return input * torch.empty_like(input).bernoulli_(kept, generator=self.generator).div_(kept)


class StochasticDepth(nn.Module):
    """Leaves out a residual branch of some images at random: `(N, C, H, W) -> (N, C, H, W)`.

    As torchvision's of mode `row`, but from `generator`. Huang et al., "Deep Networks with
    Stochastic Depth", ECCV 2016.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return maps
        kept = 1 - self.p
        branches = maps.new_empty((len(maps), *[1] * (maps.ndim - 1)))
        return maps * branches.bernoulli_(kept, generator=self.generator).div_(kept)


def draw_from(model: nn.Module, generator: torch.Generator) -> None:
    """Let all layers of a network that draw while it learns draw from a generator."""
    for module in model.modules():
        if isinstance(module, Dropout | StochasticDepth):
            module.generator = generator


def take_over_draws(body: nn.Module) -> None:
    """Put layers of ours in the place of those of torchvision's that draw."""
    from torchvision.ops import StochasticDepth as Theirs

    for name, module in list(body.named_modules()):
        if isinstance(module, Theirs):
            assert module.mode == "row"
            body.set_submodule(name, StochasticDepth(module.p))
        elif isinstance(module, nn.Dropout):
            body.set_submodule(name, Dropout(module.p))
