"""Grey levels: which values of a data set become black and white, one range for all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]

WHITE = 255
FULL_16_BITS = (0.0, 65535.0)
FILLED = 0.5  # of a format's largest value: who reaches it uses all bits of the format
FEW = 1 / 16  # of the range: pictures within less have fewer than 16 levels of the 256


def as_levels(values: NDArray[Any], black_white: Range) -> NDArray[np.uint8]:
    """Return values as grey levels, the nearest one; those beyond the range are black or white."""
    low, high = black_white
    scaled = (values.astype(np.float64) - low) * (WHITE / (high - low))
    return np.rint(scaled).clip(0, WHITE).astype(np.uint8)


def range_of_values(low: float, high: float, whole: bool) -> Range:
    """Return the range of a data set with these extremes, where the study does not say it.

    That of their format where they fill it, which is 0 to 65535 for whole numbers and 0 to 1 for
    others, else the extremes themselves: 12 bits in a file of 16 are 0 to 4095.
    """
    most = FULL_16_BITS[1] if whole else 1.0
    if low >= 0 and FILLED * most < high <= most:
        return 0.0, most
    return (low, high) if low < high else (low, low + 1)


def range_words(black_white: Range) -> str:
    return f"{black_white[0]:g} to {black_white[1]:g}"
