"""Networks that torchvision has trained on ImageNet, with a head of ours in place of theirs.

The body is torchvision's own, unchanged up to the features that its head sees; the head is the one
that all families share. Yosinski et al., "How transferable are features in deep neural networks?",
NeurIPS 2014. What does not learn (`unfreeze`) keeps its batch-normalisation statistics too.

**Colours and normalisation.** Batches come normalised with the statistics of our training data; a
body of 1 or 3 channels undoes that and applies ImageNet's, so that a photo gives the features that
it gives in torchvision, whatever else is in the data. A grey image is shown to all three colours.
With any other number of channels there are no ImageNet statistics to apply: the first convolution
sees our normalised channels through the mean of its three colours' weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hpsearch.errors import WeightsError
from hpsearch.models.layers import Head, ImageShape
from hpsearch.models.randomness import take_over_draws
from hpsearch.models.weights import read_weights, statistics
from hpsearch.study.config import Backbone, TrialConfig

COLOURS = 3
GREY_LEVELS = 255.0
SMALLEST_STD = 1e-3  # as batches are normalised

# The last stage of each body: the modules that work on its smallest maps.
LAST_STAGE: dict[Backbone, tuple[str, ...]] = {
    "resnet18": ("layer4",),
    "resnet34": ("layer4",),
    "resnet50": ("layer4",),
    "resnet101": ("layer4",),
    "resnext50_32x4d": ("layer4",),
    "wide_resnet50_2": ("layer4",),
    "mobilenet_v3_large": tuple(f"features.{i}" for i in range(13, 17)),
    "efficientnet_b0": tuple(f"features.{i}" for i in range(6, 9)),
    "convnext_tiny": ("features.6", "features.7", "classifier.0"),
}


class PretrainedNet(nn.Module):
    """A body of torchvision's, then the head; see `load` for the body's weights.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    scale: Tensor  # (3, 1, 1)
    shift: Tensor  # (3, 1, 1)

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        # Late, for it takes a second, which workers of other families do not have to wait.
        from torchvision.models import get_model

        self.body: nn.Module = get_model(config.backbone, weights=None)
        features = _behead(self.body)
        take_over_draws(self.body)
        self.in_colour = shape.channels in (1, COLOURS)
        if not self.in_colour:
            _resize_stem(self.body, shape.channels)
        self.head = Head(features, outputs, config)
        self.register_buffer("scale", torch.ones(COLOURS, 1, 1))
        self.register_buffer("shift", torch.zeros(COLOURS, 1, 1))
        self._frozen = [
            module for name, module in self.body.named_modules() if not _learns(name, config)
        ]
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(_learns(name, config))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what torchvision's own head would see: `(N, features)`."""
        if self.in_colour:
            images = torch.addcmul(self.shift, images, self.scale)  # (N, 3, H, W)
        features: Tensor = self.body(images)
        return features.flatten(1)

    def train(self, mode: bool = True) -> PretrainedNet:
        """As any module's, but what is frozen stays in evaluation: its statistics do not move."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def load(self, config: TrialConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Take torchvision's weights into the body, for batches normalised with these statistics.

        `mean` and `std` are in grey levels, one per channel. Raises WeightsError where the weights
        are not there, or are not those of this body.
        """
        file, stored = read_weights(config.backbone, config.pretrained)
        if not self.in_colour:
            name = f"{_stem_name(self.body)}.weight"
            if name in stored:
                stored[name] = _of_channels(stored[name], len(mean))
        _take(self.body, stored, f"{file}: these are not the weights of {config.backbone}")
        if self.in_colour:
            imagenet_mean, imagenet_std = statistics(config.backbone)
            levels = torch.tensor(std).clamp_min(SMALLEST_STD)
            scale = levels / (GREY_LEVELS * imagenet_std)  # (3,)
            shift = (torch.tensor(mean) / GREY_LEVELS - imagenet_mean) / imagenet_std
            self.scale.copy_(scale[:, None, None])
            self.shift.copy_(shift[:, None, None])


def _learns(name: str, config: TrialConfig) -> bool:
    """Whether a module or a parameter of the body learns under a configuration."""
    if config.unfreeze == "last":
        return f"{name}.".startswith(tuple(f"{part}." for part in LAST_STAGE[config.backbone]))
    return config.unfreeze == "all"


def _behead(body: nn.Module) -> int:
    """Remove torchvision's head from a body; return how many features that head saw.

    The head begins at its first linear layer; what stands before that belongs to the features.
    """
    name = "fc" if hasattr(body, "fc") else "classifier"
    head = getattr(body, name)
    parts = list(head) if isinstance(head, nn.Sequential) else [head]
    first = next(part for part in parts if isinstance(part, nn.Linear))
    before = parts[: parts.index(first)]
    setattr(body, name, nn.Sequential(*(p for p in before if not isinstance(p, nn.Dropout))))
    return first.in_features


def _stem_name(body: nn.Module) -> str:
    named: Iterator[tuple[str, nn.Module]] = body.named_modules()
    return next(name for name, module in named if isinstance(module, nn.Conv2d))


def _resize_stem(body: nn.Module, channels: int) -> None:
    """Put a first convolution for so many channels in the place of the one for three colours."""
    name = _stem_name(body)
    old = body.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    body.set_submodule(name, new)


def _of_channels(weights: Tensor, channels: int) -> Tensor:
    """Return weights `(outputs, 3, k, k)` for other channels, each as strong as a colour's mean."""
    mean = weights.mean(dim=1, keepdim=True) * (COLOURS / channels)
    return mean.repeat(1, channels, 1, 1)


def _take(body: nn.Module, stored: dict[str, Tensor], otherwise: str) -> None:
    """Load what a body needs of stored weights; WeightsError begins with `otherwise`."""
    wanted = body.state_dict()
    # Files of before torch 0.4.1 do not count batches, and nothing here uses the count.
    missing = [n for n in wanted if n not in stored and not n.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"{otherwise}: {missing[0]} is missing; name another file")
    for name in wanted.keys() & stored.keys():
        here, there = tuple(wanted[name].shape), tuple(stored[name].shape)
        if here != there:
            raise WeightsError(f"{otherwise}: {name} is {there}, not {here}; name another file")
    body.load_state_dict({n: stored[n] for n in wanted if n in stored}, strict=False)


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a network whose body has random weights; `PretrainedNet.load` brings the right ones.

    So that what is only measured, or gets weights of its own, needs no file of torchvision's.
    """
    return PretrainedNet(config, shape, outputs)
