"""An example is known again wherever it lies and whatever a study makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import (
    noise,
    tone,
    write_folder,
    write_idx_set,
    write_sound,
    write_table,
)
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.prepare import prepare
from hpsearch.data.sources.content import hash_of
from hpsearch.study.data import Data

Hashes = NDArray[np.uint64]


def parts(data: Any) -> tuple[Hashes, Hashes]:
    """Return the hashes of train and test, and of validation."""
    found = prepare(Data.model_validate(data))
    assert found.contents is not None
    searched, sealed = found.contents.searched, found.contents.sealed
    assert (len(searched), len(sealed)) == (sum(found.totals[:2]), found.totals[2])
    return searched, sealed


def everything(data: Any) -> list[int]:
    return sorted(np.concatenate(parts(data)).tolist())


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pets") / "pets", {"cat": 20, "dog": 20})


def folder_of(root: Path, **more: Any) -> dict[str, Any]:
    return {"source": "folder", "root": str(root), "image_size": 16} | more


def test_a_file_is_its_bytes_in_folders_and_tables_at_any_size_and_under_any_name(
    pets: Path, tmp_path: Path
) -> None:
    files = sorted(pets.rglob("*.png"))
    wanted = sorted(hash_of(file.read_bytes()) for file in files)
    assert everything(folder_of(pets)) == wanted
    assert everything(folder_of(pets, image_size=8, split={"seed": 3})) == wanted
    for i, file in enumerate(files):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / f"class{i % 2}" / f"other{i}.png")
    assert everything(folder_of(tmp_path)) == wanted
    table = write_table(
        tmp_path / "t.csv", path=[str(f) for f in files], label=[f.parent.name for f in files]
    )
    assert everything({"source": "table", "root": str(table), "image_size": 16}) == wanted


def test_a_file_that_is_left_out_has_no_place(pets: Path, tmp_path: Path) -> None:
    root = tmp_path / "pets"
    shutil.copytree(pets, root)
    (root / "cat" / "000.png").write_bytes(b"no picture")
    wanted = sorted(
        hash_of(f.read_bytes()) for f in root.rglob("*.png") if f != root / "cat" / "000.png"
    )
    assert everything(folder_of(root, on_broken="skip")) == wanted


def test_a_broken_file_is_named_and_nothing_else_is_in_the_message(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", {"cat": 20, "dog": 20})
    (root / "cat" / "000.png").write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"cannot identify image file '[^']*000\.png'"):
        prepare(Data.model_validate(folder_of(root)))


def test_a_recording_is_its_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, hertz in (("low", 300), ("high", 1500)):
        for i in range(20):
            samples = tone(hertz + 5 * i) + 0.01 * rng.normal(size=2400)
            write_sound(tmp_path / kind / f"{i}.{'wav' if i % 2 else 'flac'}", samples)
    wanted = sorted(hash_of(f.read_bytes()) for f in tmp_path.rglob("*.*"))
    for options in ({}, {"mels": 16, "hop_ms": 20}):
        found = everything({"source": "sound", "root": str(tmp_path), "sound": options})
        assert found == wanted


def test_a_row_of_an_array_is_its_bytes_whatever_its_axes_and_range_mean(tmp_path: Path) -> None:
    images = noise(60, 12, 3, 12) / np.float32(255)
    np.savez(tmp_path / "a.npz", images=images, targets=np.arange(60) % 2)
    wanted = sorted(hash_of(image.tobytes()) for image in images)
    for options in ({"channels_first": False}, {"channels_first": True}, {"range": [-1, 1]}):
        data = {"source": "arrays", "root": str(tmp_path / "a.npz"), "arrays": options}
        assert everything(data) == wanted
    assert everything(data | {"image_size": 8}) == wanted


def test_a_text_is_what_stands_there_whatever_the_alphabet(tmp_path: Path) -> None:
    texts = [f"A word, and {i} more \u00e4" for i in range(40)]
    table = write_table(tmp_path / "t.csv", text=texts, label=[i % 2 for i in range(40)])
    wanted = sorted(hash_of(text.encode()) for text in texts)
    for options in ({}, {"length": 16, "alphabet": "abcdefghijklmnopqrstuvwxyz0123456789"}):
        data = {"source": "text", "root": str(table), "text": options, "duplicates": "allow"}
        assert everything(data) == wanted


def test_published_sets_are_known_by_their_pixels(tmp_path: Path) -> None:
    labels, official = np.arange(60) % 10, np.arange(20) % 10
    images = noise(80, 28, 28)
    write_idx_set(tmp_path, "emnist", (images[:60], labels), (images[60:], official))
    wanted = sorted(hash_of(image.tobytes()) for image in images)
    write_idx_set(tmp_path / "m", "mnist", (images[:60], labels), (images[60:], official))
    assert everything({"source": "mnist", "root": str(tmp_path / "m")}) == wanted
    assert everything({"source": "mnist", "root": str(tmp_path / "m"), "image_size": 8}) == wanted


def test_digits_are_the_same_at_any_size() -> None:
    assert everything({"source": "digits"}) == everything({"source": "digits", "image_size": 12})


def test_parts_have_different_examples_and_a_changed_one_is_another(pets: Path) -> None:
    searched, sealed = parts(folder_of(pets))
    assert not np.isin(sealed, searched).any()
    with Image.open(pets / "cat" / "000.png") as picture:
        picture.save(pets / "cat" / "000.png", compress_level=0)
    changed = np.concatenate(parts(folder_of(pets)))
    assert np.isin(changed, np.concatenate([searched, sealed])).sum() == 39
