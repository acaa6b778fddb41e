"""SENet-style networks: residual blocks whose filters are weighed by squeeze and excitation.

Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018: a block's maps are averaged over all
positions (squeeze), two small layers make a weight of 0 to 1 for each filter (excitation), and the
maps are multiplied by it before the skip connection is added. In all blocks, or in those of the
last stage, where the paper finds it to cost the most parameters for the least gain.
"""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.models.layers import ACTIVATIONS, ImageShape
from hpsearch.models.resnet import ResNet
from hpsearch.study.config import TrialConfig


class SqueezeExcitation(nn.Module):
    """Weighs each filter by what all filters show: `(N, C, H, W) -> (N, C, H, W)`.

    The same as torchvision's `ops.SqueezeExcitation`, whose import costs a worker a second. The
    paper's ReLU is the network's own activation here: of few squeezed numbers all may be dead.
    """

    def __init__(self, channels: int, squeezed: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, squeezed),
            activation(),
            nn.Linear(squeezed, channels),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        weights: Tensor = self.weigh(maps.mean(dim=(2, 3)))  # (N, C)
        return maps * weights[:, :, None, None]


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh SENet-style network with torch's default initial weights."""

    def ending(stage: int, filters: int) -> list[nn.Module]:
        if config.squeeze_where == "last" and stage < config.layers - 1:
            return []
        squeezed = max(1, filters // config.squeeze)
        return [SqueezeExcitation(filters, squeezed, ACTIVATIONS[config.activation])]

    return ResNet(config, shape, outputs, ending)
