"""ResNet-style networks: residual blocks with a skip connection.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016: the basic block
(two convolutions) and the bottleneck (1 x 1, 3 x 3, 1 x 1, with a quarter of the filters inside),
filters that double and maps that halve from stage to stage, global average pooling; followed by
the head that all families here share. Changed: maps shrink by pooling before a stage, not by a
stride inside its first block, so that `pooling` means the same in every family; and it stands
before the activation that ends a stage, which then has a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hpsearch.models.layers import (
    ACTIVATIONS,
    Head,
    ImageShape,
    Size,
    after_stem,
    convolution,
    normalisation,
    pool,
    pooled,
    stem,
)
from hpsearch.study.config import TrialConfig

NARROWER = 4  # inside of a bottleneck

# What stands at the end of a residual branch, by number of the stage and filters of the block.
Ending = Callable[[int, int], list[nn.Module]]


def nothing(stage: int, filters: int) -> list[nn.Module]:
    """Return what ends a residual branch of a plain ResNet."""
    return []


class Block(nn.Module):
    """A residual branch beside a skip connection: `(N, inputs, H, W) -> (N, outputs, H, W)`.

    What `ending` names stands at the end of the branch; `pooling` shrinks what the block returns.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Size,
        config: TrialConfig,
        ending: list[nn.Module],
        pooling: nn.Module,
    ) -> None:
        super().__init__()
        kernel, inner = config.kernel_size, max(1, outputs // NARROWER)
        widths, kernels = [inputs, outputs, outputs], [kernel, kernel]
        if config.block == "bottleneck":
            widths, kernels = [inputs, inner, inner, outputs], [1, kernel, 1]
        layers: list[nn.Module] = []
        for i, window in enumerate(kernels):
            layers += [
                convolution(widths[i], widths[i + 1], window, size, not config.batch_norm),
                normalisation(widths[i + 1], config),
                ACTIVATIONS[config.activation](),
            ]
        self.residual = nn.Sequential(*layers[:-1], *ending)
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(
                convolution(inputs, outputs, 1, size, not config.batch_norm),
                normalisation(outputs, config),
            )
        self.out = nn.Sequential(pooling, ACTIVATIONS[config.activation]())

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.out(self.residual(maps) + self.skip(maps))
        return out


class ResNet(nn.Module):
    """A stem, then `layers` stages of `blocks` blocks; each stage doubles the filters.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    def __init__(
        self, config: TrialConfig, shape: ImageShape, outputs: int, ending: Ending = nothing
    ) -> None:
        super().__init__()
        size, filters = after_stem(shape), config.filters
        self.stem = nn.Sequential(
            stem(shape, filters, config.kernel_size, not config.batch_norm),
            pool(config.pooling, *size),
            normalisation(filters, config),
            ACTIVATIONS[config.activation](),
        )
        blocks: list[nn.Module] = []
        for stage in range(config.layers):
            size, inputs, filters = pooled(size), filters, 2 * filters
            for i in range(config.blocks):
                ends = i == config.blocks - 1 and stage < config.layers - 1
                blocks.append(
                    Block(
                        filters if i else inputs,
                        filters,
                        size,
                        config,
                        ending(stage, filters),
                        pool(config.pooling, *size) if ends else nn.Identity(),
                    )
                )
        self.blocks = nn.Sequential(*blocks)
        self.head = Head(filters, outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.stem(images))  # (N, filters * 2^layers, H / 2^layers, W / 2^layers)
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh ResNet-style network with torch's default initial weights."""
    return ResNet(config, shape, outputs)
