"""Pictures that use few of the grey levels: dark ones, or ones whose range of values is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.findings import Finding

FEW_LEVELS = 64  # from the darkest to the brightest of a picture
BLANK_LEVELS = 3  # from darkest to brightest; JPEG gives an even area as many
MANY = 0.25  # of the pictures that are not blank; some of a data set may well be dull
LOOKED_AT = 500  # pictures, evenly over all
RANGES = {"arrays": "arrays", "folder": "pictures", "table": "pictures"}  # by source


def contrast_finding(images: NDArray[np.uint8], source: str) -> Finding | None:
    """Tell where many images `(N, height, width, channels)` use fewer than 64 grey levels.

    What counts is the distance from the darkest to the brightest: black and white alone are two
    levels, and use all of the range.
    """
    some = images[:: max(1, len(images) // LOOKED_AT)]
    flat = some.reshape(len(some), -1, some.shape[-1])
    low, high = flat.min(axis=1), flat.max(axis=1)  # (n, channels)
    levels = (high.astype(np.int64) - low).max(axis=1)
    few = (levels < FEW_LEVELS) & (levels >= BLANK_LEVELS)
    if not few.sum() > MANY * (levels >= BLANK_LEVELS).sum():
        return None
    dull = f"{few.sum():,} of {len(some):,} images"
    looked_at = " looked at" if len(some) < len(images) else ""
    key = RANGES.get(source)
    instead = "look at them: networks learn from differences of brightness"
    if key is not None:
        instead = f"say which values become black and white: {key}: {{range: [LOW, HIGH]}}"
    return Finding(
        "few-grey-levels",
        int(few.sum()),
        f"{dull}{looked_at} use fewer than {FEW_LEVELS} of 256 grey levels, "
        f"{int(np.median(levels[few]))} in the median; they lie between {low[few].min()} and "
        f"{high[few].max()}",
        instead,
    )
