"""GoogLeNet-style networks: inception blocks of parallel 1x1, 3x3, 5x5 and pooled branches.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015. Kept: the four branches and their
shares of a block's filters (2 : 4 : 1 : 1, those of the paper's first block), 1 x 1 reductions
before the costly kernels, global average pooling. Changed: one block per stage, filters double
from stage to stage, no auxiliary heads. For speed, two convolutions that read the same maps are
one, normalisation and activation follow once for a whole block, after the pooling that ends a
stage, and the pooled branch is projected first and pooled then: for averages that is the same,
maxima are taken of an eighth of the filters instead of all inputs.
"""

from __future__ import annotations

import torch
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
    smoothing,
    stem,
)
from hpsearch.study.config import TrialConfig

FEWER_FOR_5X5 = 4  # a 5 x 5 kernel costs three times a 3 x 3 one: 16 and 96 filters in the paper


class Inception(nn.Module):
    """Four branches side by side: `(N, inputs, H, W) -> (N, self.outputs, H, W)`.

    The 3 x 3 branch sees `inputs / reduction` filters, the 5 x 5 branch a quarter of those.
    """

    def __init__(
        self, inputs: int, outputs: int, size: Size, config: TrialConfig, pooling: nn.Module
    ) -> None:
        super().__init__()
        bias = not config.batch_norm
        self.one, self.five = max(1, outputs // 4), max(1, outputs // 8)
        self.three = max(1, outputs - self.one - 2 * self.five)
        self.to_three = max(1, inputs // config.reduction)
        self.to_five = max(1, inputs // (FEWER_FOR_5X5 * config.reduction))
        self.outputs = self.one + self.three + 2 * self.five
        self.direct = convolution(inputs, self.one + self.five, 1, size, bias)
        reduced = self.to_three + self.to_five
        self.reduced = nn.Sequential(
            convolution(inputs, reduced, 1, size, bias),
            normalisation(reduced, config),
            ACTIVATIONS[config.activation](),
        )
        self.conv3 = convolution(self.to_three, self.three, 3, size, bias)
        self.conv5 = convolution(self.to_five, self.five, 5, size, bias)
        self.pool = smoothing(config.pooling, size)
        self.out = nn.Sequential(
            pooling, normalisation(self.outputs, config), ACTIVATIONS[config.activation]()
        )

    def forward(self, maps: Tensor) -> Tensor:
        one, projected = self.direct(maps).split((self.one, self.five), dim=1)
        three, five = self.reduced(maps).split((self.to_three, self.to_five), dim=1)
        branches = (one, self.conv3(three), self.conv5(five), self.pool(projected))
        out: Tensor = self.out(torch.cat(branches, dim=1))
        return out


class GoogLeNet(nn.Module):
    """A stem, then `layers` inception blocks; each doubles the filters, and pools the map before.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        size, filters = after_stem(shape), config.filters
        self.stem = nn.Sequential(
            stem(shape, filters, 3, not config.batch_norm),
            pool(config.pooling, *size),
            normalisation(filters, config),
            ACTIVATIONS[config.activation](),
        )
        blocks: list[nn.Module] = []
        for i in range(config.layers):
            size = pooled(size)
            pooling = pool(config.pooling, *size) if i < config.layers - 1 else nn.Identity()
            block = Inception(filters, 2 * filters, size, config, pooling)
            blocks.append(block)
            filters = block.outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = Head(filters, outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.stem(images))  # (N, filters * 2^layers, H / 2^layers, W / 2^layers)
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh GoogLeNet-style network with torch's default initial weights."""
    return GoogLeNet(config, shape, outputs)
