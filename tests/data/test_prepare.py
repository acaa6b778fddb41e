"""Prepared data: decoded once, complete, found again, and sealed in two files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, write_folder, write_idx_set
from sklearn.datasets import load_digits

from hpsearch.data.places import data_root
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, find_prepared, load_search_data, read_prepared
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources import decoding
from hpsearch.data.sources.decoded import allocated
from hpsearch.errors import DataError
from hpsearch.study.data import Data, DataReference
from hpsearch.study.file import read_study
from hpsearch.study.splits import Split

DIGITS = Data(source="digits")


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(DIGITS)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder in which nothing lies yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HPSEARCH_CACHE", str(folder))
    return folder


@pytest.fixture
def pets(tmp_path: Path) -> Data:
    """Return the data section of a study on a folder of 6 cats and 6 dogs."""
    root = write_folder(tmp_path / "pets", {"cat": 6, "dog": 6})
    return Data(source="folder", root=str(root), image_size=16)


def made_at(prepared: Prepared) -> int:
    return (prepared.folder / "meta.json").stat().st_mtime_ns


def test_digits_are_split_80_10_10_class_by_class(digits: Prepared) -> None:
    assert digits.outputs == tuple("0123456789")
    assert digits.image_shape == (1, 8, 8)
    assert sum(digits.totals) == 1797
    published = np.bincount(load_digits().target)
    assert [sum(row) for row in digits.counts] == published.tolist()
    for row, count in zip(digits.counts, published, strict=True):
        assert np.abs(np.array(row) - count * np.array([0.8, 0.1, 0.1])).max() <= 1


def test_the_two_files_together_hold_every_image_once_with_its_label(digits: Prepared) -> None:
    data, sealed = load_search_data(digits.folder), open_sealed(digits.folder)
    assert (len(data.train), len(data.test), len(sealed)) == digits.totals
    found = [
        (image.tobytes(), int(target))
        for part in (data.train, data.test, sealed)
        for image, target in zip(part.images, part.targets, strict=True)
    ]
    grey = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    published = [
        (image.tobytes(), int(target))
        for image, target in zip(grey, load_digits().target, strict=True)
    ]
    assert sorted(found) == sorted(published)


def test_search_data_is_typed_and_mapped_read_only(digits: Prepared) -> None:
    data = load_search_data(digits.folder)
    assert data.train.images.dtype == np.uint8
    assert data.train.targets.dtype == np.int64
    assert data.image_shape == digits.image_shape
    assert data.outputs == digits.outputs
    assert data.fingerprint == digits.fingerprint
    assert isinstance(data.train.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.train.images[0] = 0


def test_statistics_come_from_train_alone(digits: Prepared) -> None:
    data = load_search_data(digits.folder)
    train = data.train.images.astype(np.float64)
    assert data.mean == pytest.approx((train.mean(),))
    assert data.std == pytest.approx((train.std(),))


def test_statistics_are_those_of_each_channel(pets: Data) -> None:
    data = load_search_data(prepare(pets).folder)
    train = data.train.images.astype(np.float64)
    assert data.mean == pytest.approx(tuple(train.mean(axis=(0, 1, 2))))
    assert data.std == pytest.approx(tuple(train.std(axis=(0, 1, 2))))


def test_prepared_data_is_told_of_without_its_images(digits: Prepared) -> None:
    assert read_prepared(digits.folder) == digits


@pytest.mark.parametrize("size", [8, 16, 32])
def test_digits_come_in_the_size_that_the_study_asks_for(size: int) -> None:
    prepared = prepare(Data(source="digits", image_size=size))
    assert prepared.image_shape == (1, size, size)
    data = load_search_data(prepared.folder)
    assert data.train.images.shape[1:] == (size, size, 1)
    assert data.train.images.std() > 50


def test_enlarged_digits_show_the_same_pictures_under_the_same_labels(digits: Prepared) -> None:
    small = load_search_data(digits.folder)
    large = load_search_data(prepare(Data(source="digits", image_size=32)).folder)
    assert np.array_equal(small.train.targets, large.train.targets)
    blocks = large.train.images.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    for before, after in zip(small.train.images[:50, ..., 0], blocks[:50], strict=True):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def test_the_same_seed_splits_alike_and_another_one_otherwise(digits: Prepared) -> None:
    again = prepare(Data(source="digits", split=Split(seed=0)))
    other = prepare(Data(source="digits", split=Split(seed=1)))
    assert again.folder == digits.folder
    assert other.fingerprint != digits.fingerprint
    first, second = open_sealed(digits.folder), open_sealed(other.folder)
    assert not np.array_equal(first.images, second.images)
    assert np.array_equal(np.bincount(first.targets), np.bincount(second.targets))


def test_other_shares_give_another_fingerprint(digits: Prepared) -> None:
    shares = Split(train=0.6, test=0.2, validation=0.2)
    prepared = prepare(Data(source="digits", split=shares))
    assert prepared.fingerprint != digits.fingerprint
    assert np.abs(np.array(prepared.totals) / 1797 - [0.6, 0.2, 0.2]).max() < 0.01


def test_data_is_decoded_once_and_found_again(pets: Data, cache: Path) -> None:
    told: list[int] = []
    first = prepare(pets, progress=lambda done, of: told.append(done))
    made = made_at(first)
    assert len(told) == 12
    second = prepare(pets, progress=lambda done, of: told.append(done))
    assert second == first
    assert made_at(second) == made
    assert len(told) == 12


def test_the_cache_lies_where_it_is_asked_for(pets: Data, cache: Path) -> None:
    assert prepare(pets).folder.is_relative_to(cache)


def test_a_cleared_cache_is_filled_again_with_the_same(pets: Data, cache: Path) -> None:
    first = prepare(pets)
    shutil.rmtree(cache)
    assert prepare(pets) == first


def test_touched_files_are_decoded_again_to_the_same_fingerprint(pets: Data, cache: Path) -> None:
    first = prepare(pets)
    path = Path(pets.root or "") / "cat" / "000.png"
    os.utime(path, ns=(1, 1))
    second = prepare(pets)
    assert second.folder != first.folder
    assert second.fingerprint == first.fingerprint


def test_the_reference_of_a_config_finds_what_its_study_prepared(pets: Data, cache: Path) -> None:
    first = prepare(pets)
    reference = DataReference(**pets.model_dump(), fingerprint=first.fingerprint)
    assert prepare(reference).folder == first.folder


def test_two_who_prepare_at_once_decode_once(pets: Data, cache: Path) -> None:
    told: list[int] = []
    found: list[Prepared] = []

    def work() -> None:
        found.append(prepare(pets, progress=lambda done, of: told.append(done)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(prepared == found[0] for prepared in found)
    assert len(told) == 12


def test_an_interrupted_decoding_leaves_nothing_that_looks_whole(pets: Data, cache: Path) -> None:
    def interrupt(done: int, of: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(pets, progress=interrupt)
    assert [path for path in (cache / "prepared").iterdir() if path.suffix != ".lock"] == []
    assert sum(prepare(pets).totals) == 12


def test_half_a_cache_entry_is_made_anew(pets: Data, cache: Path) -> None:
    first = prepare(pets)
    (first.folder / "meta.json").unlink()
    (first.folder / "search" / "images.npy").write_bytes(b"half")
    second = prepare(pets)
    assert second == first
    assert len(load_search_data(second.folder).train) == first.totals[0]


def test_a_cache_that_is_a_file_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache"
    path.write_text("not a folder")
    monkeypatch.setenv("HPSEARCH_CACHE", str(path))
    with pytest.raises(DataError, match=str(path)):
        prepare(DIGITS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_cache_without_permission_says_to_put_it_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o555)
    monkeypatch.setenv("HPSEARCH_CACHE", str(folder))
    with pytest.raises(DataError, match=r"cannot be read or written.*HPSEARCH_CACHE"):
        prepare(DIGITS)


PREPARE = """
from hpsearch.data.prepare import prepare
from hpsearch.data.sources import decoding
from hpsearch.data.sources.decoded import allocated
from hpsearch.errors import DataError
from hpsearch.study.data import Data
try:
    prepare(Data(source="digits", image_size=64))
except DataError as error:
    print(error)
"""


def prepared_on(folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    """Prepare 7 MB of digits on a file system of its own, and return how that ended.

    The file system is seen by the child process alone; the test is skipped where no process may
    have one.
    """
    unshare = shutil.which("unshare")
    mount = ["-rm", "sh", "-c", 'mount -t tmpfs -o "$0" none "$1" && shift && exec "$@"']
    if (
        unshare is None
        or subprocess.run(
            [unshare, *mount, options, folder, "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no file system can be mounted here")
    environment = {**os.environ, "HPSEARCH_CACHE": str(folder)}
    command = [unshare, *mount, options, str(folder), sys.executable, "-c", PREPARE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_read_only_cache_says_to_put_it_elsewhere(tmp_path: Path) -> None:
    ended = prepared_on(tmp_path, "ro")
    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path) in ended.stdout
    assert "cannot be read or written (Read-only file system)" in ended.stdout
    assert "set HPSEARCH_CACHE to a folder of yours" in ended.stdout


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    ended = prepared_on(tmp_path, "size=1m")
    assert ended.returncode == 0, ended.returncode
    assert "the disk is full; free some, or set HPSEARCH_CACHE elsewhere" in ended.stdout


def folder_data(root: str) -> Data:
    return Data(source="folder", root=root, image_size=16)


def test_without_an_override_the_data_lies_where_the_study_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    assert data_root(folder_data("photos"), None) == Path("photos")
    assert data_root(DIGITS, None) is None


def test_a_root_is_looked_for_beside_the_study_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("studies", "here", "named", "given"):
        (tmp_path / name / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    study = tmp_path / "studies" / "s.yaml"
    study.write_text(
        "name: s\ndata: {source: folder, root: photos, image_size: 16}\nspace: {layers: 1}\n"
    )
    data = read_study(study).data
    monkeypatch.setenv("HPSEARCH_DATA", str(tmp_path / "named"))
    assert data_root(data, tmp_path / "given") == tmp_path / "given" / "photos"
    assert data_root(data, None) == tmp_path / "studies" / "photos"
    (tmp_path / "studies" / "photos").rmdir()
    assert data_root(data, None) == tmp_path / "named" / "photos"
    monkeypatch.delenv("HPSEARCH_DATA")
    assert data_root(data, None) == Path("photos")
    (tmp_path / "here" / "photos").rmdir()
    with pytest.raises(DataError) as caught:
        data_root(data, None)
    says = f"looked for it at {tmp_path}/studies/photos, {tmp_path}/here/photos. a folder of images"
    assert says in str(caught.value)
    monkeypatch.chdir(tmp_path / "studies")  # one place, and it is named once
    with pytest.raises(DataError, match=rf"it at {tmp_path}/studies/photos\. a folder of images"):
        data_root(data, None)


def test_an_override_is_the_folder_that_the_root_is_relative_to(tmp_path: Path) -> None:
    (tmp_path / "photos" / "pets").mkdir(parents=True)
    assert data_root(folder_data("photos/pets"), tmp_path) == tmp_path / "photos" / "pets"
    assert data_root(folder_data("photos/pets"), str(tmp_path)) == tmp_path / "photos" / "pets"


def test_an_override_is_the_data_itself_where_the_root_is_not_below_it(tmp_path: Path) -> None:
    assert data_root(folder_data("photos"), tmp_path) == tmp_path
    assert data_root(Data(source="mnist"), tmp_path) == tmp_path


def test_the_environment_overrides_the_study_and_an_argument_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("environment", "argument"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HPSEARCH_DATA", str(tmp_path / "environment"))
    assert data_root(folder_data("photos"), None) == tmp_path / "environment"
    assert data_root(folder_data("photos"), tmp_path / "argument") == tmp_path / "argument"


def test_a_file_is_found_below_an_override_as_a_folder_is(tmp_path: Path) -> None:
    (tmp_path / "leaves").mkdir()
    (tmp_path / "leaves" / "leaves.csv").touch()
    data = Data(source="table", root="leaves/leaves.csv", image_size=16)
    assert data_root(data, tmp_path) == tmp_path / "leaves" / "leaves.csv"
    file = tmp_path / "leaves" / "leaves.csv"
    assert data_root(data, file) == file
    lost = tmp_path / "lost"
    lost.mkdir()
    with pytest.raises(DataError, match=r"looked for it at .*lost/leaves/leaves\.csv\. "):
        prepare(data, lost)


def test_an_override_wins_over_an_absolute_root_that_exists(tmp_path: Path) -> None:
    for name in ("slow", "fast"):
        (tmp_path / name).mkdir()
    data = folder_data(str(tmp_path / "slow"))
    assert data_root(data, tmp_path / "fast") == tmp_path / "fast"


def test_an_empty_environment_variable_is_none_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPSEARCH_DATA", "")
    assert data_root(folder_data("photos"), None) == Path("photos")
    assert data_root(DIGITS, None) is None


def test_prepare_looks_where_the_override_says(pets: Data, tmp_path: Path) -> None:
    moved = pets.model_copy(update={"root": "pets"})
    assert prepare(moved, tmp_path).fingerprint == prepare(pets).fingerprint
    assert prepare(moved, tmp_path / "pets").fingerprint == prepare(pets).fingerprint


def test_an_official_test_part_can_be_sealed_as_validation(tmp_path: Path) -> None:
    train = (noise(60, 28, 28), np.arange(60) % 10)
    official = (noise(20, 28, 28, seed=1), np.arange(20) % 10)
    write_idx_set(tmp_path, "mnist", train, official)
    split: dict[str, Any] = {"train": 0.8, "test": 0.2, "validation": "official"}
    data = Data(source="mnist", root=str(tmp_path), split=Split(**split))
    prepared = prepare(data)
    assert prepared.totals == (50, 10, 20)
    sealed, search = open_sealed(prepared.folder), load_search_data(prepared.folder)
    assert np.array_equal(sealed.images[..., 0], official[0])
    assert np.array_equal(sealed.targets, official[1])
    seen = {image.tobytes() for part in (search.train, search.test) for image in part.images}
    assert seen == {image.tobytes() for image in train[0]}


def arrays_data(folder: Path, **arrays: Any) -> Data:
    np.savez(folder / "made.npz", images=noise(100, 4, 6), **arrays)
    return Data(source="arrays", root=str(folder / "made.npz"))


def test_labels_are_counted_by_split_and_so_are_images(tmp_path: Path) -> None:
    flags = (np.random.default_rng(0).random((100, 3)) < [0.2, 0.5, 0.8]).astype(np.int64)
    data = arrays_data(tmp_path, targets=flags).model_copy(update={"task": "multi-label"})
    prepared = prepare(data)
    search, sealed = load_search_data(prepared.folder), open_sealed(prepared.folder)
    parts = (search.train, search.test, sealed)
    assert prepared.counts == tuple(
        tuple(int(part.targets[:, label].sum()) for part in parts) for label in range(3)
    )
    assert prepared.totals == tuple(len(part) for part in parts)
    assert (search.target_mean, search.target_std) == ((), ())
    assert read_prepared(prepared.folder) == prepared


def test_statistics_of_numbers_come_from_train_alone(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal([1e6, -3], [1e-1, 50], size=(100, 2))
    data = arrays_data(tmp_path, targets=numbers).model_copy(update={"task": "regression"})
    prepared = prepare(data)
    search = load_search_data(prepared.folder)
    train = search.train.targets.astype(np.float64)
    assert search.target_mean == pytest.approx(train.mean(axis=0))
    assert search.target_std == pytest.approx(train.std(axis=0))
    assert prepared.counts == (prepared.totals, prepared.totals)
    assert read_prepared(prepared.folder) == prepared


def test_a_number_that_is_the_same_in_all_of_train_is_named(tmp_path: Path) -> None:
    rare = np.zeros(100)
    rare[7] = 1
    splits = set()
    for seed in range(20):
        data = arrays_data(tmp_path, targets=rare)
        changes = {"task": "regression", "split": Split(seed=seed)}
        try:
            prepare(data.model_copy(update=changes))
        except DataError as error:
            splits.add(str(error))
    expected = "'targets' is 0 in every image of train; add images, or leave it out"
    assert splits == {expected}


def test_what_a_database_or_the_cache_tells_leads_out_of_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))
    prepared = prepare(Data(source="digits"))
    assert find_prepared(prepared.fingerprint) == prepared.folder
    note = prepared.folder.parent / f"{prepared.fingerprint}.is"
    shutil.copytree(prepared.folder, tmp_path / "outside")
    shutil.copy(note, tmp_path / "outside.is")
    for fingerprint in ("../../outside", "", "a" * 63, prepared.fingerprint + "\n"):
        assert find_prepared(fingerprint) is None
    for key in ("../../outside", str(tmp_path / "outside"), "", ".", "\0"):
        note.write_text(key)
        assert find_prepared(prepared.fingerprint) is None
    note.write_bytes(b"\xff\xfe")
    assert find_prepared(prepared.fingerprint) is None


# Resumed


SLOWLY = """
import sys, time
from pathlib import Path
from hpsearch.data.prepare import prepare
from hpsearch.data.sources import decoding
from hpsearch.study.data import Data

decoding.SAVED_EVERY_S = 0.0
root, told = Path(sys.argv[1]), Path(sys.argv[2])

def slowly(done, of):
    told.write_text(str(done))
    time.sleep(0.02)

prepare(Data(source="folder", root=str(root), image_size=16), progress=slowly)
"""


def test_a_killed_preparation_is_gone_on_with(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "pets", {"cat": 150, "dog": 150})
    (root / "cat" / "007.png").write_bytes(b"this is no picture")
    data = Data(source="folder", root=str(root), image_size=16, on_broken="skip")
    script = SLOWLY.replace("image_size=16", 'image_size=16, on_broken="skip"')
    told = tmp_path / "told"
    child = subprocess.Popen([sys.executable, "-c", script, str(root), str(told)])
    while child.poll() is None and not (told.exists() and int(told.read_text() or 0) > 40):
        time.sleep(0.01)
    child.kill()
    child.wait()
    first = int(told.read_text())
    assert first < 300
    seen: list[int] = []
    monkeypatch.setattr(decoding, "SAVED_EVERY_S", 0.0)
    resumed = prepare(data, progress=lambda done, of: seen.append(done))
    assert seen[0] > first - 2 * decoding.PART and seen[-1] == 300
    assert len(seen) <= 300 - first + 2 * decoding.PART
    assert [path.name for path in resumed.folder.iterdir() if "decoded" in path.name] == []
    shutil.rmtree(cache)
    assert prepare(data) == resumed  # the same fingerprint, hashes and account
    assert resumed.account.found - resumed.account.used == 1


def test_what_nobody_goes_on_with_is_removed_after_days(pets: Data, cache: Path) -> None:
    abandoned, fresh = (cache / "prepared" / f"{name}.unfinished" for name in ("a" * 24, "b" * 24))
    for folder, days in ((abandoned, 8), (fresh, 6)):
        folder.mkdir(parents=True)
        (folder / "decoded.npy").write_bytes(b"half")
        for path in (folder / "decoded.npy", folder):
            os.utime(path, (time.time() - days * 86_400,) * 2)
    prepare(pets)
    assert fresh.exists() and not abandoned.exists()


def test_another_listing_does_not_go_on_with_what_was_decoded_of_this(
    tmp_path: Path, cache: Path
) -> None:
    """A journal of an array of another shape is none of this one's."""
    path = tmp_path / "decoded.npy"
    np.save(path, noise(3, 4, 4, 1))
    (tmp_path / "decoded.journal").write_text("{}\n")
    assert not allocated(path, (4, 4, 4, 1)).any()
    assert not (tmp_path / "decoded.journal").exists()
