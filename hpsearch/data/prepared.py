"""What prepared data looks like to those who use it; nothing here can name validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labelled:
    """Images `(N, height, width, channels)` in uint8 and their class numbers `(N,)` in int64."""

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class SearchData:
    """All that a search may see: **train** learns, **test** selects hyperparameters.

    `mean` and `std` (one number per channel, in grey levels of 0 to 255) come from train alone.
    """

    train: Labelled
    test: Labelled
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width
