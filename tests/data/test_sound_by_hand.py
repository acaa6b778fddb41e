"""Whatever its rate, channels, length and format: a recording's picture is that of the textbook.

Beside it stand soundfile, which reads the file whole, the resampler of SoX (soxr, VHQ) and the
definition of a log-mel spectrogram, a column and a band at a time.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpsearch.data.sources.mel import Spectrogram, log_mel, mel_filters
from hpsearch.data.sources.recording import read_sound

soxr = pytest.importorskip("soxr")

RATES = (4000, 8000, 11025, 16000, 22050, 44100, 48000)
OPUS_RATES = (8000, 16000, 48000)
FORMATS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"),
    ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"),
    ("AU", "PCM_16"), ("CAF", "ALAC_16"), ("W64", "PCM_32"), ("RF64", "DOUBLE"),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
)  # fmt: skip
LOUD = 128  # grey levels, half the dynamic range below the loudest place
BANDS, HOP_MS, RANGE_DB = 24, 10, 60


def chord(rate: int, wanted: int, channels: int, seconds: float, seed: int) -> Any:
    """Return `(samples, channels)`: tones that both rates can hold, each channel's own share."""
    rng = np.random.default_rng(seed)
    time = np.arange(max(1, round(seconds * rate))) / rate
    highest = 0.35 * min(rate, wanted)
    tones = sum(
        rng.uniform(0.2, 1) * np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6))
        for hertz in rng.uniform(150, highest, 4)
    )
    noise = rng.normal(0, 0.003, (len(time), channels))
    return 0.08 * tones[:, None] * rng.uniform(0.5, 1.5, channels) + noise + rng.uniform(-0.1, 0.1)


def by_hand(samples: Any, rate: int, wanted: int, columns: int) -> NDArray[np.float64]:
    """Return grey levels `(bands, columns)` by definition, low pitch first."""
    one = samples.mean(axis=1)
    one = one - one.mean()
    if rate != wanted:
        there = -(-len(one) * wanted // rate)  # soxr rounds to the nearest number of samples
        one = np.pad(soxr.resample(one, rate, wanted, "VHQ"), (0, 1))[:there]
    shown, window = round(columns * HOP_MS / 1000 * wanted), round(0.025 * wanted)
    spare = len(one) - shown
    one = one[spare // 2 :][:shown] if spare >= 0 else np.pad(one, (-spare // 2, shown))[:shown]
    edges = 700 * (10 ** (np.linspace(0, np.log10(1 + wanted / 1400), BANDS + 2)) - 1)
    size = 2 * (mel_filters(wanted, BANDS, window).shape[1] - 1)
    hertz = np.arange(size // 2 + 1) * wanted / size
    power = np.zeros((BANDS, columns))
    for column in range(columns):
        start = round(column * HOP_MS / 1000 * wanted) - window // 2
        frame = np.zeros(window)
        for i in range(window):
            if 0 <= start + i < len(one):
                frame[i] = one[start + i] * (0.5 - 0.5 * np.cos(2 * np.pi * i / (window - 1)))
        spectrum = np.abs(np.fft.fft(frame, size)[: len(hertz)]) ** 2
        for band in range(BANDS):
            low, middle, high = edges[band : band + 3]
            weight = np.interp(hertz, [low, middle, high], [0, 1, 0], left=0, right=0)
            power[band, column] = weight @ spectrum
    loudness = 10 * np.log10(np.maximum(power, 1e-300) / power.max())
    levels: NDArray[np.float64] = 255 * (1 + loudness / RANGE_DB).clip(0, 1)
    return levels


@settings(max_examples=40)
@given(
    st.sampled_from(FORMATS),
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.integers(1, 3),
    st.floats(0.1, 0.6),
    st.integers(8, 40),
    st.integers(0, 2**31),
)
@example(("FLAC", "PCM_16"), 44100, 16000, 2, 0.5, 20, 0)
@example(("MP3", "MPEG_LAYER_III"), 44100, 8000, 1, 0.5, 20, 1)
@example(("OGG", "OPUS"), 48000, 44100, 2, 0.3, 40, 2)
def test_a_picture_of_sound_is_that_of_the_textbook(
    kind: tuple[str, str], rate: int, wanted: int, channels: int, seconds: float, columns: int,
    seed: int,
) -> None:  # fmt: skip
    """No more than 1 of 255 levels off where it is loud, or 5 where it is resampled (1.2 dB).

    Then in the bands below 0.8 of what the lower rate can hold: above, resamplers fade out, each
    in its own way.
    """
    form, subtype = kind
    if subtype == "OPUS" and rate not in OPUS_RATES:
        rate = 48000
    if form == "MP3" and rate < 8000:
        rate = 8000
    channels = min(channels, 2) if form in ("MP3", "OGG") or "ADPCM" in subtype else channels
    file = BytesIO()
    soundfile.write(
        file, chord(rate, wanted, channels, seconds, seed), rate, format=form, subtype=subtype
    )
    file.seek(0)
    samples, its_rate = soundfile.read(file, dtype="float64", always_2d=True)
    expected = by_hand(samples, its_rate, wanted, columns)
    hop = wanted * HOP_MS / 1000
    shape = Spectrogram(wanted, BANDS, columns, hop, RANGE_DB)
    filters = mel_filters(wanted, BANDS, round(0.025 * wanted))
    read = read_sound(file, wanted, shape.samples)
    levels = log_mel(read.samples, shape, filters)[::-1, :, 0]
    loud = expected > LOUD
    if its_rate != wanted:
        tops = 700 * (10 ** (np.linspace(0, np.log10(1 + wanted / 1400), BANDS + 2)) - 1)[2:]
        loud &= (tops < 0.4 * min(its_rate, wanted))[:, None]
    off = np.abs(levels - expected)[loud]
    assert off.max(initial=0) <= (1 if its_rate == wanted else 5)
