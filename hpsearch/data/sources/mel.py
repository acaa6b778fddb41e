"""Log-mel spectrograms: the loudness of each pitch over time, as people hear pitch.

S. S. Stevens, J. Volkmann and E. B. Newman, "A scale for the measurement of the psychological
magnitude pitch", 1937; in the form of D. O'Shaughnessy, "Speech communication", 1987.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_MS = 25.0  # of speech that a column looks at; longer windows blur time, shorter ones pitch
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrogram:
    """How sound becomes an image of `bands` rows and `columns` columns, `hop` samples apart."""

    rate: int  # samples in a second
    bands: int
    columns: int
    hop: float
    range_db: float

    @property
    def samples(self) -> int:
        """How many samples one image shows."""
        return round(self.columns * self.hop)


def mel_filters(rate: int, bands: int, window: int) -> Floats:
    """Return triangular filters `(bands, frequencies)`, evenly spaced in mel from 0 to rate / 2.

    Frequencies are those of a Fourier transform as long as it takes for every filter to cover one.
    """
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)  # (bands + 2,), Hz
    size = 1 << (window - 1).bit_length()
    while True:
        frequencies = np.fft.rfftfreq(size, 1 / rate)
        rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
        filters = np.minimum(rising, falling).clip(0)
        if filters.any(axis=1).all():
            return filters
        size *= 2


def log_mel(sound: Floats, shape: Spectrogram, filters: Floats) -> NDArray[np.uint8]:
    """Return a recording `(samples,)` as `(bands, columns, 1)` grey levels, high pitch on top.

    The middle is kept of what is too long, silence put on both sides of what is too short. White is
    the loudest place, black `range_db` below it and silence. In double precision: single would
    round a few of a million grey levels otherwise on another processor, and with them the
    fingerprint of the data.
    """
    from scipy.fft import rfft  # scipy and soundfile are needed for sound alone

    window = round(shape.rate * WINDOW_MS / 1000)
    sound = centred(sound, shape.samples)
    padded = np.pad(sound, (window // 2, window))
    starts = np.round(np.arange(shape.columns) * shape.hop).astype(np.int64)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)  # (columns, window)
    size = 2 * (filters.shape[1] - 1)
    power = np.abs(rfft(frames, size, axis=1)) ** 2  # (columns, frequencies)
    mel = filters @ power.T  # (bands, columns)
    loudest = mel.max()
    if loudest <= 0:
        return np.zeros((shape.bands, shape.columns, 1), np.uint8)
    with np.errstate(divide="ignore"):
        below = 10 * np.log10(mel / loudest)  # (bands, columns), dB, 0 and less
    levels: NDArray[np.uint8] = np.rint(255 * (1 + below / shape.range_db).clip(0, 1)).astype("u1")
    return levels[::-1, :, None]


def centred(sound: Floats, samples: int) -> Floats:
    """Return the middle of a recording, or the recording in the middle of silence."""
    spare = len(sound) - samples
    if spare >= 0:
        return sound[spare // 2 : spare // 2 + samples]
    before = -spare // 2
    return np.pad(sound, (before, -spare - before))
