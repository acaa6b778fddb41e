"""What the families share: geometry rules, activations, pooling and the three-layer head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hpsearch.models.randomness import Dropout
from hpsearch.study.config import Activation, Pooling, TrialConfig

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
POOLINGS: dict[Pooling, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
}

LARGEST_MAP = 7


@dataclass(frozen=True)
class ImageShape:
    """The shape of one image: `channels` x `height` x `width`, in pixels.

    A signal (text, a sensor) is an image of height 1.
    """

    channels: int
    height: int
    width: int


Size = tuple[int, int]  # height and width of a map


def stem_stride(shape: ImageShape) -> int:
    """Return the stride of a network's first convolution: 1 below 64 pixels, 2, 4 from 160 on.

    AlexNet strides by 4 at 224 pixels; photos of that size would cost 16 times as much without.
    """
    side = min(shape.height, shape.width)
    return 1 if side < 64 else 2 if side < 160 else 4


def after_stem(shape: ImageShape) -> Size:
    """Return the size of the maps after a network's first convolution."""
    stride = stem_stride(shape)
    return -(-shape.height // stride), -(-shape.width // stride)


def stem(shape: ImageShape, outputs: int, kernel: int, bias: bool) -> nn.Conv2d:
    """Return a network's first convolution; it strides over large images, and skips no pixel."""
    stride = stem_stride(shape)
    kernel = max(kernel, 2 * stride - 1)
    return convolution(shape.channels, outputs, kernel, (shape.height, shape.width), bias, stride)


def convolution(
    inputs: int, outputs: int, kernel: int, size: Size, bias: bool, stride: int = 1
) -> nn.Conv2d:
    """Return a convolution, padded so that its stride alone decides the size of its maps.

    Along an axis of length 1 there is nothing to convolve: the kernel of a signal is `(1, kernel)`.
    """
    window = (kernel if size[0] > 1 else 1, kernel if size[1] > 1 else 1)
    padding = (window[0] // 2, window[1] // 2)
    return nn.Conv2d(inputs, outputs, window, stride=stride, padding=padding, bias=bias)


def normalisation(channels: int, config: TrialConfig) -> nn.Module:
    """Return batch normalisation where a configuration asks for it; its convolutions need no bias.

    Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """
    return nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity()


def pooled(size: Size) -> Size:
    """Return the size of a map after one pooling (see `halved`)."""
    return halved(size[0]), halved(size[1])


def halved(size: int) -> int:
    """Return the length of an axis after one pooling; an axis below 4 pixels is not pooled.

    So no map ever vanishes: further blocks of a deep network keep the 2x2 or 3x3 map they have.
    """
    return size // 2 if size >= 4 else size


def pool(pooling: Pooling, height: int, width: int) -> nn.Module:
    """Return a pooling by 2 along every axis that is long enough (see `halved`)."""
    window = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
    return nn.Identity() if window == (1, 1) else POOLINGS[pooling](window)


def smoothing(pooling: Pooling, size: Size) -> nn.Module:
    """Return a pooling over 3 positions along every axis that keeps a map's size."""
    window = (3 if size[0] > 1 else 1, 3 if size[1] > 1 else 1)
    padding = (window[0] // 2, window[1] // 2)
    if pooling == "average":
        return nn.AvgPool2d(window, stride=1, padding=padding, count_include_pad=False)
    return nn.MaxPool2d(window, stride=1, padding=padding)


def shrunk(size: Size) -> tuple[nn.Module, Size]:
    """Return what averages a map down to what a head may see, and the size it then has.

    At most 7 positions along each axis, as AlexNet's 6 and VGG's 7; the head's first matrix would
    hold nearly all parameters of a network otherwise.
    """
    out = (min(size[0], LARGEST_MAP), min(size[1], LARGEST_MAP))
    return (nn.Identity() if out == size else nn.AdaptiveAvgPool2d(out)), out


class Head(nn.Module):
    """features -> units1 -> units2 -> outputs, the three-layer head of AlexNet.

    Takes `(N, features)`, returns logits `(N, outputs)`.
    """

    def __init__(self, features: int, outputs: int, config: TrialConfig) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.layers = nn.Sequential(
            nn.Linear(features, config.units1),
            activation(),
            Dropout(config.dropout),
            nn.Linear(config.units1, config.units2),
            activation(),
            Dropout(config.dropout),
            nn.Linear(config.units2, outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)
        return logits
