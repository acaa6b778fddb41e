"""What every source hands over, and what it needs to know."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account
from hpsearch.data.findings import Finding
from hpsearch.data.sources.content import Hashes
from hpsearch.study.data import Data, Task

Progress = Callable[[int, int], None]


def allocated(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Return a new mapped array of bytes with its space on the disk; OSError if there is none.

    Writing to a mapped file that the disk has no room for would end the process (SIGBUS).
    """
    out = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate") and out.nbytes:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return out


@dataclass(frozen=True)
class Decoded:
    """Every image of a source: `(N, height, width, channels)` in uint8, and its targets.

    `contents` `(N,)` are the hashes of what the examples are at their source, by `content`.
    `names` tells a person which image is which, such as its file; without, its number has to do.
    Targets, `outputs` and `symbols` are those of `Labelled` and `SearchData`. `groups` names the
    group `(N,)` of every image; the images of one group must not straddle two splits. `account`
    says what became of everything that was found; without, all of it is here. `findings` are what
    is odd in it before it is split: they count, and name nothing, as it may be sealed later.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    outputs: tuple[str, ...]
    contents: Hashes
    official_test: NDArray[np.bool_] | None = None
    task: Task = "single-label"
    groups: NDArray[Any] | None = None
    symbols: int = 0
    names: Sequence[str] = ()
    account: Account | None = None
    findings: tuple[Finding, ...] = ()

    def deciding(self, *sentences: str) -> Decoded:
        """Return it with sentences on what was decided for all of it."""
        account = self.account or Account(len(self.targets), len(self.targets))
        return replace(self, account=account.deciding(*sentences))


@dataclass(frozen=True)
class Source:
    """A kind of data: `stamp` is quick and changes when the data does, `decode` reads it all.

    `decode` gets a scratch folder for arrays that need not fit into memory, and a function to
    tell how many images of how many are done.
    """

    stamp: Callable[[Data, Path | None], str]
    decode: Callable[[Data, Path | None, Path, Progress], Decoded]
