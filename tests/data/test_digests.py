"""Prepared data that was changed behind our back is found, said, and made anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_data import write_folder

from hpsearch.data.digests import verify
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, find_prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import DataError
from hpsearch.study.data import Data


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Return data of which nothing is prepared yet."""
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "pets", {"cat": 20, "dog": 20})
    return Data(source="folder", root=str(root), image_size=16, groups=None)


def overwritten(path: Path) -> None:
    """Set every value of an array to the first one; size, type and shape stay."""
    array = np.load(path)
    np.save(path, np.full_like(array, array.flat[0]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edited(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"mean": [0.0, 0.0, 0.0]}))


SEEN_AT_ONCE: dict[str, Callable[[Path], None]] = {
    "search/targets.npy": lambda f: overwritten(f / "search/targets.npy"),
    "validation/targets.npy": lambda f: overwritten(f / "validation/targets.npy"),
    "search/images.npy": lambda f: cut(f / "search/images.npy"),
    "validation/images.npy": lambda f: (f / "validation/images.npy").unlink(),
    "contents.npz": lambda f: cut(f / "contents.npz"),
    "meta.json": edited,
}


def same(one: Prepared, other: Prepared) -> bool:
    mine, theirs = open_sealed(one.folder), open_sealed(other.folder)
    return one == other and np.array_equal(mine.images, theirs.images)


@pytest.mark.parametrize("name", SEEN_AT_ONCE)
def test_what_is_damaged_is_made_anew_and_that_is_said(pets: Data, name: str) -> None:
    first = prepare(pets)
    assert first.remade is None and prepare(pets).remade is None
    targets = np.asarray(load_search_data(first.folder).train.targets)
    SEEN_AT_ONCE[name](first.folder)
    with pytest.raises(DataError, match=f"damaged: {name} .*make it anew"):
        verify(first.folder)
    again = prepare(pets)
    assert again.remade is not None and name in again.remade
    assert same(again, first)
    assert np.array_equal(load_search_data(again.folder).train.targets, targets)
    verify(again.folder)
    assert prepare(pets).remade is None


@pytest.mark.parametrize("name", ["search/targets.npy", "search/images.npy", "meta.json"])
def test_a_search_does_not_load_damaged_data(pets: Data, name: str) -> None:
    folder = prepare(pets).folder
    SEEN_AT_ONCE[name](folder)
    with pytest.raises(DataError, match=name):
        load_search_data(folder)


def test_a_search_does_not_need_the_sealed_files_and_a_final_does(pets: Data) -> None:
    first = prepare(pets)
    (first.folder / "validation").rename(first.folder / "away")
    assert find_prepared(first.fingerprint) == first.folder
    load_search_data(first.folder)
    assert find_prepared(first.fingerprint, whole=True) is None
    with pytest.raises(DataError, match=r"validation/\w+\.npy is gone"):
        verify(first.folder)


def test_the_seal_is_not_opened_on_damaged_targets(pets: Data) -> None:
    folder = prepare(pets).folder
    SEEN_AT_ONCE["validation/targets.npy"](folder)
    load_search_data(folder)  # which looks at nothing of what is sealed
    with pytest.raises(DataError, match=r"validation/targets\.npy"):
        open_sealed(folder)


@pytest.mark.parametrize("part", ["search", "validation"])
def test_images_are_read_to_the_end_by_verify_and_from_then_on_nobody_finds_them(
    pets: Data, part: str
) -> None:
    first = prepare(pets)
    overwritten(first.folder / part / "images.npy")
    assert prepare(pets).remade is None, "of the same size: this is not looked for at every load"
    with pytest.raises(DataError, match=f"{part}/images.npy is not what was written"):
        verify(first.folder)
    assert find_prepared(first.fingerprint) is None
    again = prepare(pets)
    assert again.remade is not None and f"{part}/images.npy" in again.remade
    assert find_prepared(first.fingerprint) == again.folder
    verify(again.folder)


def test_what_another_version_wrote_is_not_found(pets: Data) -> None:
    first = prepare(pets)
    meta = json.loads((first.folder / "meta.json").read_text())
    (first.folder / "meta.json").write_text(json.dumps(meta | {"format": 4}))
    assert find_prepared(first.fingerprint) is None
