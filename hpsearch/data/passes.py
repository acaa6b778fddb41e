"""Epochs that are shorter than a pass over the training images: which images each of them holds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hpsearch.data.batches import Resident, shuffled_order


def rows_of_epoch(
    split: Resident,
    images: int,
    number: int,
    seed_of_pass: Callable[[int], int],
    balanced: bool = False,
) -> Tensor:
    """Return the rows `(images,)` of a split that an epoch holds, in its order.

    Epochs of so many `images` each, numbered from 1, go through one shuffled pass after the other
    (numbered from 1, too), so that none is left out between them: where a pass ends within an
    epoch, the next one begins in it. Passes that are `balanced` are those of `balanced_order`.
    """
    first = (number - 1) * images
    begun, start = divmod(first, len(split))
    passes = range(begun, (first + images - 1) // len(split) + 1)
    orders = [_pass(split, seed_of_pass(1 + nth), balanced) for nth in passes]
    return torch.cat(orders)[start : start + images]


def _pass(split: Resident, seed: int, balanced: bool) -> Tensor:
    generator = torch.Generator(split.targets.device).manual_seed(seed)
    return shuffled_order(split.targets, generator, balanced)
