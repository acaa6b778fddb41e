"""Recordings (WAV, FLAC, ...) in a folder or a table, as log-mel spectrograms."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from math import gcd
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.files import (
    FileKind,
    Listing,
    decode_files,
    folder_listing,
    stamp_of,
    table_listing,
)
from hpsearch.data.sources.mel import WINDOW_MS, Floats, Spectrogram, log_mel, mel_filters
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Sound

KIND = FileKind(
    "recording", "RECORDING.wav", (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au")
)
# soundfile's own error for what libsndfile cannot read is a RuntimeError.
BROKEN = (OSError, RuntimeError, ValueError)
LOWEST_RATE, HIGHEST_RATE = 1000, 192_000  # of sound.sample_rate, too
MOST_SAMPLES = 2**28  # of all channels: 2 GiB as they are read, an hour and a half at 48 kHz
# How libsndfile's log tells that a part of a file is said to be longer than the file, in bytes.
_CUT = re.compile(r"(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)")
UNKNOWN_BYTES = 0x7FFF_0000  # and more: what a program writes that did not know the length yet
CUT_BELOW = 0.99  # of the samples: heads of MP3 are off by some
FITS = 0.95  # share of the recordings that fit into an image whole, where the study does not say


def _listing(data: Data, root: Path | None) -> Listing:
    if root is not None and root.is_file():
        return table_listing(data, root, KIND.noun)
    return folder_listing(data, root, KIND)


def stamp(data: Data, root: Path | None) -> str:
    read_by = f"soundfile {version('soundfile')} scipy {version('scipy')}"
    return f"{read_by}\n{stamp_of(_listing(data, root), root)}"


def _head(file: Path | BinaryIO) -> tuple[int, int]:
    """Return the samples a second and in all that the head of a file claims.

    Raises ValueError where that cannot be true, before anything is allocated for it, and where the
    file ends before its sound does.
    """
    import soundfile  # it loads libsndfile, which no other source needs

    head = soundfile.info(_opened(file))
    rate, samples = int(head.samplerate), int(head.frames)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"claims {rate:,} samples a second; expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
        )
    if samples * max(1, head.channels) > MOST_SAMPLES:
        raise ValueError(
            f"claims {samples:,} samples of {head.channels} channel(s); {MOST_SAMPLES:,} are the "
            "most of one recording: cut it"
        )
    for claimed, there in _CUT.findall(head.extra_info):
        if int(there) < int(claimed) < UNKNOWN_BYTES:
            raise ValueError(f"is cut off: {int(there):,} of its {int(claimed):,} bytes are there")
    return rate, samples


def _opened(file: Path | BinaryIO) -> bytes | BinaryIO:
    """Return what soundfile opens: it takes text for UTF-8, which a path need not be."""
    return os.fsencode(file) if isinstance(file, Path) else file


def _rate_and_seconds(path: Path) -> tuple[int, float] | None:
    """Return what the head of a file says; None where it is broken, as its decoding will say."""
    try:
        rate, samples = _head(path)
    except BROKEN:
        return None
    return (rate, samples / rate) if samples else None


def _spectrogram(listing: Listing, options: Sound) -> Spectrogram:
    """Return the shape of all images: what the study says, else what the recordings are like."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        heads = [head for head in pool.map(_rate_and_seconds, listing.paths) if head is not None]
    if not heads:
        raise DataError(f"{listing.columns.place}: none of {len(listing.paths)} files holds sound")
    rate = options.sample_rate or min(rate for rate, _ in heads)
    seconds = options.seconds or float(np.quantile([s for _, s in heads], FITS, method="higher"))
    columns = max(1, round(seconds * 1000 / options.hop_ms))
    if columns < 8 or columns > 8192:
        raise DataError(
            f"{listing.columns.place}: {seconds:g} s in steps of {options.hop_ms:g} ms are "
            f"{columns} columns; expected 8 to 8192: change sound.seconds or sound.hop_ms"
        )
    hop = rate * options.hop_ms / 1000
    return Spectrogram(rate, options.mels, columns, hop, options.dynamic_range_db)


def read_sound(file: Path | BinaryIO, rate: int) -> Floats:
    """Return a recording as one channel `(samples,)` at so many samples a second.

    Several channels are averaged. Raises ValueError or what soundfile raises where it is broken.
    """
    import soundfile
    from scipy.signal import resample_poly

    its_rate, claimed = _head(file)
    if not isinstance(file, Path):
        file.seek(0)
    samples, _ = soundfile.read(_opened(file), dtype="float64", always_2d=True)
    sound = samples.mean(axis=1)
    if not len(sound):
        raise ValueError("holds no sound")
    if len(sound) < CUT_BELOW * claimed:
        raise ValueError(f"is cut off: {len(sound):,} of its {claimed:,} samples are there")
    if not np.isfinite(sound).all():
        raise ValueError("holds samples that are no finite number")
    if its_rate != rate:
        common = gcd(its_rate, rate)
        sound = resample_poly(sound, rate // common, its_rate // common)
    found: Floats = sound
    return found


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    listing = _listing(data, root)
    shape = _spectrogram(listing, data.sound or Sound())
    filters = mel_filters(shape.rate, shape.bands, round(shape.rate * WINDOW_MS / 1000))
    images = allocated(scratch / "decoded.npy", (len(listing.paths), shape.bands, shape.columns, 1))
    return decode_files(
        listing,
        data,
        images,
        lambda file: log_mel(read_sound(file, shape.rate), shape, filters),
        BROKEN,
        KIND.noun,
        progress,
    )


SOURCE = Source(stamp, decode)
