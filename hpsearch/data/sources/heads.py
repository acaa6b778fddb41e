"""What the heads of all pictures say, and what is decided from them for all, before decoding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hpsearch.data.findings import Finding
from hpsearch.data.sources.levels import FEW, Range, range_of_values, range_words
from hpsearch.data.sources.pictures import (
    BROKEN,
    SEE_THROUGH_MODES,
    deep_of,
    is_deep,
    is_grey,
    is_halved,
    lacks_transparency,
)
from hpsearch.data.sources.resize import Size

ONE_PICTURE = frozenset({"MPO", "PSD", "ICO", "ICNS"})  # more in them is a preview, a layer, a size
LOOKED_AT = 64  # pictures whose transparency is looked at
VARIES = 0.5  # of the pixels partly transparent: edges of a drawing are fewer, near infrared more
SCALED_FROM = 2  # times the size asked for: smaller photos are decoded whole


@dataclass(frozen=True)
class Head:
    """What the head of one picture says; `size` is (width, height) as it is stored.

    `kind` is "L", "F" ... as Pillow calls the mode; `pages` counts what can be read as pictures.
    """

    size: tuple[int, int]
    mode: str
    format: str
    grey: bool
    deep: bool
    whole: bool  # its values are whole numbers
    pages: int
    four_bands: bool
    halved: bool  # its colours have 16 bits, of which 8 are read


def head_of(path: Path) -> Head | None:
    """Return what a file says of its picture; None where it is broken, as its decoding will say."""
    try:
        with Image.open(path) as opened:
            form = opened.format or ""
            deep = is_deep(opened)
            return Head(
                size=opened.size,
                mode=opened.mode,
                format=form,
                grey=is_grey(opened),
                deep=deep,
                whole=opened.mode != "F",
                pages=1 if form in ONE_PICTURE else getattr(opened, "n_frames", 1),
                four_bands=lacks_transparency(opened),
                halved=not deep and is_halved(opened),
            )
    except BROKEN:
        return None


def heads_of(paths: Sequence[Path]) -> list[Head | None]:
    """Return the heads of all files, in their order; those that are equal are one object."""
    known: dict[Head | None, Head | None] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return [known.setdefault(head, head) for head in pool.map(head_of, paths)]


@dataclass(frozen=True)
class Extremes:
    """The least and the greatest value of each deep picture `(N,)`, by file."""

    names: tuple[str, ...]
    low: np.ndarray[tuple[int], np.dtype[np.float64]]
    high: np.ndarray[tuple[int], np.dtype[np.float64]]


def extremes_of(paths: Sequence[Path], pages: Sequence[int]) -> Extremes:
    """Return the extremes of deep pictures, decoded once for it; broken ones are left out."""

    def look(path: Path, page: int) -> tuple[float, float] | None:
        try:
            with Image.open(path) as opened:
                if page:
                    opened.seek(page)
                deep = deep_of(opened, path)
                return None if deep is None else deep.extremes()
        except BROKEN:
            return None

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(look, paths, pages))
    kept = [(path.name, *ends) for path, ends in zip(paths, found, strict=True) if ends is not None]
    names, low, high = zip(*kept, strict=True) if kept else ((), (), ())
    return Extremes(tuple(names), np.array(low, np.float64), np.array(high, np.float64))


def deep_range(found: Extremes, whole: bool, stated: Range | None) -> tuple[Range, str]:
    """Return which values become black and white in all deep pictures, and the words for it."""
    low, high = float(found.low.min()), float(found.high.max())
    decided = stated or range_of_values(low, high, whole)
    count = f"{len(found.names):,} pictures of more than 8 bits"
    words = f"grey levels: {range_words(decided)} become black and white in all {count}"
    if stated is not None:
        beyond = int(((found.low < stated[0]) | (found.high > stated[1])).sum())
        why = "as pictures.range says"
        if beyond:
            why += f"; {beyond:,} go beyond it, up to {range_words((low, high))}, and are cut there"
    elif decided == (low, high):
        darkest, brightest = found.names[found.low.argmin()], found.names[found.high.argmax()]
        why = (
            f"the least and the greatest value of them all ({darkest} and {brightest}); "
            "pictures.range says otherwise"
        )
    else:
        why = f"the range of their format: they hold {range_words((low, high))}"
    narrow = (found.high - found.low) < FEW * (decided[1] - decided[0])
    if narrow.any():
        first = found.names[int(narrow.argmax())]
        why += f"; {narrow.sum():,} span less than a sixteenth of it, such as {first}"
    return decided, f"{words}, {why}"


def pages_finding(heads: Sequence[Head], pages: str) -> Finding | None:
    """Tell of pages that are not read."""
    more = [head.pages for head in heads if head.pages > 1]
    if pages != "first" or not more:
        return None
    return Finding(
        "pages-left-out",
        len(more),
        f"{len(more):,} of {len(heads):,} files hold several pages, up to {max(more)}, and only "
        "the first is read",
        "pictures: {pages: all} makes each an example, {pages: channels} a channel",
    )


def transparency_finding(paths: Sequence[Path], heads: Sequence[Head]) -> Finding | None:
    """Tell where most pictures are transparent all over: then that band may be something else."""
    seen = [
        path
        for path, head in zip(paths, heads, strict=True)
        if head.mode in SEE_THROUGH_MODES and not head.four_bands and not head.deep
    ]
    if 2 * len(seen) <= len(heads):
        return None
    step = max(1, len(seen) // LOOKED_AT)
    looked_at = seen[::step]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        varies = sum(pool.map(_varies, looked_at))
    if 2 * varies <= len(looked_at):
        return None
    return Finding(
        "transparent-all-over",
        len(seen),
        f"{len(seen):,} of {len(heads):,} pictures have a band of transparency, and in {varies:,} "
        f"of {len(looked_at):,} looked at most pixels are partly transparent: is it another band, "
        "such as near infrared? They were laid on white",
        "if it is, write the pictures with three bands, or all of them into source: arrays",
    )


def _varies(path: Path) -> bool:
    try:
        with Image.open(path) as opened:
            alpha = np.asarray(opened.getchannel(len(opened.getbands()) - 1))
    except BROKEN:
        return False
    return float(((alpha > 0) & (alpha < 255)).mean()) > VARIES


def other_words(heads: Sequence[Head], size: Size, fast: bool) -> tuple[str, ...]:
    """Return what else is decided for all: bands and bits that are left out, JPEG in fractions."""
    said = []
    bands = sum(head.four_bands for head in heads)
    if bands:
        said.append(
            f"bands: {bands:,} TIFF pictures have a fourth band that their head does not call "
            "transparency; the first three are read"
        )
    halved = sum(head.halved for head in heads)
    if halved:
        said.append(
            f"grey levels: {halved:,} TIFF pictures have colours of 16 bits; the upper 8 are read"
        )
    side = SCALED_FROM * max(size)
    large = sum(head.format == "JPEG" and min(head.size) >= side for head in heads)
    if large and fast:
        said.append(
            f"decoding: {large:,} JPEG pictures are decoded at 1/2, 1/4 or 1/8 of their size, "
            "which differs from whole decoding by 1 to 2 grey levels on average; "
            "pictures: {decode: full} is exact, and takes up to 2.5 times as long"
        )
    return tuple(said)
