"""What every source hands over, and what it needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.study.data import Data

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Decoded:
    """Every image of a source: `(N, height, width, channels)` in uint8, and its class number."""

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    official_test: NDArray[np.bool_] | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A kind of data: `stamp` is quick and changes when the data does, `decode` reads it all.

    `decode` gets a scratch folder for arrays that need not fit into memory, and a function to
    tell how many images of how many are done.
    """

    stamp: Callable[[Data, Path | None], str]
    decode: Callable[[Data, Path | None, Path, Progress], Decoded]
