"""Prepared data on the device, handed out in batches; no Python runs per image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpsearch.data.augment import shift_and_flip
from hpsearch.data.prepared import Labelled, SearchData


@dataclass(frozen=True)
class Resident:
    """One split on the device: uint8 images `(N, height, width, channels)`, targets `(N,)`."""

    images: Tensor
    targets: Tensor
    mean: Tensor  # (channels,), grey levels
    scale: Tensor  # (channels,), one over the standard deviation

    def __len__(self) -> int:
        return len(self.targets)

    def normalised(self, images: Tensor) -> Tensor:
        """Return `(N, channels, height, width)` floats, channels last in memory."""
        return ((images.float() - self.mean) * self.scale).permute(0, 3, 1, 2)

    def training_batches(
        self, batch_size: int, shift: int, flip: bool, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of shuffled, augmented batches; the same seed yields the same ones.

        The last, partial batch is dropped: another shape would cost compiled primitives, and its
        few images would weigh more than others. A batch is never larger than the split.
        """
        device = self.images.device
        generator = torch.Generator(device).manual_seed(seed)
        order = torch.randperm(len(self), generator=generator, device=device)
        size = min(batch_size, len(self))
        for start in range(0, len(self) - size + 1, size):
            picked = order[start : start + size]
            images = shift_and_flip(self.images[picked], shift, flip, generator)
            yield self.normalised(images), self.targets[picked]

    def ordered_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, the last batch as long as it comes."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self.normalised(self.images[part]), self.targets[part]


def batches_in_epoch(images: int, batch_size: int) -> int:
    """Return how many batches `training_batches` yields for a split of so many images."""
    return images // min(batch_size, images)


def resident(split: Labelled, data: SearchData, device: torch.device) -> Resident:
    """Return a split on the device, to be normalised with the training statistics of `data`.

    On a CPU the pages of the prepared file are used in place and shared by all its readers.
    """
    with warnings.catch_warnings():
        # The file is mapped read-only; torch warns of that, and nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        images = torch.from_numpy(np.asarray(split.images)).to(device)
        targets = torch.from_numpy(np.asarray(split.targets)).to(device)
    mean = torch.tensor(data.mean, dtype=torch.float32, device=device)
    std = torch.tensor(data.std, dtype=torch.float32, device=device)
    return Resident(images, targets, mean, 1 / std.clamp_min(1e-3))
