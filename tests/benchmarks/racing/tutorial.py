"""The training of the peers that have none of their own, as torch's tutorials write it.

DataLoader, PIL images, ToTensor and Normalize, fp32, a constant learning rate. The network is
plain: convolution, batch normalisation, ReLU and max-pooling 1 to 4 times, two hidden layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

EPOCHS = 10
MEAN, STD = (0.2860,), (0.3530,)  # of Fashion-MNIST, as tutorials have them
KEPT = "best"  # the folder of the best weights

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}


class Pictures(Dataset[tuple[Tensor, int]]):
    """A split, an image at a time, as torchvision's `FashionMNIST` gives them."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self._images, self._targets = arrays["images"], arrays["targets"].tolist()
        self._pixels = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._pixels(Image.fromarray(self._images[number])), self._targets[number]


def network(config: Mapping[str, Any]) -> nn.Module:
    """Return the network of a configuration, for images `(N, 1, 28, 28)`."""
    filters, kernel = config["filters"], config["kernel_size"]
    blocks: list[nn.Module] = []
    channels, size = 1, 28
    for _ in range(config["layers"]):
        blocks += [
            nn.Conv2d(channels, filters, kernel, padding=kernel // 2),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels, size = filters, size // 2
    return nn.Sequential(
        *blocks,
        nn.Flatten(),
        nn.Linear(filters * size * size, config["units1"]),
        nn.ReLU(),
        nn.Linear(config["units1"], config["units2"]),
        nn.ReLU(),
        nn.Linear(config["units2"], 10),
    )


def trained(config: Mapping[str, Any], splits: Path) -> Iterator[tuple[int, float, nn.Module]]:
    """Yield the number, the accuracy on test and the network of every epoch of a training."""
    train = DataLoader(Pictures(splits / "train.npz"), config["batch_size"], shuffle=True)
    test = DataLoader(Pictures(splits / "test.npz"), 500)
    model = network(config)
    optimizer = OPTIMIZERS[config["optimizer"]](model.parameters(), lr=config["learning_rate"])
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for images, targets in train:
            optimizer.zero_grad()
            loss_of(model(images), targets).backward()
            optimizer.step()
        yield epoch, accuracy(model, test), model


def accuracy(model: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> float:
    """Return the share of a split's images that a network tells right."""
    model.eval()
    right = seen = 0
    with torch.no_grad():
        for images, targets in loader:
            right += int((model(images).argmax(1) == targets).sum())
            seen += len(targets)
    return right / seen


def keep(folder: Path, test: float, config: Mapping[str, Any], model: nn.Module) -> None:
    """Keep a network, if it is the best on test so far, of any process."""
    place = folder / KEPT
    place.mkdir(exist_ok=True)
    if test > max((float(path.stem) for path in place.glob("*.pt")), default=0.0):
        half = place / f"half-written-{test:.6f}"
        torch.save({"config": dict(config), "weights": model.state_dict()}, half)
        half.rename(place / f"{test:.6f}.pt")


def validate(folder: Path, splits: Path) -> tuple[float, float]:
    """Return the accuracy on validation of what was kept as the best, and the one on test."""
    best = max((folder / KEPT).glob("*.pt"), key=lambda path: float(path.stem))
    kept = torch.load(best, weights_only=True)
    model = network(kept["config"])
    model.load_state_dict(kept["weights"])
    return accuracy(model, DataLoader(Pictures(splits / "validation.npz"), 500)), float(best.stem)
