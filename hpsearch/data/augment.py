"""Augmentation: pure functions from a batch to a batch, the generator an argument."""

from __future__ import annotations

import torch
from torch import Tensor


def shift_and_flip(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Return each image moved by up to `shift` pixels each way and, for `flip`, mirrored or not.

    Takes and returns `(N, height, width, channels)` of any type. The border is repeated where the
    picture moved away from it. One gather does both, so that it costs one pass over the bytes.
    """
    if not shift and not flip:
        return images
    n, height, width, _ = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(n, height)
    columns = torch.arange(width, device=device).expand(n, width)
    if flip:
        mirrored = torch.randint(0, 2, (n, 1), generator=generator, device=device).bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    if shift:
        moves = torch.randint(-shift, shift + 1, (2, n, 1), generator=generator, device=device)
        rows = (rows + moves[0]).clamp(0, height - 1)
        columns = (columns + moves[1]).clamp(0, width - 1)
    batch = torch.arange(n, device=device)[:, None, None]
    return images[batch, rows[:, :, None], columns[:, None, :]]
