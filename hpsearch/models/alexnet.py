"""AlexNet-style networks: convolution and pooling in turn, a large early kernel, a 3-layer head.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS 2012. Kept: kernels that are larger early, overlapping nothing but the head of
three layers with dropout. Changed: every block has the same number of filters, batch
normalisation can be added, and pooling stands before normalisation and activation, which moves a
quarter of the bytes (max-pooling and ReLU commute).
"""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.models.head import ACTIVATIONS, Head, ImageShape, halved, pool, stem_stride
from hpsearch.study.config import TrialConfig

# The head sees at most this many positions along each axis, as AlexNet's 6 x 6; a larger map is
# averaged down, or its first matrix would hold nearly all parameters of the network.
LARGEST_MAP = 7


class AlexNet(nn.Module):
    """`layers` blocks of convolution, pooling, normalisation, activation; then the head.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        stride = stem_stride(shape)
        height, width = -(-shape.height // stride), -(-shape.width // stride)
        blocks: list[nn.Module] = []
        channels = shape.channels
        for i in range(config.layers):
            kernel = config.kernel_size + (2 if i == 0 else 0)
            blocks += [
                nn.Conv2d(
                    channels,
                    config.filters,
                    kernel,
                    stride=stride if i == 0 else 1,
                    padding=kernel // 2,
                    bias=not config.batch_norm,
                ),
                pool(config.pooling, height, width),
                nn.BatchNorm2d(config.filters) if config.batch_norm else nn.Identity(),
                ACTIVATIONS[config.activation](),
            ]
            height, width, channels = halved(height), halved(width), config.filters
        out = (min(height, LARGEST_MAP), min(width, LARGEST_MAP))
        if out != (height, width):
            blocks.append(nn.AdaptiveAvgPool2d(out))
        self.features = nn.Sequential(*blocks)
        self.head = Head(config.filters * out[0] * out[1], outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)  # (N, filters, height / 2^layers, width / 2^layers)
        logits: Tensor = self.head(maps.flatten(1))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh AlexNet-style network with torch's default initial weights."""
    return AlexNet(config, shape, outputs)
