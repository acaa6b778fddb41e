"""What every source hands over, and what it needs to know."""

from __future__ import annotations

import contextlib
import mmap
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
from hpsearch.data.sources.resize import Span
from hpsearch.study.data import Data, Task

Progress = Callable[[int, int], None]


JOURNAL = ".journal"  # beside a mapped array: which of its rows are decoded


def allocated(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Return a mapped array of bytes with its space on the disk; OSError if there is none.

    A new one, or the one that lies there, where a journal says that it is worth going on with.
    Writing to a mapped file that the disk has no room for would end the process (SIGBUS).
    """
    journal = path.with_suffix(JOURNAL)
    if journal.exists():
        with contextlib.suppress(OSError, ValueError):
            there = np.lib.format.open_memmap(path, "r+")
            if there.shape == shape and there.dtype == np.uint8:
                return there
        journal.unlink()
    out = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate") and out.nbytes:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return out


def released(images: NDArray[Any]) -> None:
    """Take the pages of a mapped array from this process's memory; they stay in the file.

    What does not lie in a file is left as it is.
    """
    below: Any = images
    while below is not None and not isinstance(below, mmap.mmap):
        below = getattr(below, "base", None)
    if below is not None and hasattr(mmap, "MADV_DONTNEED"):
        below.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Example:
    """One example as its file was read: `(height, width, channels)`.

    `note` is what was done to it that its user should know: "were turned over". `content` is where
    it is no padding, as in `Decoded`; None where all of it is.
    """

    image: NDArray[np.uint8]
    note: str = ""
    content: Span | None = None


@dataclass(frozen=True)
class Decoded:
    """Every image of a source: `(N, height, width, channels)` in uint8, and its targets.

    `contents` `(N,)` are the hashes of what the examples are at their source, by `content`.
    `names` tells a person which image is which, such as its file; without, its number has to do.
    Targets, `outputs` and `symbols` are those of `Labelled` and `SearchData`. `groups` names the
    group `(N,)` of every image; the images of one group must not straddle two splits. `published`
    `(N,)` is the part that its authors gave every image, where that is to count: 0 train, 1 test, 2
    validation. `account` says what became of everything that was found; without, all of it is here.
    `content` `(N, 4)` are the first row, the row after the last, the first column and the one after
    the last of what is no padding, where images are padded. `findings` are what is odd in it before
    it is split: they count, and name nothing, as it may be sealed later.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    outputs: tuple[str, ...]
    contents: Hashes
    published: NDArray[np.int64] | None = None
    task: Task = "single-label"
    groups: NDArray[Any] | None = None
    symbols: int = 0
    names: Sequence[str] = ()
    account: Account | None = None
    content: NDArray[np.int32] | None = None
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
