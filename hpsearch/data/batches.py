"""Prepared data on the device, handed out in batches; no Python runs per image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hpsearch.data.augment import shift_and_flip
from hpsearch.data.prepared import Labelled, SearchData

ROOM = 0.5  # of a GPU's free memory, for the images of one split


@dataclass(frozen=True)
class Resident:
    """One split on the device: uint8 images `(N, height, width, channels)`, targets of `Labelled`.

    Images that the device has no room for stay `mapped` in their file, and each batch is brought
    there.
    A `palette` `(symbols + 1, channels)` holds the normalised channels of each symbol, where images
    are symbols.
    """

    images: Tensor
    targets: Tensor
    mean: Tensor  # (channels,), grey levels
    scale: Tensor  # (channels,), one over the standard deviation
    palette: Tensor | None = None
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    def normalised(self, images: Tensor) -> Tensor:
        """Return `(N, channels, height, width)` floats, channels last in memory."""
        if self.palette is not None:
            return functional.embedding(images[..., 0].int(), self.palette).permute(0, 3, 1, 2)
        return ((images.float() - self.mean) * self.scale).permute(0, 3, 1, 2)

    def training_batches(
        self,
        batch_size: int,
        shift: int,
        flip: bool,
        seed: int,
        balanced: bool = False,
        rows: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of shuffled, augmented batches; the same seed yields the same ones.

        It is a whole pass, or holds the images of `rows`, in their order.

        A `balanced` epoch holds as many images, and every class equally often: images of a rare
        class come several times, of a frequent one not all come.

        The last, partial batch is dropped: another shape would cost compiled primitives, and its
        few images would weigh more than others. A batch is never larger than the epoch.
        """
        generator = torch.Generator(self.targets.device).manual_seed(seed)
        order = shuffled_order(self.targets, generator, balanced) if rows is None else rows
        size = min(batch_size, len(order))
        for start in range(0, len(order) - size + 1, size):
            picked = order[start : start + size]
            images = shift_and_flip(self._picked(picked), shift, flip, generator)
            yield self.normalised(images), self.targets[picked]

    def ordered_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, the last batch as long as it comes."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self.normalised(self.images[part].to(self.targets.device)), self.targets[part]

    def _picked(self, rows: Tensor) -> Tensor:
        """Return some images on the device; from a mapped file they are read in its order."""
        if not self.mapped:
            return self.images[rows]
        in_order = rows.argsort()
        read = self.images[rows[in_order].to(self.images.device)].to(rows.device)
        return read[in_order.argsort()]


def shuffled_order(targets: Tensor, generator: torch.Generator, balanced: bool = False) -> Tensor:
    """Return the rows of a whole pass `(N,)` over images with these targets `(N,)`."""
    order = torch.randperm(len(targets), generator=generator, device=targets.device)
    return balanced_order(targets, order, generator) if balanced else order


def balanced_order(targets: Tensor, order: Tensor, generator: torch.Generator) -> Tensor:
    """Return as many images as `order` has `(N,)`, shuffled, each class as often as any other.

    Targets are class numbers `(N,)`. The images of a class are taken in the order given, and again
    from its beginning when all have been; counts differ by one where N cannot be divided.
    """
    n, device = len(order), order.device
    by_class = order[torch.argsort(targets[order], stable=True)]  # (N,), class after class
    counts = torch.bincount(targets)
    counts = counts[counts > 0]  # (classes,)
    turns = torch.randperm(len(counts), generator=generator, device=device)
    places = torch.arange(n, device=device)
    of_class, nth = turns[places % len(counts)], places // len(counts)
    first = counts.cumsum(0) - counts
    drawn = by_class[first[of_class] + nth % counts[of_class]]
    return drawn[torch.randperm(n, generator=generator, device=device)]


def palette(mean: Tensor, std: Tensor) -> Tensor:
    """Return the normalised channels `(symbols + 1, channels)` of every symbol, 0 being none."""
    symbols = len(mean)
    one_hot = torch.eye(symbols + 1, symbols, device=mean.device).roll(1, dims=0)
    return (one_hot - mean) / std


def batches_in_epoch(images: int, batch_size: int) -> int:
    """Return how many batches `training_batches` yields for an epoch of so many images."""
    return images // min(batch_size, images)


def has_room(device: torch.device, wanted_bytes: int) -> bool:
    """Whether a device should hold so many bytes of images; the network needs the rest of it."""
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return wanted_bytes <= ROOM * free_bytes


def resident(split: Labelled, data: SearchData, device: torch.device) -> Resident:
    """Return a split on the device, to be normalised with the training statistics of `data`.

    On a CPU the pages of the prepared file are used in place and shared by all its readers; on a
    GPU, too, where images would take more than `ROOM` of its free memory.
    """
    with warnings.catch_warnings():
        # The file is mapped read-only; torch warns of that, and nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        images = torch.from_numpy(np.asarray(split.images))
        mapped = not has_room(device, images.nbytes)
        images = images if mapped else images.to(device)
        targets = torch.from_numpy(np.asarray(split.targets)).to(device)
    mean = torch.tensor(data.mean, dtype=torch.float32, device=device)
    std = torch.tensor(data.std, dtype=torch.float32, device=device)
    colours = palette(mean, std) if data.symbols else None
    return Resident(images, targets, mean, 1 / std.clamp_min(1e-3), colours, mapped)
