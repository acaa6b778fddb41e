"""What a network costs, known before it is trained.

Nothing is computed for it: the network is built without its weights, and every layer replaced by
one that only knows the shape of what it would return. So it takes milliseconds, for a network
larger than any memory too. (torch's own counter imports torch's compiler, and so does a forward
pass on `meta`; every worker would wait a second for that.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.config import TrialConfig

OPTIMIZER_STATES = {"adam": 2, "adamw": 2, "sgd": 1}  # numbers kept for each that learns
FP32_BYTES, BF16_BYTES, INDEX_BYTES = 4, 2, 8
IN_FLIGHT = 2  # of the largest map: a gradient comes in, another goes out


@dataclass(frozen=True)
class Cost:
    """What a network costs to hold and to train.

    `parameters`: numbers in it, frozen ones too. `forward_flops`: of one image, a multiply-add
    counts 2. `memory_bytes`: an estimate of what training takes at its peak. `impossible` says why
    it cannot be trained at all, if so; the rest may then count a part of it alone. `moved`: numbers
    of maps that its layers read and write for one image, forward. `backward_flops`: of the pass
    back through what learns; `layers`: how many layers there are.
    """

    parameters: int
    forward_flops: int
    memory_bytes: int
    impossible: str | None = None
    backward_flops: int = 0
    moved: int = 0
    layers: int = 0


def cost(config: TrialConfig, shape: ImageShape, outputs: int) -> Cost:
    """Return the cost of a configuration's network, trained in batches as the configuration says.

    The memory is that of weights, gradients, the optimizer's numbers, and of all maps that a
    backward pass needs.
    """
    with torch.device("meta"):
        model = build_model(config, shape, outputs).eval()
    walk = _Walk()
    walk.through(model, shape)
    parameters = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    bf16 = config.precision == "bf16"
    number_bytes = BF16_BYTES if bf16 else FP32_BYTES
    images = -(-config.batch_size // config.micro_batches)
    means = learning if config.averaging == "ema" else 0
    memory_bytes = (
        (parameters + means) * FP32_BYTES
        + (parameters * BF16_BYTES if bf16 else 0)
        + learning * FP32_BYTES * (1 + OPTIMIZER_STATES[config.optimizer])
        + images * (walk.kept + IN_FLIGHT * walk.largest) * number_bytes
        + images * walk.indices * INDEX_BYTES
    )
    impossible = walk.vanishes
    if walk.single_pixels and (config.batch_size - 1) % images == 0:  # a part of one image
        impossible = "batch normalisation of maps of one pixel needs more than one image at a time"
    return Cost(
        parameters, walk.flops, memory_bytes, impossible, walk.backward, walk.moved, walk.layers
    )


class _Vanished(Exception):
    """A layer would return a map without a pixel."""


Shape = tuple[int, ...]


def _windowed(module: Any, given: Shape) -> list[int]:
    """Return height and width of the maps that a convolution or a pooling returns."""
    sizes = []
    for axis in (0, 1):
        window, stride, padding, dilation = (
            value if isinstance(value, int) else value[axis]
            for value in (
                module.kernel_size,
                module.stride,
                module.padding,
                getattr(module, "dilation", 1),
            )
        )
        length = given[2 + axis]
        left = (length + 2 * padding - dilation * (window - 1) - 1) // stride + 1
        if left < 1:
            name = type(module).__name__
            raise _Vanished(f"no pixel would be left of a map of {given[2]} x {given[3]} in {name}")
        sizes.append(left)
    return sizes


def _convolved(module: nn.Conv2d, given: Shape) -> Shape:
    return (given[0], module.out_channels, *_windowed(module, given))


def _pooled(module: nn.Module, given: Shape) -> Shape:
    return (*given[:2], *_windowed(module, given))


def _averaged(module: Any, given: Shape) -> Shape:
    size = module.output_size
    return (*given[:2], *((size, size) if isinstance(size, int) else size))


def _linear(module: nn.Linear, given: Shape) -> Shape:
    return (*given[:-1], module.out_features)


def _unchanged(module: Any, given: Shape) -> Shape:
    return given


RETURNS: dict[type[nn.Module], Callable[[Any, Shape], Shape]] = {
    nn.Conv2d: _convolved,
    nn.Linear: _linear,
    nn.MaxPool2d: _pooled,
    nn.AvgPool2d: _pooled,
    nn.AdaptiveAvgPool2d: _averaged,
}
# All other layers return maps of the shape they are given, but for those that only rearrange them.
REARRANGES = ("Flatten", "Permute")


@dataclass
class _Walk:
    """A forward pass of one image that only adds up. Sizes are numbers per image."""

    flops: int = 0
    backward: int = 0  # FLOPs of the backward pass
    moved: int = 0  # in and out of layers
    layers: int = 0
    kept: int = 0  # for the backward pass
    indices: int = 0  # of maxima, for the backward pass
    largest: int = 0  # map
    vanishes: str | None = None  # where a map does
    single_pixels: bool = False  # are normalised over a batch
    _learning: bool = False  # has begun; no gradient goes further back
    _maps: dict[int, Tensor] = field(default_factory=dict)  # those counted

    def through(self, model: nn.Module, shape: ImageShape) -> None:
        """Go through a network; it is of no use afterwards."""
        module: Any
        for module in model.modules():
            if any(True for _ in module.children()):
                nn.Module.to_empty(module, device="cpu", recurse=False)  # beside its layers
            elif type(module).__name__ not in REARRANGES:
                module.forward = partial(self._layer, module)
        try:
            with torch.no_grad():
                model(torch.empty(1, shape.channels, shape.height, shape.width))
        except _Vanished as error:
            self.vanishes = str(error)

    def _layer(self, module: nn.Module, given: Tensor) -> Tensor:
        shape = RETURNS.get(type(module), _unchanged)(module, given.shape)
        same = isinstance(module, nn.Identity) or getattr(module, "inplace", False)
        returned = given if same else given.new_empty(shape)
        self.largest = max(self.largest, returned.numel())
        if not isinstance(module, nn.Identity):
            self.moved += given.numel() + returned.numel()
            self.layers += 1
        learns = any(p.requires_grad for p in module.parameters())
        if isinstance(module, nn.Conv2d | nn.Linear):
            flops = 2 * returned.numel() * module.weight[0].numel()
            self.flops += flops
            # As many for its own weights, and for the maps it was given where they are to learn.
            self.backward += flops * (int(learns) + int(self._learning))
        if isinstance(module, nn.BatchNorm2d) and learns:
            self.single_pixels |= given.shape[2:].numel() == 1
        self._learning |= learns
        if self._learning and not isinstance(module, nn.Dropout):  # that keeps a mask
            self._keep(returned if isinstance(module, nn.ReLU) else given)
            if isinstance(module, nn.MaxPool2d):
                self.indices += returned.numel()
        return returned

    def _keep(self, maps: Tensor) -> None:
        if id(maps) not in self._maps:
            self._maps[id(maps)] = maps
            self.kept += maps.numel()
