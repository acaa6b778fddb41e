"""All pictures of a listing as images of one shape, and what was decided for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.decoded import Decoded, Progress, allocated
from hpsearch.data.sources.decoding import Journal, decode_files
from hpsearch.data.sources.files import Listing
from hpsearch.data.sources.heads import (
    Head,
    deep_range,
    extremes_of,
    heads_of,
    other_words,
    pages_finding,
    transparency_finding,
)
from hpsearch.data.sources.levels import range_words
from hpsearch.data.sources.pictures import BROKEN, Reading
from hpsearch.data.sources.shapes import crop_finding, shape_words
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Pictures

CHUNK = 1024  # images looked at or moved at a time
FILE_OF_PAGES = "the file of a page"  # groups, where pages are examples


@dataclass(frozen=True)
class Plan:
    """What is read of a listing, how, and the sentences that say what was decided.

    `listed` are the files whose heads could be read, with their `heads`.
    """

    listing: Listing
    reading: Reading
    listed: list[Path]
    heads: list[Head]
    said: tuple[str, ...]


def decode_images(listing: Listing, data: Data, scratch: Path, progress: Progress) -> Decoded:
    """Return all images of a listing in one size; grey where every pixel of them is."""
    plan = _plan(listing, data)
    reading, said = plan.reading, list(plan.said)
    channels = reading.channels or (1 if reading.grey else 3)
    shape = (len(plan.listing.paths), *reading.size, channels)
    images = allocated(scratch / "decoded.npy", shape)
    if plan.listing.pages is not None and data.groups is None:
        data = data.model_copy(update={"groups": FILE_OF_PAGES})
    decoded = decode_files(plan.listing, data, images, reading.example, BROKEN, "image", progress)
    if channels == 3 and _all_grey(decoded.images):
        Journal(images).remove()  # rows are moved: a preparation that goes on would take others'
        decoded = replace(decoded, images=_first_channel(decoded.images))
        said.append(
            f"channels: one, for every pixel of {len(decoded.images):,} pictures is grey, also of "
            "those that are stored as colours"
        )
    findings = (
        crop_finding([head.size for head in plan.heads], reading.size, reading.fit),
        pages_finding(plan.heads, (data.pictures or Pictures()).pages),
        transparency_finding(plan.listed, plan.heads),
    )
    found = tuple(finding for finding in findings if finding is not None)
    return replace(decoded, findings=found).deciding(*said)


def _plan(listing: Listing, data: Data) -> Plan:
    options, size = data.pictures or Pictures(), data.size()
    assert size is not None, "the study file is refused without"
    looked = heads_of(listing.paths)
    listed = [path for path, head in zip(listing.paths, looked, strict=True) if head is not None]
    heads = [head for head in looked if head is not None]
    place = listing.columns.place
    channels = _pages_as_channels(heads, listed, place) if options.pages == "channels" else 0
    pages = [1 if head is None else head.pages for head in looked]
    said: list[str] = []
    if options.pages == "all" and max(pages) > 1:
        listing = _by_page(listing, pages)
        said.append(
            f"pages: each of {len(listing.paths):,} is an example of its own, with the target of "
            f"its file; those of one of the {len(looked):,} files stay in one split"
        )
    reading = Reading(
        size,
        grey=bool(channels) or all(head.grey for head in heads),
        fit=data.fit,
        shallow=options.range,
        fast=options.decode == "fast",
        channels=channels,
    )
    reading, words = _levels(reading, listed, heads, options)
    said += words
    said += shape_words([head.size for head in heads], size, data.fit)
    said += other_words(heads, size, reading.fast)
    return Plan(listing, reading, listed, heads, tuple(said))


def _levels(
    reading: Reading, listed: Sequence[Path], heads: Sequence[Head], options: Pictures
) -> tuple[Reading, list[str]]:
    """Return how pictures become grey levels; deep ones are decoded once to know their range."""
    stated = options.range
    of_all = options.pages != "first"
    deep = [
        (path, page)
        for path, head in zip(listed, heads, strict=True)
        if head.deep
        for page in range(head.pages if of_all else 1)
    ]
    found = extremes_of(*zip(*deep, strict=True)) if deep else None
    if found is None or not found.names:
        if stated is None:
            return reading, []
        all_of_them = f"{range_words(stated)} become black and white in all {len(heads):,} pictures"
        return reading, [f"grey levels: {all_of_them}, as pictures.range says"]
    whole = all(head.whole for head in heads if head.deep)
    black_white, words = deep_range(found, whole, stated)
    said = [words]
    shallow = sum(not head.deep for head in heads)
    if shallow:
        keep = "keep their levels" if stated is None else "have the same range"
        said.append(f"grey levels: {shallow:,} pictures of 8 bits beside them {keep}")
    return replace(reading, deep=black_white), said


def _pages_as_channels(heads: Sequence[Head], listed: Sequence[Path], place: str) -> int:
    """Return how many pages a file has, by most of them; DataError where they are no channels."""
    counts = Counter(head.pages for head in heads)
    usual = counts.most_common(1)[0][0] if counts else 1
    if usual == 1:
        raise DataError(
            f"{place}: pictures.pages: most files hold one page, which is no channel of several; "
            "leave it out, or write pages: all"
        )
    for path, head in zip(listed, heads, strict=True):
        if not head.grey:
            raise DataError(
                f"{path}: pictures.pages: channels is for grey pages, and this one has the mode "
                f"{head.mode}; write pages: first or all"
            )
    return usual


def _by_page(listing: Listing, pages: Sequence[int]) -> Listing:
    """Return a listing of all pages, each with what is known of its file."""
    of_file = [i for i, count in enumerate(pages) for _ in range(count)]
    page = [number for count in pages for number in range(count)]
    columns, account = listing.columns, listing.account
    more = len(page) - len(pages)
    examples = [
        f"{columns.examples[i]} page {number + 1}" for i, number in zip(of_file, page, strict=True)
    ]
    names: list[str] = [columns.examples[i] for i in of_file]
    files = np.array(names, object)
    values = {name: column[of_file] for name, column in columns.values.items()}
    return replace(
        listing,
        paths=[listing.paths[i] for i in of_file],
        columns=Columns(columns.place, columns.noun, examples, values | {FILE_OF_PAGES: files}),
        account=replace(account, found=account.found + more, used=len(page), things="pages"),
        published=None if listing.published is None else listing.published[of_file],
        pages=np.array(page, np.int64),
    )


def _all_grey(images: NDArray[np.uint8]) -> bool:
    """Whether red, green and blue are the same in every pixel; the first other one ends it."""
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        if (part[..., :1] != part[..., 1:]).any():
            return False
    return len(images) > 0


def _first_channel(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the first channel of images, moved to where they begin: they need not fit twice."""
    shape = (*images.shape[:3], 1)
    flat = images.reshape(-1)
    each = int(np.prod(shape[1:]))
    for start in range(0, len(images), CHUNK):
        part = np.ascontiguousarray(images[start : start + CHUNK, ..., 0]).reshape(-1)
        flat[start * each : start * each + len(part)] = part
    return flat[: len(images) * each].reshape(shape)
