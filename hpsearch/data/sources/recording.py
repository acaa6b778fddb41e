"""Reading one recording: what its head claims, and the part of it that a picture shows.

Files are read in portions, so that an hour of sound takes the memory of the seconds that are kept.
What is said of libsndfile holds for 1.2.2, read through soundfile 0.14.0.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# soundfile's own error for what libsndfile cannot read is a RuntimeError.
BROKEN = (OSError, RuntimeError, ValueError)
LOWEST_RATE, HIGHEST_RATE = 1000, 192_000  # of sound.sample_rate, too
MOST_SAMPLES = 2**28  # of all channels: an hour and a half of stereo at 24 kHz
PORTION = 1 << 18  # samples of all channels that are read at a time
UNKNOWN_LENGTH = 2**62  # and more: libsndfile says 2 ** 63 - 1 of FLAC that does not say its own
# How libsndfile's log tells that a part of a file is said to be longer than the file, in bytes.
_CUT = re.compile(r"(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")
_CUT_FRAMES = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_CUT_UNCOUNTED = "Seems to be a truncated file"
UNKNOWN_BYTES = 0x7FFF_0000  # and more: what a program writes that did not know the length yet
NIST_HEAD = 1024  # bytes
_NIST_NUMBER = re.compile(rb"(sample_count|channel_count|sample_n_bytes) -i (\d+)")
CUT_BELOW = 0.99  # of the samples: heads of MP3 are off by some
OGG_PAGE = 65_307  # bytes at most, with its head of 27 and a table of up to 255 lengths (RFC 3533)
# What a channel that was wired the wrong way is: the loudest one turned over, but for noise.
# Stereo of music and of speech correlates by 0 to 1.
TURNED_OVER = -0.8
# The step between two samples' values, where the file's numbers are whole ones of so many bits.
# What lossy codecs give back of silence is below a step of 16 bits.
STEPS = {
    "PCM_S8": 2.0**-7, "PCM_U8": 2.0**-7, "DPCM_8": 2.0**-7, "PCM_16": 2.0**-15,
    "ALAC_20": 2.0**-19, "PCM_24": 2.0**-23, "ALAC_24": 2.0**-23, "PCM_32": 2.0**-31,
    "ALAC_32": 2.0**-31,
}  # fmt: skip
LOSSY_STEP = 2.0**-15
ROUNDING = {"FLOAT": 2.0**-23, "DOUBLE": 2.0**-52}  # of the largest value, where they are floats


@dataclass(frozen=True)
class Head:
    """What the head of a recording claims; `samples` of one channel, None where it does not say."""

    rate: int
    channels: int
    samples: int | None
    subtype: str

    @property
    def seconds(self) -> float | None:
        return None if self.samples is None else self.samples / self.rate


@dataclass(frozen=True)
class Recording:
    """One channel `(samples,)` of a recording, and how many of its channels had to be turned over.

    `silent` is that nothing in it, around its mean, reaches a step of the file's own numbers.
    """

    samples: Floats
    turned_over: int
    silent: bool


def head_of(file: Path | BinaryIO) -> Head:
    """Return what the head of a file claims.

    Raises ValueError where that cannot be true, before anything is allocated for it, and where the
    file ends before its sound does.
    """
    import soundfile  # it loads libsndfile, which no other source needs

    said = soundfile.info(_opened(file))
    rate, samples, channels = int(said.samplerate), int(said.frames), max(1, int(said.channels))
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"claims {rate:,} samples a second; expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
        )
    unknown = samples >= UNKNOWN_LENGTH
    if not unknown and samples * channels > MOST_SAMPLES:
        raise ValueError(
            f"claims {samples:,} samples of {channels} channel(s); {MOST_SAMPLES:,} are the "
            "most of one recording: cut it"
        )
    _check_whole(str(said.extra_info))
    if said.format in ("OGG", "NIST"):
        _check_end(file, said.format)
    return Head(rate, channels, None if unknown else samples, str(said.subtype))


def _check_whole(log: str) -> None:
    """Raise ValueError where libsndfile noted that the file is shorter than it says."""
    for claimed, there in _CUT.findall(log):
        if int(there) < int(claimed) < UNKNOWN_BYTES:
            raise _cut(int(there), int(claimed), "bytes")
    for there, claimed in _CUT_FRAMES.findall(log):
        if int(there) < int(claimed):
            raise ValueError(
                f"is cut off: {int(there):,} of its {int(claimed):,} samples are there"
            )
    if _CUT_UNCOUNTED in log:
        raise ValueError("is cut off: it is shorter than its head says")


def _cut(there: int, claimed: int, units: str) -> ValueError:
    return ValueError(f"is cut off: {there:,} of its {claimed:,} {units} are there")


def _check_end(file: Path | BinaryIO, kind: str) -> None:
    """Raise ValueError where an Ogg or NIST file ends early, of which libsndfile says nothing."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(0 if kind == "NIST" else max(0, size - 2 * OGG_PAGE))
        part = opened.read(NIST_HEAD if kind == "NIST" else -1)
    if kind == "NIST":
        said = {name: int(number) for name, number in _NIST_NUMBER.findall(part)}
        claimed = said.get(b"sample_count", 0) * said.get(b"channel_count", 1)
        claimed *= said.get(b"sample_n_bytes", 1)
        if b"sample_coding -s3 pcm" in part and size - NIST_HEAD < claimed:
            raise _cut(size - NIST_HEAD, claimed, "bytes")
    else:
        page = part[part.rfind(b"OggS\0") :]  # RFC 3533, section 6
        lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if (
            len(page) < 27
            or len(lengths) < page[26]
            or len(page) < 27 + len(lengths) + sum(lengths)
        ):
            raise ValueError("is cut off: its last page is not whole")


def _opened(file: Path | BinaryIO) -> bytes | BinaryIO:
    """Return what soundfile opens: it takes text for UTF-8, which a path need not be."""
    if isinstance(file, Path):
        return os.fsencode(file)
    file.seek(0)
    return file


def read_sound(file: Path | BinaryIO, rate: int, most: int | None = None) -> Recording:
    """Return a recording at so many samples a second, or the `most` samples in its middle.

    Its mean is subtracted, several channels are averaged; one that is wired the wrong way is turned
    over first, or the average were noise. Raises ValueError or what soundfile raises where it is
    broken.
    """
    head = head_of(file)
    shown = _shown(head, rate, most)
    kept = _portions(file, head, shown)
    if not kept.count:
        raise ValueError("holds no sound")
    if head.samples is not None and kept.count < CUT_BELOW * head.samples:
        raise _cut(kept.count, head.samples, "samples")
    if head.samples != kept.count:
        head = Head(head.rate, head.channels, kept.count, head.subtype)
        if shown is not None:  # its middle is elsewhere
            shown = _shown(head, rate, most)
            kept = _portions(file, head, shown)
    one, turned_over, silent = _one_channel(kept, head.subtype)
    if head.rate != rate:
        one = _resampled(one, head.rate, rate)
    if most is None:
        return Recording(one, turned_over, silent)
    begin, end = _middle(head, rate, most)
    before = 0 if shown is None else shown.start * rate // head.rate
    return Recording(one[begin - before : end - before], turned_over, silent)


def _middle(head: Head, rate: int, most: int) -> tuple[int, int]:
    """Return where in a recording at `rate` its middle of at most so many samples lies."""
    assert head.samples is not None
    there = -(-head.samples * rate // head.rate)
    begin = max(0, there - most) // 2
    return begin, min(there, begin + most)


def _shown(head: Head, rate: int, most: int | None) -> slice | None:
    """Return which samples of the file decide on its middle; None for all of them.

    With what the filter of `resample_poly` reaches on both sides, and from a sample on that is one
    at both rates, so that the middle is what it would be in the whole.
    """
    if most is None or head.samples is None:
        return None
    begin, end = _middle(head, rate, most)
    if (begin, end) == (0, -(-head.samples * rate // head.rate)):
        return None
    common = gcd(head.rate, rate)
    up, down = rate // common, head.rate // common
    reach = 10 * max(up, down) // up + 1
    start = max(0, (begin * down // up - reach) // down * down)
    return slice(start, min(head.samples, -(-end * down // up) + reach + 1))


@dataclass(frozen=True)
class Kept:
    """Samples `(samples, channels)` of a file, of `count` that it has, the largest value in them.

    Each channel is around its mean in the whole file: an offset is the recorder's, and the mean of
    a few periods of a tone is none.
    """

    samples: Floats
    count: int
    largest: float


def _portions(file: Path | BinaryIO, head: Head, shown: slice | None) -> Kept:
    """Return all samples of a file, or those shown."""
    kept: list[Floats] = []
    count, size, total = 0, max(1, PORTION // head.channels), np.zeros(head.channels)
    with _one_way()(_opened(file)) as opened:
        while len(portion := _next(opened, size)):
            if not np.isfinite(portion).all():
                raise ValueError("holds samples that are no finite number")
            if shown is None:
                kept.append(portion)
            elif count < shown.stop and count + len(portion) > shown.start:
                kept.append(portion[max(0, shown.start - count) : shown.stop - count].copy())
            count += len(portion)
            total += portion.sum(axis=0)
            if count * head.channels > MOST_SAMPLES:
                raise ValueError(
                    f"holds more than {MOST_SAMPLES:,} samples, the most of one recording: cut it"
                )
    found = np.concatenate([np.empty((0, head.channels)), *kept])
    return Kept(found - total / max(1, count), count, float(np.abs(found).max(initial=0)))


@cache
def _one_way() -> Any:
    """Return the class of files that are read from start to end.

    After each read soundfile seeks, which libsndfile cannot in FLAC of no known length.
    """
    import soundfile

    class OneWay(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return OneWay


def _next(opened: Any, size: int) -> Floats:
    portion: Floats = opened.read(size, dtype="float64", always_2d=True)
    return portion


def _one_channel(kept: Kept, subtype: str) -> tuple[Floats, int, bool]:
    """Return the mean of the channels `(samples,)`, those turned over, and if it is silent."""
    samples = kept.samples
    turned_over = 0
    if samples.shape[1] > 1:
        products = samples.T @ samples  # (channels, channels)
        loudest = int(products.diagonal().argmax())
        lengths = np.sqrt(products.diagonal() * products[loudest, loudest])
        alike = np.divide(products[loudest], lengths, out=np.zeros(len(lengths)), where=lengths > 0)
        turned = alike < TURNED_OVER
        turned_over = int(turned.sum())
        samples = samples * np.where(turned, -1, 1)
    one: Floats = samples.mean(axis=1)
    step = (
        ROUNDING[subtype] * kept.largest if subtype in ROUNDING else STEPS.get(subtype, LOSSY_STEP)
    )
    peak = float(np.abs(one).max())
    silent = peak < step or not peak
    return (np.zeros_like(one) if silent else one), turned_over, silent


def _resampled(sound: Floats, rate: int, wanted: int) -> Floats:
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    found: Floats = resample_poly(sound, wanted // common, rate // common)
    return found
