"""Recordings as they are published: parts that lie in places of their own, and folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_data import tone, write_sound, write_table
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources.mel import WINDOW_MS, Spectrogram, log_mel, mel_filters
from hpsearch.study.data import Data

SOUND = {"sample_rate": 8000, "seconds": 0.3, "mels": 16}
SHAPE = Spectrogram(rate=8000, bands=16, columns=30, hop=80.0, range_db=80.0)
FILTERS = mel_filters(8000, 16, round(8000 * WINDOW_MS / 1000))
COUNT = 30
FOLDS = np.arange(COUNT) % 5 + 1
KINDS = np.where(np.arange(COUNT) // 5 % 2, "dog", "rain")


def recorded(path: Path, number: int) -> bytes:
    """Write a recording of 0.3 s, and return the pixels of its spectrogram."""
    rng = np.random.default_rng(number)
    write_sound(path, tone((400, 1500)[number % 2]) + 0.05 * rng.normal(size=2400))
    samples = soundfile.read(path)[0]
    picture: NDArray[np.uint8] = log_mel(samples - samples.mean(), SHAPE, FILTERS)
    return picture.tobytes()


def in_parts(prepared: Prepared) -> list[dict[bytes, str]]:
    """Return the class of each spectrogram of train, test and validation."""
    data = load_search_data(prepared.folder)
    return [
        {
            image.tobytes(): prepared.outputs[target]
            for image, target in zip(part.images, part.targets.tolist(), strict=True)
        }
        for part in (data.train, data.test, open_sealed(prepared.folder))
    ]


def study(**options: Any) -> Data:
    return Data(source="sound", sound=SOUND, duplicates="allow", **options)


def test_parts_of_recordings_have_roots_of_their_own(tmp_path: Path) -> None:
    places = {"train": ("ours/train", 16), "test": ("ours/dev", 6), "validation": ("new/test", 8)}
    wanted: dict[str, dict[bytes, str]] = {}
    for seed, (part, (place, count)) in enumerate(places.items()):
        wanted[part] = {}
        for i in range(count):
            kind = ("low", "high")[i % 2]
            pixels = recorded(tmp_path / place / kind / f"{i}.wav", 100 * seed + i)
            wanted[part][pixels] = kind
    data = study(roots={part: place for part, (place, _) in places.items()})
    prepared = prepare(data, tmp_path)
    assert in_parts(prepared) == list(wanted.values())
    assert (prepared.account.found, prepared.account.used) == (30, 30)
    assert "validation (sealed) = " in " ".join(prepared.account.decided)


def esc50(folder: Path) -> list[bytes]:
    """Write what ESC-50 publishes, in small: `audio`, and `meta/esc50.csv`."""
    names = [f"{f}-{1000 + i}-A-{i % 2}.wav" for i, f in enumerate(FOLDS)]
    pixels = [recorded(folder / "audio" / name, i) for i, name in enumerate(names)]
    write_table(
        folder / "meta" / "esc50.csv", filename=names, fold=FOLDS, target=KINDS == "rain",
        category=KINDS, esc10=["False"] * COUNT, src_file=range(COUNT), take=["A"] * COUNT,
    )  # fmt: skip
    return pixels


def urban(folder: Path) -> list[bytes]:
    """Write what UrbanSound8K publishes, in small: `audio/fold1`, ... and its table."""
    names = [f"{2000 + i}-3-0-0.wav" for i in range(COUNT)]
    places = [folder / "audio" / f"fold{f}" / n for f, n in zip(FOLDS, names, strict=True)]
    pixels = [recorded(path, i) for i, path in enumerate(places)]
    (folder / "metadata").mkdir()
    columns = {"slice_file_name": names, "fsID": range(COUNT), "fold": FOLDS, "class": KINDS}
    write_table(folder / "metadata" / "UrbanSound8K.csv", **columns)
    return pixels


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (esc50, {"root": "meta/esc50.csv", "files": "../audio", "input": "filename",
                 "target": ("category",)}),
        (urban, {"root": "metadata/UrbanSound8K.csv", "files": "../audio/fold{fold}",
                 "input": "slice_file_name", "target": ("class",)}),
    ],
    ids=["ESC-50", "UrbanSound8K"],
)  # fmt: skip
def test_folds_of_recordings_are_parts_or_groups(
    tmp_path: Path, write: Any, options: dict[str, Any]
) -> None:
    pixels = write(tmp_path)
    parts = {"train": [1, 2, 3], "test": 4, "validation": 5}
    prepared = prepare(study(**options, split={"column": "fold", "parts": parts}), tmp_path)
    assert in_parts(prepared) == [
        {pixels[i]: str(KINDS[i]) for i in np.flatnonzero(np.isin(FOLDS, folds))}
        for folds in ([1, 2, 3], [4], [5])
    ]
    grouped = prepare(study(**options, groups="fold"), tmp_path)
    assert [len(names) for names in grouped.groups] == [3, 1, 1]
    for found, names in zip(in_parts(grouped), grouped.groups, strict=True):
        rows = np.flatnonzero(np.isin(FOLDS.astype(str), names))
        assert found == {pixels[i]: str(KINDS[i]) for i in rows}
