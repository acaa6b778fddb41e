"""Sound: files become log-mel spectrograms, labels and speakers come from names or columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_data import flac_from_a_pipe, left_out, tone, write_sound, write_table
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources.mel import Spectrogram, centred, log_mel, mel_filters
from hpsearch.data.sources.recording import read_sound
from hpsearch.errors import DataError
from hpsearch.study.data import Data

PATTERN = r"(?P<label>\d)_(?P<speaker>\w+)_\d+\.wav"
SHAPE = Spectrogram(rate=8000, bands=40, columns=30, hop=80.0, range_db=80.0)
FILTERS = mel_filters(8000, 40, 200)


def picture(sound: Any, shape: Spectrogram = SHAPE) -> NDArray[np.uint8]:
    return log_mel(np.asarray(sound, np.float64), shape, FILTERS)[..., 0]


def prepared_from(root: Path, **options: Any) -> Prepared:
    return prepare(Data(source="sound", root=str(root), **{"duplicates": "allow", **options}))


def problem(root: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared_from(root, **options)
    return str(caught.value).replace(str(root), "ROOT")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return 6 speakers' recordings of 2 digits, 5 of each, named DIGIT_SPEAKER_INDEX.wav."""
    rng = np.random.default_rng(0)
    for speaker in "abcdef":
        for digit, hertz in ((0, 400), (1, 1500)):
            for i in range(5):
                sound = tone(hertz, 0.2 + 0.01 * i) + 0.01 * rng.normal(size=1600 + 80 * i)
                write_sound(tmp_path / "spoken" / f"{digit}_{speaker}_{i}.wav", sound)
    return tmp_path / "spoken"


def test_filters_are_triangles_evenly_spaced_in_mel() -> None:
    filters = mel_filters(16000, 20, 400)
    frequencies = np.fft.rfftfreq(2 * (filters.shape[1] - 1), 1 / 16000)
    peaks = frequencies[filters.argmax(axis=1)]
    mels = 2595 * np.log10(1 + peaks / 700)
    step = 2595 * np.log10(1 + 8000 / 700) / 21
    assert np.abs(np.diff(mels) - step).max() < 0.35 * step
    # Between the first peak and the last, neighbours share every frequency: their sum is 1.
    inside = (frequencies > peaks[0] + 32) & (frequencies < peaks[-1] - 32)
    np.testing.assert_allclose(filters.sum(axis=0)[inside], 1, atol=1e-9)


@pytest.mark.parametrize(("rate", "bands"), [(8000, 64), (8000, 128), (48000, 224), (16000, 8)])
def test_no_filter_is_empty(rate: int, bands: int) -> None:
    assert mel_filters(rate, bands, round(rate * 0.025)).max(axis=1).min() > 0


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_is_a_line_at_its_pitch(hertz: int) -> None:
    levels = picture(tone(hertz, 0.5))
    assert levels.shape == (40, 30)
    rows = levels.argmax(axis=0)
    assert len(set(rows.tolist())) == 1
    band = 39 - rows[0]  # low pitch is at the bottom
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    assert edges[band] < hertz < edges[band + 2]
    assert levels.max() == 255


def test_a_recording_that_is_ten_times_louder_is_the_same_picture() -> None:
    sound = tone(700) + 0.1 * tone(2000)
    difference = picture(sound).astype(int) - picture(10 * sound)
    assert np.abs(difference).max() <= 1


def test_what_is_softer_by_the_dynamic_range_is_black() -> None:
    sound = np.concatenate([tone(1000, 0.15), 1e-5 * tone(1000, 0.15)])
    levels = picture(sound)
    assert levels[:, :10].max() == 255
    assert levels[:, 20:].max() == 0
    wide = Spectrogram(8000, 40, 30, 80.0, 160.0)
    # 100 dB of 160 dB below white
    assert picture(sound, wide)[:, 22].max() == pytest.approx(255 * 60 / 160, abs=2)


def test_half_the_range_below_the_loudest_is_half_grey() -> None:
    sound = np.concatenate([tone(1000, 0.15), 1e-2 * tone(1000, 0.15)])
    assert picture(sound)[:, 25].max() == pytest.approx(127.5, abs=2)


def test_silence_is_black() -> None:
    assert picture(np.zeros(2400)).max() == 0


def test_a_short_recording_lies_in_the_middle_of_silence() -> None:
    levels = picture(tone(1000, 0.1))
    heard = np.flatnonzero(levels.max(axis=0) > 200)
    assert heard[0] == pytest.approx(10, abs=1)
    assert heard[-1] == pytest.approx(20, abs=1)


@pytest.mark.parametrize("length", [1, 5, 6, 7, 8, 30])
def test_the_middle_of_a_recording_is_kept(length: int) -> None:
    sound = np.arange(1.0, length + 1)
    kept = centred(sound, 7)
    assert len(kept) == 7
    assert set(kept[kept > 0]) == set(sound[max(0, (length - 7) // 2) :][:7])
    nothing = np.flatnonzero(kept == 0)
    assert abs((nothing < 3).sum() - (nothing > 3).sum()) <= 1


def test_speech_at_another_rate_is_nearly_the_same_picture(tmp_path: Path) -> None:
    low, high = (tone(500, 0.3, rate) + tone(1500, 0.3, rate) for rate in (8000, 44100))
    write_sound(tmp_path / "low.wav", low / 4, 8000)
    write_sound(tmp_path / "high.flac", high / 4, 44100)
    pictures = [
        picture(read_sound(tmp_path / name, 8000).samples) for name in ("low.wav", "high.flac")
    ]
    loud = pictures[0] > 128
    difference = np.abs(pictures[0].astype(int) - pictures[1])[loud]
    assert difference.max() < 25
    assert difference.mean() < 3


def test_two_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(500)
    write_sound(tmp_path / "both.wav", np.stack([left, np.zeros_like(left)], 1), subtype="FLOAT")
    read = read_sound(tmp_path / "both.wav", 8000)
    np.testing.assert_allclose(read.samples, (left - left.mean()) / 2, atol=1e-7)


def test_labels_and_speakers_come_from_file_names(recordings: Path) -> None:
    prepared = prepared_from(recordings, pattern=PATTERN)
    assert prepared.outputs == ("0", "1")
    assert prepared.totals == (48, 6, 6)
    assert prepared.groups == ()
    channels, height, width = prepared.image_shape
    assert (channels, height) == (1, 64)
    assert width == 24  # the longest of 5 lengths from 0.20 s to 0.24 s, 10 ms a column


def test_a_speaker_stands_in_one_split_alone(recordings: Path) -> None:
    prepared = prepared_from(recordings, pattern=PATTERN, groups="speaker")
    assert prepared.totals == (40, 10, 10)
    assert prepared.counts == ((20, 5, 5), (20, 5, 5))
    assert sorted(len(names) for names in prepared.groups) == [1, 1, 4]
    assert set().union(*prepared.groups) == set("abcdef")


def test_every_spectrogram_belongs_to_its_label(recordings: Path) -> None:
    prepared = prepared_from(recordings, pattern=PATTERN, sound={"mels": 40, "seconds": 0.2})
    data = load_search_data(prepared.folder)
    for part in (data.train, data.test, open_sealed(prepared.folder)):
        lines = part.images[..., 0].max(axis=2).argmax(axis=1)
        assert (part.targets == (lines < 20)).all()  # the higher tone is digit 1


def test_a_folder_of_class_folders_is_read_too(tmp_path: Path) -> None:
    for name, hertz in (("high", 2000), ("low", 200)):
        for i in range(10):
            write_sound(tmp_path / "tones" / name / f"{i}.flac", tone(hertz + i))
    prepared = prepared_from(tmp_path / "tones")
    assert prepared.outputs == ("high", "low")
    assert prepared.totals == (16, 2, 2)


def test_a_table_may_name_recordings_and_numbers(recordings: Path) -> None:
    files = sorted(path.name for path in recordings.iterdir())
    rows = {"path": files, "pitch": [440.0 + i for i in range(60)], "who": [f[2] for f in files]}
    table = write_table(recordings / "spoken.csv", **rows)
    prepared = prepared_from(table, task="regression", target="pitch", groups="who")
    assert (prepared.task, prepared.outputs) == ("regression", ("pitch",))
    assert prepared.totals == (40, 10, 10)


def test_a_table_of_recordings_may_call_its_columns_as_others_do(recordings: Path) -> None:
    names = sorted(path.name for path in recordings.iterdir())
    table = write_table(
        recordings / "esc.csv", filename=names, category=[name.split("_")[0] for name in names]
    )
    prepared = prepared_from(table)
    assert set(prepared.outputs) == {name.split("_")[0] for name in names}
    assert "input: column 'filename', for there is no 'path'" in prepared.account.decided
    assert "target: category, as none was named" in prepared.account.decided


def test_seconds_rate_bands_and_hop_make_the_shape(recordings: Path) -> None:
    options = {"seconds": 0.5, "sample_rate": 4000, "mels": 24, "hop_ms": 12.5}
    prepared = prepared_from(recordings, pattern=PATTERN, sound=options)
    assert prepared.image_shape == (1, 24, 40)


def decided(prepared: Prepared) -> str:
    return "\n".join(prepared.account.decided)


def test_the_usual_rate_is_that_of_all_and_files_below_it_are_named(recordings: Path) -> None:
    write_sound(recordings / "0_a_9.wav", tone(300, 0.2, 4000), 4000)
    mixed = prepared_from(recordings, pattern=PATTERN)
    said = prepared_from(recordings, pattern=PATTERN, sound={"sample_rate": 8000})
    assert mixed.fingerprint == said.fingerprint
    assert decided(mixed).startswith(
        "sample rate 8000 Hz: that of 60 of 61 recordings; 1 below it, in whose pictures high "
        "pitches are black: 0_a_9.wav (4000 Hz)\n"
    )
    lower = prepared_from(recordings, pattern=PATTERN, sound={"sample_rate": 4000})
    assert lower.fingerprint != mixed.fingerprint
    assert decided(lower).startswith("sample rate 4000 Hz: as the study says\n")


def test_of_two_rates_that_are_as_usual_it_is_the_lower(tmp_path: Path) -> None:
    for rate in (8000, 16000):
        for i in range(12):
            path = tmp_path / "tones" / f"{i % 2}_{'ab'[i % 2]}_{rate + i}.wav"
            write_sound(path, tone(300 + i, 0.3, rate), rate)
    prepared = prepared_from(tmp_path / "tones", pattern=PATTERN)
    assert decided(prepared).startswith("sample rate 8000 Hz: that of 12 of 24 recordings\n")


def test_seconds_are_told_with_those_that_are_longer(recordings: Path) -> None:
    write_sound(recordings / "0_a_9.wav", tone(300, 3.0))
    assert (
        "0.24 seconds: 95% of the recordings fit into them; of 1 longer ones the middle: "
        "0_a_9.wav (3 s)"
    ) in decided(prepared_from(recordings, pattern=PATTERN))


def test_flac_that_does_not_say_its_length_has_no_say_in_the_seconds(recordings: Path) -> None:
    before = prepared_from(recordings, pattern=PATTERN)
    for i in range(4):
        flac_from_a_pipe(recordings / f"1_a_9{i}.flac", tone(1500 + 10 * i, 0.22))
    prepared = prepared_from(recordings, pattern=PATTERN.replace("wav", "(?:wav|flac)"))
    assert prepared.image_shape == before.image_shape
    assert sum(prepared.totals) == 64
    assert (
        "4 recordings do not say how long they are, and have no say in the seconds: "
        "1_a_90.flac, 1_a_91.flac, 1_a_92.flac and 1 more"
    ) in decided(prepared)


def test_where_no_recording_says_its_length_the_study_has_to(tmp_path: Path) -> None:
    for i in range(20):
        flac_from_a_pipe(tmp_path / "ab"[i % 2] / f"{i}.flac", tone(500 + i, 0.3))
    says = problem(tmp_path)
    assert says == "ROOT: none of 20 recordings says how long it is; say sound.seconds"
    assert prepared_from(tmp_path, sound={"seconds": 0.3}).image_shape == (1, 64, 30)


def test_a_channel_that_was_turned_over_and_silence_are_named(recordings: Path) -> None:
    sound = tone(700, 0.2)
    write_sound(recordings / "0_a_90.wav", np.stack([sound, -sound], 1))
    write_sound(recordings / "0_a_91.wav", np.full(1600, 0.3))
    write_sound(recordings / "0_a_92.wav", sound + 0.4)
    prepared = prepared_from(recordings, pattern=PATTERN)
    says = decided(prepared)
    assert "1 recording(s) with a channel that is wired the wrong way" in says
    assert "turned over: 0_a_90.wav" in says
    assert "which are silence: 0_a_91.wav" in says


def test_neither_a_wrong_wire_nor_an_offset_changes_a_picture(tmp_path: Path) -> None:
    sound = tone(700, 0.3) / 2
    made = {
        "plain.wav": sound,
        "wrong.wav": np.stack([sound, -sound], 1),
        "offset.wav": sound + 0.4,
    }
    pictures = {}
    for name, samples in made.items():
        write_sound(tmp_path / name, samples, subtype="PCM_24")
        pictures[name] = picture(read_sound(tmp_path / name, 8000).samples).astype(int)
    assert np.abs(pictures["wrong.wav"] - pictures["plain.wav"]).max() <= 1
    assert np.abs(pictures["offset.wav"] - pictures["plain.wav"]).max() <= 1


ENDINGS = {
    ".opus": {"format": "OGG", "subtype": "OPUS"}, ".caf": {}, ".w64": {}, ".snd": {"format": "AU"},
    ".aifc": {"format": "AIFF"}, ".oga": {"format": "OGG"}, ".rf64": {}, ".sph": {"format": "NIST"},
}  # fmt: skip


def test_whatever_soundfile_reads_is_read(tmp_path: Path) -> None:
    for i, (ending, how) in enumerate(ENDINGS.items()):
        for j in range(2):
            for k, name in enumerate("ab"):
                (tmp_path / name).mkdir(exist_ok=True)
                file = tmp_path / name / f"{i}_{j}{ending}"
                soundfile.write(file, tone(300 + 700 * k + 40 * i + 5 * j, 0.3), 8000, **how)
    prepared = prepared_from(tmp_path, sound={"sample_rate": 8000})
    assert sum(prepared.totals) == prepared.account.found == 32
    assert prepared.counts[0] == prepared.counts[1]


def test_a_changed_option_or_file_changes_the_fingerprint(recordings: Path) -> None:
    seen = [prepared_from(recordings, pattern=PATTERN).fingerprint]
    for options in ({"dynamic_range_db": 60}, {"hop_ms": 9.5}, {"mels": 63}):
        seen.append(prepared_from(recordings, pattern=PATTERN, sound=options).fingerprint)
    write_sound(recordings / "0_a_0.wav", tone(2000, 0.2))
    seen.append(prepared_from(recordings, pattern=PATTERN).fingerprint)
    assert len(set(seen)) == 5


def broken_files(folder: Path) -> dict[str, str]:
    """Write recordings that cannot be used, and return what is said of each."""
    (folder / "0_a_90.wav").write_bytes(b"")
    (folder / "0_a_91.wav").write_bytes(b"this is no sound")
    (folder / "0_a_92.wav").write_bytes((folder / "0_a_0.wav").read_bytes()[:30])
    write_sound(folder / "0_a_93.wav", np.zeros(0))
    write_sound(folder / "0_a_94.wav", np.full(800, np.nan), subtype="FLOAT")
    return {
        "0_a_90.wav": "",
        "0_a_91.wav": "",
        "0_a_92.wav": "",
        "0_a_93.wav": "holds no sound",
        "0_a_94.wav": "holds samples that are no finite number",
    }


def test_broken_recordings_are_named(recordings: Path) -> None:
    expected = broken_files(recordings)
    says = problem(recordings, pattern=PATTERN)
    assert says.startswith("5 recording(s) cannot be decoded:\n  ROOT/0_a_90.wav: ")
    assert all(f"ROOT/{name}: " in says and what in says for name, what in expected.items())


def test_broken_recordings_can_be_skipped(recordings: Path) -> None:
    whole = prepared_from(recordings, pattern=PATTERN, groups="speaker")
    expected = broken_files(recordings)
    prepared = prepared_from(recordings, pattern=PATTERN, groups="speaker", on_broken="skip")
    assert [Path(line.split(": ")[0]).name for line in left_out(prepared)] == sorted(expected)
    assert prepared.fingerprint == whole.fingerprint


def test_a_file_that_the_pattern_does_not_match_is_named(recordings: Path) -> None:
    write_sound(recordings / "noise.wav", tone(440))
    says = problem(recordings, pattern=PATTERN)
    assert says.startswith("ROOT: 1 of 61 file(s) do not match data.pattern ")
    assert "such as noise.wav" in says


def test_a_pattern_matches_whole_names_and_folders_above_them(recordings: Path) -> None:
    below = recordings.rename(recordings.parent / "all")
    (recordings / "night").mkdir(parents=True)
    below.rename(recordings / "night" / "all")
    inside = prepared_from(recordings, pattern=rf"(?P<time>\w+)/all/{PATTERN}", groups="speaker")
    assert inside.totals == (40, 10, 10)
    assert "do not match" in problem(recordings, pattern=r"(?P<label>\d)\.wav")


def test_a_group_that_the_pattern_does_not_name_is_explained(recordings: Path) -> None:
    says = problem(recordings, pattern=PATTERN, groups="speker")
    assert says == (
        "ROOT: data.groups: there is no group of data.pattern 'speker'; did you mean 'speaker'?"
    )


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    assert problem(tmp_path) == (
        "ROOT/cat: holds no recordings; add some, or remove the empty class folder"
    )
    assert "does not exist" in problem(tmp_path / "nowhere")


def test_files_that_hold_no_sound_at_all_have_no_shape(tmp_path: Path) -> None:
    for name in ("a/1.wav", "b/1.wav"):
        write_sound(tmp_path / name, np.zeros(0))
    assert problem(tmp_path) == "ROOT: none of 2 files holds sound"


def test_a_picture_too_narrow_is_refused_with_what_to_change(recordings: Path) -> None:
    says = problem(recordings, pattern=PATTERN, sound={"hop_ms": 100})
    assert says == (
        "ROOT: 0.24 s in steps of 100 ms are 2 columns; expected 8 to 8192: change sound.seconds "
        "or sound.hop_ms"
    )


@pytest.fixture(scope="module")
def spoken(shared_data: Path) -> Path:
    root = shared_data / "fsdd" / "recordings"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    return root


def test_real_spoken_digits_are_split_by_speaker(spoken: Path) -> None:
    prepared = prepared_from(spoken, pattern=PATTERN, groups="speaker", sound={"seconds": 0.4})
    assert prepared.outputs == tuple("0123456789")
    assert prepared.totals == (2000, 500, 500)
    assert set(prepared.counts) == {(200, 50, 50)}
    assert [len(names) for names in prepared.groups] == [4, 1, 1]
    assert soundfile.info(str(next(spoken.iterdir()))).samplerate == 8000
