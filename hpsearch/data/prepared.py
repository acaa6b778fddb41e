"""What prepared data looks like to those who use it; nothing here can name validation images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from hpsearch.data.account import Account, account_from
from hpsearch.data.digests import check_quickly, looks_whole, read_meta
from hpsearch.study.data import Task

FINGERPRINT, KEY = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{8,64}")
CONTENTS = "contents.npz"
SEARCH = "search/"  # train and test: all that a search reads


def cache_folder() -> Path:
    """Return where prepared data is kept: HPSEARCH_CACHE, or the user's cache folder."""
    named = os.environ.get("HPSEARCH_CACHE")
    return Path(named) if named else user_cache_path("hpsearch")


@dataclass(frozen=True)
class Labelled:
    """Images `(N, height, width, channels)` in uint8, and what is to be learned of each.

    Targets are class numbers `(N,)` in int64 for a single-label task, else `(N, outputs)` in
    float32: 0 or 1 for each label, or the numbers of a regression in their own units. `groups` are
    the numbers `(N,)` of the groups that the images belong to, the same number in every split, and
    None where the data has no groups.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class SearchData:
    """All that a search may see: **train** learns, **test** selects hyperparameters.

    `outputs` names the classes, the labels or the numbers that a network has to tell. `mean` and
    `std` (one number per channel, in grey levels of 0 to 255) come from train alone, and so do
    `target_mean` and `target_std` (one number per output of a regression, in its own units; empty
    for other tasks). Where `symbols` is above 0, images hold one byte per position, the number k
    of a symbol or 0 for none, and stand for that many channels: channel k - 1 is 1, the others 0.
    """

    train: Labelled
    test: Labelled
    task: Task
    outputs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    symbols: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image, as a network sees it."""
        _, height, width, channels = self.train.images.shape
        return self.symbols or channels, height, width


@dataclass(frozen=True)
class Contents:
    """Hashes of what the examples of prepared data are at their source, one for each example.

    `searched` are those of train and test, `sealed` those of validation: numbers that tell whether
    an example is the same as another, and nothing else of it.
    """

    searched: NDArray[np.uint64]
    sealed: NDArray[np.uint64]


@dataclass(frozen=True)
class Prepared:
    """Prepared data on this machine: its folder, and all that is known of it unopened.

    `counts` gives, for each output in order, its images in train, test and validation: those of a
    class, those that have a label, all of them for a number. `totals` counts all images of the
    three, `account` all that the source holds, and `groups` names the groups in each, where there
    are any. `target_mean` and `target_std` are those of `SearchData`. `remade` is why it had to be
    made anew, where it had to.
    """

    folder: Path
    fingerprint: str
    task: Task
    outputs: tuple[str, ...]
    image_shape: tuple[int, int, int]  # channels, height, width
    counts: tuple[tuple[int, int, int], ...]
    totals: tuple[int, int, int]
    account: Account
    groups: tuple[tuple[str, ...], ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    contents: Contents | None = field(default=None, compare=False, repr=False)
    remade: str | None = field(default=None, compare=False)


def read_prepared(folder: Path) -> Prepared:
    """Return what is known of prepared data in a folder; no image is read.

    Raises DataError where something in it is not as it was written.
    """
    meta = read_meta(folder)
    check_quickly(folder, meta)
    with np.load(folder / CONTENTS) as kept:
        contents = Contents(kept["searched"], kept["sealed"])
    channels, height, width = meta["image_shape"]
    return Prepared(
        folder=folder,
        fingerprint=meta["fingerprint"],
        task=meta["task"],
        outputs=tuple(meta["outputs"]),
        image_shape=(channels, height, width),
        counts=tuple((row[0], row[1], row[2]) for row in meta["counts"]),
        totals=(meta["totals"][0], meta["totals"][1], meta["totals"][2]),
        account=account_from(meta["account"]),
        groups=tuple(tuple(names) for names in meta["groups"]),
        target_mean=tuple(meta["target_mean"]),
        target_std=tuple(meta["target_std"]),
        contents=contents,
    )


def find_prepared(fingerprint: str, whole: bool = False) -> Path | None:
    """Return the folder on this machine of the data with a fingerprint.

    None where it is not, or is damaged, or was written by another version. Looks at what a search
    reads, or at the `whole`, which a final needs.
    """
    prepared = cache_folder() / "prepared"
    if not FINGERPRINT.fullmatch(fingerprint):  # as databases tell it; a path is made of it
        return None
    try:
        key = (prepared / f"{fingerprint}.is").read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    folder = prepared / key
    below = "" if whole else SEARCH
    return folder if KEY.fullmatch(key) and looks_whole(folder, below) else None


def load_search_data(folder: Path) -> SearchData:
    """Return **train** and **test** of prepared data, mapped into memory, not read.

    Raises DataError where targets, groups or what is known of the data are not as they were
    written, or a file has another size; `digests.verify` reads the images, too.
    """
    meta = read_meta(folder, SEARCH)
    check_quickly(folder, meta, SEARCH)
    images = np.load(folder / "search" / "images.npy", mmap_mode="r")
    targets = np.load(folder / "search" / "targets.npy")
    groups = groups_in(folder / "search")
    cut = meta["train"]
    of_train, of_test = (None, None) if groups is None else (groups[:cut], groups[cut:])
    return SearchData(
        train=Labelled(images[:cut], targets[:cut], of_train),
        test=Labelled(images[cut:], targets[cut:], of_test),
        task=meta["task"],
        outputs=tuple(meta["outputs"]),
        mean=tuple(meta["mean"]),
        std=tuple(meta["std"]),
        fingerprint=meta["fingerprint"],
        target_mean=tuple(meta["target_mean"]),
        target_std=tuple(meta["target_std"]),
        symbols=meta["symbols"],
    )


def groups_in(folder: Path) -> NDArray[np.int64] | None:
    """Return the numbers of the groups of a part's images, None where the data has no groups."""
    path = folder / "groups.npy"
    return np.load(path) if path.exists() else None
