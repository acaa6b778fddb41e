"""Recordings (WAV, FLAC, ...) in a folder or a table, as log-mel spectrograms."""

from __future__ import annotations

import os
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
FITS = 0.95  # share of the recordings that fit into an image whole, where the study does not say


def _listing(data: Data, root: Path | None) -> Listing:
    if root is not None and root.is_file():
        return table_listing(data, root, KIND.noun)
    return folder_listing(data, root, KIND)


def stamp(data: Data, root: Path | None) -> str:
    read_by = f"soundfile {version('soundfile')} scipy {version('scipy')}"
    return f"{read_by}\n{stamp_of(_listing(data, root).paths, root)}"


def _rate_and_seconds(path: Path) -> tuple[int, float] | None:
    """Return what the head of a file says; None where it is broken, as its decoding will say."""
    import soundfile  # it loads libsndfile, which no other source needs

    try:
        head = soundfile.info(str(path))
    except BROKEN:
        return None
    return (head.samplerate, head.duration) if head.frames else None


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

    opened = str(file) if isinstance(file, Path) else file
    samples, its_rate = soundfile.read(opened, dtype="float64", always_2d=True)
    sound = samples.mean(axis=1)
    if not len(sound):
        raise ValueError("holds no sound")
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
