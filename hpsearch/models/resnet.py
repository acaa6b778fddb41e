"""ResNet-style networks: residual blocks of two convolutions with a skip connection.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016: the basic block,
filters that double and maps that halve from stage to stage, global average pooling; followed by
the head that all families here share.
"""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.models.head import ACTIVATIONS, Head, ImageShape, halved, pool, stem_stride
from hpsearch.study.config import TrialConfig


def _convolution(
    inputs: int, outputs: int, kernel: int, config: TrialConfig, stride: int = 1
) -> nn.Module:
    norm: nn.Module = nn.BatchNorm2d(outputs) if config.batch_norm else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=not config.batch_norm
        ),
        norm,
    )


class BasicBlock(nn.Module):
    """Two convolutions beside a skip connection: `(N, inputs, H, W) -> (N, outputs, H, W)`."""

    def __init__(self, inputs: int, outputs: int, config: TrialConfig) -> None:
        super().__init__()
        kernel = config.kernel_size
        self.first = _convolution(inputs, outputs, kernel, config)
        self.second = _convolution(outputs, outputs, kernel, config)
        self.skip = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, 1, config)
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.second(self.activation(self.first(maps)))
        out: Tensor = self.activation(residual + self.skip(maps))
        return out


class ResNet(nn.Module):
    """A stem, then `layers` stages; each doubles the filters, and pools the map before it.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`. A stage is one basic
    block. Maps shrink by pooling before a stage, not by a stride inside its first block, so that
    `pooling` means the same in every family.
    """

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        stride = stem_stride(shape)
        height, width = -(-shape.height // stride), -(-shape.width // stride)
        self.stem = _convolution(shape.channels, config.filters, config.kernel_size, config, stride)
        self.activation = ACTIVATIONS[config.activation]()
        stages: list[nn.Module] = []
        filters = config.filters
        for _ in range(config.layers):
            stages += [
                pool(config.pooling, height, width),
                BasicBlock(filters, 2 * filters, config),
            ]
            height, width, filters = halved(height), halved(width), 2 * filters
        self.stages = nn.Sequential(*stages)
        self.head = Head(filters, outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.activation(self.stem(images))  # (N, filters, H, W)
        maps = self.stages(maps)  # (N, filters * 2^layers, H / 2^layers, W / 2^layers)
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh ResNet-style network with torch's default initial weights."""
    return ResNet(config, shape, outputs)
