"""Recordings (WAV, FLAC, Opus, ...) in a folder or a table, as log-mel spectrograms."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.decoded import Decoded, Example, Progress, Source, allocated
from hpsearch.data.sources.decoding import decode_files, named
from hpsearch.data.sources.files import (
    FileKind,
    Listing,
    folder_listing,
    listing_of,
    stamp_of,
    table_listing,
)
from hpsearch.data.sources.mel import WINDOW_MS, Spectrogram, log_mel, mel_filters
from hpsearch.data.sources.recording import BROKEN, Head, head_of, read_sound
from hpsearch.data.sources.tables import fill_words, filled, read_tables
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Sound

# What libsndfile 1.2.2 reads by names of its own; not .mat and .raw, which may hold anything.
ENDINGS = (
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .snd .caf "
    ".voc .sph .nist .sds .sf .ircam .paf .pvf .xi .avr .htk .svx .8svx .iff .wve"
)
FITS = 0.95  # share of the recordings that fit into an image whole, where the study does not say
TURNED_OVER = "with a channel that is wired the wrong way, which was turned over"
SILENT = "with nothing above a step of their own numbers, which are silence"


def _is_sound(path: Path) -> bool:
    """Whether libsndfile knows by its content what a file is."""
    try:
        return head_of(path).samples != 0
    except BROKEN:
        return False


KIND = FileKind("recording", "RECORDING.wav", tuple(ENDINGS.split()), _is_sound)


def _listing(data: Data, root: Path | None) -> Listing:
    return listing_of(data, root, _one_listing)


def _one_listing(data: Data, root: Path) -> Listing:
    if root.is_file():
        return table_listing(data, root, KIND.noun)
    return folder_listing(data, root, KIND)


def _known(data: Data, root: Path | None) -> Data:
    """Return what is asked for, with usual names of columns where a table has no other."""
    if data.roots is not None or root is None or not root.is_file():
        return data
    return filled(read_tables(root, data).columns, data)


def stamp(data: Data, root: Path | None) -> str:
    data = _known(data, root)
    read_by = f"soundfile {version('soundfile')} scipy {version('scipy')}"
    return f"{read_by}\n{stamp_of(_listing(data, root), root)}"


def _head(path: Path) -> Head | None:
    """Return what the head of a file says; None where it is broken, as its decoding will say."""
    try:
        head = head_of(path)
    except BROKEN:
        return None
    return None if head.samples == 0 else head


def _spectrogram(listing: Listing, options: Sound) -> tuple[Spectrogram, list[str]]:
    """Return the shape of all images, what the study says or the recordings are like, and why."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(_head, listing.paths))
    heads = {name: head for name, head in zip(listing.columns.examples, found, strict=True) if head}
    if not heads:
        raise DataError(f"{listing.columns.place}: none of {len(listing.paths)} files holds sound")
    rate, why_rate = _rate(heads, options.sample_rate)
    seconds, why_seconds = _seconds(heads, options.seconds, listing.columns.place)
    columns = max(1, round(seconds * 1000 / options.hop_ms))
    if columns < 8 or columns > 8192:
        raise DataError(
            f"{listing.columns.place}: {seconds:g} s in steps of {options.hop_ms:g} ms are "
            f"{columns} columns; expected 8 to 8192: change sound.seconds or sound.hop_ms"
        )
    hop = rate * options.hop_ms / 1000
    shape = Spectrogram(rate, options.mels, columns, hop, options.dynamic_range_db)
    return shape, [why_rate, *why_seconds]


def _rate(heads: dict[str, Head], wanted: int | None) -> tuple[int, str]:
    """Return the samples a second of all images, and a sentence of why.

    The usual rate, the lower one of two that are as usual: one old recording must not take the high
    pitches from all the others.
    """
    counts = Counter(head.rate for head in heads.values())
    rate = wanted or min(counts, key=lambda rate: (-counts[rate], rate))
    why = (
        "as the study says" if wanted else f"that of {counts[rate]:,} of {len(heads):,} recordings"
    )
    below = [f"{name} ({head.rate} Hz)" for name, head in heads.items() if head.rate < rate]
    says = f"sample rate {rate} Hz: {why}"
    if below:
        says += (
            f"; {len(below):,} below it, in whose pictures high pitches are black: {named(below)}"
        )
    return rate, says


def _seconds(heads: dict[str, Head], wanted: float | None, place: str) -> tuple[float, list[str]]:
    """Return the seconds that all images show, and sentences of why."""
    known = {name: head.seconds for name, head in heads.items() if head.seconds is not None}
    silent = [name for name, head in heads.items() if head.seconds is None]
    says = []
    if silent:
        says.append(
            f"{len(silent):,} recordings do not say how long they are, and have no say in the "
            f"seconds: {named(silent)}"
        )
    if wanted is None and not known:
        raise DataError(
            f"{place}: none of {len(heads)} recordings says how long it is; say sound.seconds"
        )
    seconds = wanted or float(np.quantile([*known.values()], FITS, method="higher"))
    longer = [f"{name} ({long:.3g} s)" for name, long in known.items() if long > seconds]
    why = "as the study says" if wanted else f"{FITS:.0%} of the recordings fit into them"
    cut = f"; of {len(longer):,} longer ones the middle: {named(longer)}" if longer else ""
    return seconds, [f"{seconds:.4g} seconds: {why}{cut}", *says]


def content_of(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return where spectrograms `(N, bands, columns, 1)` hold sound: `(N, 4)`, as in `Decoded`.

    What is black at both ends is silence that they were padded with, or might have been.
    """
    spans = np.empty((len(images), 4), np.int32)
    spans[:, :2] = 0, images.shape[1]
    for i, image in enumerate(images):
        heard = np.flatnonzero(image.any(axis=(0, 2)))
        spans[i, 2:] = (heard[0], heard[-1] + 1) if len(heard) else (0, images.shape[2])
    return spans


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    asked, data = data, _known(data, root)
    listing = _listing(data, root)
    shape, decided = _spectrogram(listing, data.sound or Sound())
    filters = mel_filters(shape.rate, shape.bands, round(shape.rate * WINDOW_MS / 1000))
    images = allocated(scratch / "decoded.npy", (len(listing.paths), shape.bands, shape.columns, 1))

    def read(file: BytesIO) -> Example:
        recording = read_sound(file, shape.rate, shape.samples)
        note = TURNED_OVER if recording.turned_over else SILENT if recording.silent else ""
        return Example(log_mel(recording.samples, shape, filters), note)

    decoded = decode_files(listing, data, images, read, BROKEN, KIND.noun, progress)
    assert decoded.account is not None
    account = replace(decoded.account, decided=(*decided, *decoded.account.decided))
    decoded = replace(decoded, account=account, content=content_of(decoded.images))
    return decoded.deciding(*fill_words(asked, data))


SOURCE = Source(stamp, decode)
