"""One recording is read as soundfile and NumPy read it, or it is said what is wrong with it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_data import flac_from_a_pipe, tone, write_sound
from scipy.signal import resample_poly

from hpsearch.data.sources import recording
from hpsearch.data.sources.recording import head_of, read_sound

RATE = 8000


def around_0(sound: Any) -> Any:
    return sound - sound.mean()


FORMATS = {
    "a.wav": {}, "a.flac": {}, "a.aiff": {}, "a.au": {}, "a.caf": {}, "a.w64": {},
    "a.aifc": {"format": "AIFF", "subtype": "FLOAT"}, "a.snd": {"format": "AU"},
    "alac.caf": {"subtype": "ALAC_16"}, "a.rf64": {}, "a.voc": {}, "a.sph": {"format": "NIST"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"}, "a.ogg": {}, "a.mp3": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_samples_that_soundfile_gives(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(700, 0.5), RATE, **FORMATS[name])
    expected = around_0(soundfile.read(tmp_path / name)[0])
    read = read_sound(tmp_path / name, RATE)
    # MP3 is decoded in single precision, and rounded otherwise where it is read in one go.
    np.testing.assert_allclose(read.samples, expected, atol=1e-6 if name == "a.mp3" else 1e-12)
    assert (read.turned_over, read.silent) == (0, False)
    in_memory = read_sound(BytesIO((tmp_path / name).read_bytes()), RATE)
    assert np.array_equal(in_memory.samples, read.samples)


def test_flac_that_does_not_say_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    sound = tone(700, 2.0)
    piped = flac_from_a_pipe(tmp_path / "piped.flac", sound)
    write_sound(tmp_path / "known.flac", sound)
    assert head_of(piped).samples is None
    expected = around_0(soundfile.read(tmp_path / "known.flac")[0])
    np.testing.assert_allclose(read_sound(piped, RATE).samples, expected, atol=1e-12)
    middle = read_sound(piped, RATE, 1000).samples
    known = read_sound(tmp_path / "known.flac", RATE, 1000).samples
    np.testing.assert_allclose(middle, known, atol=1e-12)


def test_flac_of_no_known_length_is_read_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = flac_from_a_pipe(tmp_path / "piped.flac", tone(700, 2.0))
    monkeypatch.setattr(recording, "MOST_SAMPLES", 10_000)
    with pytest.raises(ValueError, match="holds more than 10,000 samples"):
        read_sound(piped, RATE)


def cut(path: Path, share: float = 0.6) -> Path:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


@pytest.mark.parametrize("name", [*FORMATS, "piped.flac"])
def test_a_file_that_was_cut_off_is_broken(tmp_path: Path, name: str) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 5 * RATE)
    if name == "piped.flac":
        flac_from_a_pipe(tmp_path / name, sound)
    else:
        soundfile.write(tmp_path / name, sound, RATE, **FORMATS[name])
    with pytest.raises(recording.BROKEN):
        read_sound(cut(tmp_path / name), RATE)


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
@pytest.mark.parametrize("wanted", [8000, 16000, 22050])
@pytest.mark.parametrize("length", [100, 30_000, 30_001])
def test_the_middle_of_a_recording_is_that_of_the_whole_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, wanted: int, length: int
) -> None:
    monkeypatch.setattr(recording, "PORTION", 999)
    sound = np.random.default_rng(length).normal(0, 0.1, length)
    path = write_sound(tmp_path / "a.wav", sound, rate, "DOUBLE")
    whole = resample_poly(around_0(sound), wanted, rate)
    start = max(0, len(whole) - 5000) // 2
    middle = read_sound(path, wanted, 5000).samples
    expected = whole[start : start + 5000]
    assert len(middle) == min(5000, len(whole))
    np.testing.assert_allclose(middle, expected, atol=1e-12)


def test_a_constant_offset_is_subtracted(tmp_path: Path) -> None:
    sound = tone(700, 0.5)
    path = write_sound(tmp_path / "a.wav", sound * 0.5 + 0.4, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(path, RATE).samples, around_0(sound * 0.5), atol=1e-6)


def test_a_channel_that_is_wired_the_wrong_way_is_turned_over(tmp_path: Path) -> None:
    sound, noise = tone(700, 0.5), np.random.default_rng(0).normal(0, 0.01, 4000)
    path = write_sound(tmp_path / "a.wav", np.stack([sound, noise - 0.9 * sound], 1))
    read = read_sound(path, RATE)
    assert read.turned_over == 1
    np.testing.assert_allclose(np.abs(read.samples), np.abs(0.95 * sound), atol=0.03)


def test_stereo_that_differs_is_averaged(tmp_path: Path) -> None:
    left, right = tone(700, 0.5), tone(1100, 0.5)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right], 1), subtype="DOUBLE")
    read = read_sound(path, RATE)
    assert read.turned_over == 0
    np.testing.assert_allclose(read.samples, around_0((left + right) / 2), atol=1e-12)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 2**-26)],
)
def test_what_stays_below_a_step_of_the_files_numbers_is_silence(
    tmp_path: Path, subtype: str, step: float
) -> None:
    flicker = 0.25 + step * (np.arange(4000) % 2)
    quiet = write_sound(tmp_path / "quiet.wav", flicker, subtype=subtype)
    read = read_sound(quiet, RATE)
    assert read.silent and not read.samples.any()
    louder = write_sound(
        tmp_path / "louder.wav", 0.25 + 16 * step * tone(700, 0.5), subtype=subtype
    )
    assert not read_sound(louder, RATE).silent


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.flac"])
def test_silence_is_silent_in_every_codec(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(RATE), RATE, **FORMATS[name])
    assert read_sound(tmp_path / name, RATE).silent


def test_reading_an_hour_keeps_what_is_shown(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.flac", np.zeros(600 * RATE))
    import tracemalloc

    tracemalloc.start()
    read_sound(path, RATE, 8000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 600 * RATE * 8 / 3  # of what all of it takes
