"""The sets that torchvision knows, read from files in the formats in which they are published."""

from __future__ import annotations

import gzip
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from made_data import (
    IDX_PARTS,
    Made,
    idx_bytes,
    noise,
    write_cifar10,
    write_cifar100,
    write_idx_set,
    write_svhn,
)
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources.torchvision_sets import PUBLISHED, read_idx
from hpsearch.data.split import assign
from hpsearch.errors import DataError
from hpsearch.study.data import Data, SourceName
from hpsearch.study.splits import Split

OFFICIAL = {"train": 0.8, "test": 0.2, "validation": "official"}


def made_set(classes: int, shape: tuple[int, ...], each: int = 5) -> tuple[Made, Made]:
    """Return random images for train, so many of each class, and 2 of each for the test part."""
    train = np.arange(classes * each) % classes
    test = np.arange(classes * 2) % classes
    return (noise(len(train), *shape), train), (noise(len(test), *shape, seed=1), test)


def prepared_from(source: Any, root: Path, **changes: Any) -> Prepared:
    return prepare(Data(source=source, root=str(root), **changes))


def pairs(images: NDArray[np.uint8], targets: NDArray[np.int64]) -> list[tuple[bytes, int]]:
    """Return images and their labels in an order that depends on nothing else."""
    together = zip(images, targets, strict=True)
    return sorted((image.tobytes(), int(target)) for image, target in together)


def search_pairs(prepared: Prepared) -> list[tuple[bytes, int]]:
    data = load_search_data(prepared.folder)
    return sorted(
        pairs(data.train.images, data.train.targets) + pairs(data.test.images, data.test.targets)
    )


def sealed_pairs(prepared: Prepared) -> list[tuple[bytes, int]]:
    sealed = open_sealed(prepared.folder)
    return pairs(sealed.images, sealed.targets)


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "unpacked"])
@pytest.mark.parametrize("source", ["mnist", "fashion-mnist", "kmnist"])
def test_sets_of_the_mnist_kind_are_read_packed_and_unpacked(
    tmp_path: Path, source: str, zipped: bool
) -> None:
    train, test = made_set(10, (28, 28))
    write_idx_set(tmp_path, source, train, test, zipped)
    prepared = prepared_from(source, tmp_path, split=OFFICIAL)
    assert prepared.image_shape == (1, 28, 28)
    assert len(prepared.outputs) == 10
    assert prepared.totals == (40, 10, 20)
    assert search_pairs(prepared) == pairs(*train)
    assert sealed_pairs(prepared) == pairs(*test)


@pytest.mark.parametrize(
    ("split", "classes"),
    [("byclass", 62), ("bymerge", 47), ("letters", 26), ("digits", 10), ("mnist", 10)],
)
def test_other_splits_of_emnist_are_upright_and_have_classes_of_their_own(
    tmp_path: Path, split: str, classes: int
) -> None:
    """Of letters, labels are 1 to 26 in the file."""
    made = made_set(classes, (28, 28), each=4)
    first = 1 if split == "letters" else 0
    train, test = ((images, labels + first) for images, labels in made)
    write_idx_set(tmp_path, f"emnist-{split}", train, test)
    write_idx_set(tmp_path, "emnist", *made_set(47, (28, 28)))  # which lies beside it
    prepared = prepared_from(f"emnist-{split}", tmp_path, split=OFFICIAL, duplicates="allow")
    published = torchvision.datasets.EMNIST.classes_split_dict[split][first:]
    assert prepared.outputs == tuple(published) and len(published) == classes
    assert search_pairs(prepared) == pairs(made[0][0].transpose(0, 2, 1), made[0][1])
    assert sealed_pairs(prepared) == pairs(made[1][0].transpose(0, 2, 1), made[1][1])


def test_a_label_below_the_first_class_is_an_error(tmp_path: Path) -> None:
    made = made_set(26, (28, 28))
    write_idx_set(tmp_path, "emnist-letters", *made)
    with pytest.raises(DataError, match="images and labels do not belong together"):
        prepared_from("emnist-letters", tmp_path)


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "unpacked"])
def test_emnist_letters_are_stood_upright(tmp_path: Path, zipped: bool) -> None:
    train, test = made_set(47, (28, 28))
    write_idx_set(tmp_path, "emnist", train, test, zipped)
    prepared = prepared_from("emnist", tmp_path, split=OFFICIAL)
    assert len(prepared.outputs) == 47
    assert search_pairs(prepared) == pairs(train[0].transpose(0, 2, 1), train[1])
    assert sealed_pairs(prepared) == pairs(test[0].transpose(0, 2, 1), test[1])


def test_packed_and_unpacked_files_have_the_same_fingerprint(tmp_path: Path) -> None:
    train, test = made_set(10, (28, 28))
    for name, zipped in (("packed", True), ("unpacked", False)):
        write_idx_set(tmp_path / name, "mnist", train, test, zipped)
    packed = prepared_from("mnist", tmp_path / "packed")
    assert packed.fingerprint == prepared_from("mnist", tmp_path / "unpacked").fingerprint


def test_other_labels_on_the_same_images_change_the_fingerprint(tmp_path: Path) -> None:
    train, test = made_set(10, (28, 28))
    targets = np.concatenate([train[1], test[1]])
    swapped = np.where(targets < 2, 1 - targets, targets)  # zeros are called ones, ones zeros
    classes = tuple("0123456789")

    def indices(labels: NDArray[np.int64], seed: int) -> list[list[int]]:
        found = assign(labels, classes, Split(seed=seed))
        return [part.tolist() for part in (found.train, found.test, found.validation)]

    # A seed that splits both alike, so that nothing but the labels differs.
    seed = next(s for s in itertools.count() if indices(targets, s) == indices(swapped, s))
    write_idx_set(tmp_path / "a", "mnist", train, test)
    write_idx_set(tmp_path / "b", "mnist", (train[0], swapped[:50]), (test[0], swapped[50:]))
    first, second = (
        prepared_from("mnist", tmp_path / name, split={"seed": seed}) for name in ("a", "b")
    )
    images, same = (load_search_data(prepared.folder).train.images for prepared in (first, second))
    assert np.array_equal(images, same)
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("source", ["mnist", "fashion-mnist", "kmnist"])
def test_class_names_are_those_that_torchvision_gives(source: SourceName) -> None:
    published = PUBLISHED[source]
    names = getattr(torchvision.datasets, published.torchvision_name).classes
    if source == "mnist":  # "0 - zero" there
        names = [name.split(" ")[0] for name in names]
    assert list(published.classes) == names


def test_emnist_class_names_are_those_that_torchvision_gives() -> None:
    names = torchvision.datasets.EMNIST.classes_split_dict["balanced"]
    assert list(PUBLISHED["emnist"].classes) == names


@pytest.mark.parametrize("below", ["MNIST/raw", "MNIST", ""])
def test_the_root_may_be_the_folder_of_the_set_or_one_above(tmp_path: Path, below: str) -> None:
    train, test = made_set(10, (28, 28))
    write_idx_set(tmp_path, "mnist", train, test)
    assert sum(prepared_from("mnist", tmp_path / below).totals) == 70


def test_all_images_are_shared_out_where_validation_is_a_share(tmp_path: Path) -> None:
    train, test = made_set(10, (28, 28), each=8)
    write_idx_set(tmp_path, "mnist", train, test)
    prepared = prepared_from("mnist", tmp_path)
    assert prepared.totals == (80, 10, 10)
    every = pairs(np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]]))
    assert sorted(search_pairs(prepared) + sealed_pairs(prepared)) == every


def test_images_come_in_the_size_that_the_study_asks_for(tmp_path: Path) -> None:
    levels = np.arange(70, dtype=np.uint8)[:, None, None]
    images = np.broadcast_to(levels, (70, 28, 28)).copy()
    targets = np.arange(70) % 10
    write_idx_set(tmp_path, "mnist", (images[:50], targets[:50]), (images[50:], targets[50:]))
    prepared = prepared_from("mnist", tmp_path, image_size=16)
    assert prepared.image_shape == (1, 16, 16)
    found = search_pairs(prepared) + sealed_pairs(prepared)
    assert sorted(found) == pairs(images[:, :16, :16], targets)


def test_a_missing_set_says_where_it_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepared_from("fashion-mnist", tmp_path)
    wanted = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    says = str(caught.value)
    assert says.startswith(f"fashion-mnist: no {wanted}. Say where the data lies with --data")
    assert "data.download: true" in says


def test_a_set_of_which_one_file_is_missing_is_not_read(tmp_path: Path) -> None:
    folder = write_idx_set(tmp_path, "mnist", *made_set(10, (28, 28)))
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="mnist: no "):
        prepared_from("mnist", tmp_path)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Return the folder of a packed set of the MNIST kind."""
    return write_idx_set(tmp_path, "mnist", *made_set(10, (28, 28)))


def problem(folder: Path) -> str:
    """Return what preparing the set in a folder says when it cannot be used."""
    with pytest.raises(DataError) as caught:
        prepared_from("mnist", folder)
    return str(caught.value)


def test_a_file_cut_short_is_named_and_to_be_fetched_again(mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    says = problem(mnist)
    assert says.startswith(f"{path}: cannot be read: ")
    assert says.endswith("fetch the file again")


def test_a_file_with_spoilt_bytes_is_named_and_to_be_fetched_again(mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    raw = bytearray(path.read_bytes())
    raw[500:600] = bytes(255 - byte for byte in raw[500:600])
    raw[10:12] = b"\xff\xff"  # no deflate block begins so
    path.write_bytes(raw)
    says = problem(mnist)
    assert says.startswith(f"{path}: cannot be read: ")
    assert says.endswith("fetch the file again")


def test_a_web_page_in_place_of_a_file_is_named(mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"<html>404 Not Found</html>")
    assert problem(mnist).startswith(f"{path}: cannot be read: ")


def test_labels_in_place_of_images_are_named(mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes((mnist / "train-labels-idx1-ubyte.gz").read_bytes())
    assert problem(mnist).startswith(f"{path}: not an IDX file of 3 dimension(s)")


def test_labels_of_another_set_do_not_belong_to_the_images(mnist: Path) -> None:
    labels = np.zeros(7, np.uint8)
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    assert problem(mnist) == f"{mnist}: images and labels do not belong together"


def test_a_label_without_a_class_is_an_error(mnist: Path) -> None:
    labels = np.full(50, 10, np.uint8)
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    assert problem(mnist) == f"{mnist}: images and labels do not belong together"


def test_a_set_without_a_single_image_is_an_error(mnist: Path) -> None:
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", noise(0, 28, 28)), ("labels-idx1", noise(0))):
            packed = gzip.compress(idx_bytes(array))
            (mnist / f"{part}-{kind}-ubyte.gz").write_bytes(packed)
    assert problem(mnist)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_gives_back_the_array_it_was_made_of(
    tmp_path: Path, dimensions: int, suffix: str
) -> None:
    array = noise(5, *(3, 4)[: dimensions - 1])
    raw = idx_bytes(array)
    path = tmp_path / f"array{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    assert np.array_equal(read_idx(path, dimensions), array)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\0\0\x08\3\0\0\0\1", "not an IDX file"),
        (b"\0\0\x0d\3" + bytes(12), "not an IDX file"),
        (idx_bytes(noise(5, 3, 4))[:-1], r"holds 59 bytes for the shape \(5, 3, 4\)"),
        (idx_bytes(noise(5, 3, 4)) + b"\0", r"holds 61 bytes for the shape \(5, 3, 4\)"),
    ],
    ids=["empty", "half a magic", "half a header", "floats", "short", "long"],
)
def test_an_idx_file_that_is_not_what_it_says_is_named(
    tmp_path: Path, raw: bytes, says: str
) -> None:
    path = tmp_path / "array"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=says) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path}: ")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that has torchvision take made files for the published ones.

    It reads a set only where the checksums are those of the published files; these are replaced
    by those of the files at hand, and all else is as it is.
    """

    def trust(folder: Path) -> None:
        for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
            if kind.base_folder == folder.name:
                for listed in ("train_list", "test_list"):
                    of_files = [[name, md5(folder / name)] for name, _ in getattr(kind, listed)]
                    monkeypatch.setattr(kind, listed, of_files)
                meta = {**kind.meta, "md5": md5(folder / kind.meta["filename"])}
                monkeypatch.setattr(kind, "meta", meta)
                return
        known = {
            part: [url, name, md5(folder / name) if part != "extra" else checksum]
            for part, (url, name, checksum) in torchvision.datasets.SVHN.split_list.items()
        }
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", known)

    return trust


def names(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


@pytest.mark.parametrize("below", ["", "cifar-10-batches-py"])
def test_cifar10_is_read_from_its_six_batches(tmp_path: Path, trusted: Any, below: str) -> None:
    train, test = made_set(10, (32, 32, 3))
    trusted(write_cifar10(tmp_path, train, test, names(10)))
    prepared = prepared_from("cifar10", tmp_path / below, split=OFFICIAL)
    assert prepared.outputs == tuple(names(10))
    assert prepared.image_shape == (3, 32, 32)
    assert search_pairs(prepared) == pairs(*train)
    assert sealed_pairs(prepared) == pairs(*test)


@pytest.mark.parametrize("below", ["", "cifar-100-python"])
def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path, trusted: Any, below: str) -> None:
    train, test = made_set(100, (32, 32, 3), each=3)
    trusted(write_cifar100(tmp_path, train, test, names(100)))
    prepared = prepared_from("cifar100", tmp_path / below, split=OFFICIAL)
    assert prepared.outputs == tuple(names(100))
    assert search_pairs(prepared) == pairs(*train)
    assert sealed_pairs(prepared) == pairs(*test)


def test_svhn_is_read_and_its_label_10_is_the_digit_0(tmp_path: Path, trusted: Any) -> None:
    train, test = made_set(10, (32, 32, 3))
    trusted(write_svhn(tmp_path, train, test))
    prepared = prepared_from("svhn", tmp_path, split=OFFICIAL)
    assert prepared.outputs == tuple("0123456789")
    assert prepared.image_shape == (3, 32, 32)
    assert search_pairs(prepared) == pairs(*train)
    assert sealed_pairs(prepared) == pairs(*test)


def test_colour_images_come_in_the_size_that_the_study_asks_for(
    tmp_path: Path, trusted: Any
) -> None:
    colours = noise(70, 1, 1, 3)
    images = np.broadcast_to(colours, (70, 32, 32, 3)).copy()
    targets = np.arange(70) % 10
    trusted(write_svhn(tmp_path, (images[:50], targets[:50]), (images[50:], targets[50:])))
    prepared = prepared_from("svhn", tmp_path, image_size=20)
    assert prepared.image_shape == (3, 20, 20)
    found = search_pairs(prepared) + sealed_pairs(prepared)
    assert sorted(found) == pairs(images[:, :20, :20], targets)


def test_files_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    train, test = made_set(10, (32, 32, 3))
    write_cifar10(tmp_path, train, test, names(10))
    with pytest.raises(DataError) as caught:
        prepared_from("cifar10", tmp_path)
    says = str(caught.value)
    assert says.startswith("CIFAR10 could not be read: ")
    assert f"copy its files to {tmp_path / 'cifar-10-batches-py'}" in says


def test_a_missing_batch_of_cifar10_is_an_error(tmp_path: Path, trusted: Any) -> None:
    folder = write_cifar10(tmp_path, *made_set(10, (32, 32, 3)), names(10))
    trusted(folder)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match="CIFAR10 could not be read"):
        prepared_from("cifar10", tmp_path)


@pytest.fixture(scope="module")
def fashion(shared_data: Path) -> Prepared:
    if not (shared_data / "FashionMNIST").is_dir():
        pytest.skip(f"no Fashion-MNIST in {shared_data}")
    return prepared_from("fashion-mnist", shared_data, split=OFFICIAL, duplicates="allow")


def test_the_real_fashion_mnist_is_whole(fashion: Prepared) -> None:
    assert fashion.image_shape == (1, 28, 28)
    assert fashion.outputs[9] == "Ankle boot"
    assert fashion.totals == (48000, 12000, 10000)
    assert set(fashion.counts) == {(4800, 1200, 1000)}


def test_the_real_fashion_mnist_has_the_brightness_that_everyone_reports(
    fashion: Prepared,
) -> None:
    data = load_search_data(fashion.folder)
    assert data.mean[0] / 255 == pytest.approx(0.2860, abs=0.001)
    assert data.std[0] / 255 == pytest.approx(0.3530, abs=0.001)


def test_no_image_of_the_real_fashion_mnist_stands_in_two_splits(fashion: Prepared) -> None:
    data, sealed = load_search_data(fashion.folder), open_sealed(fashion.folder)
    parts = (data.train, data.test, sealed)
    hashes = [{hash(image.tobytes()) for image in part.images} for part in parts]
    assert sum(len(found) for found in hashes) == len(set().union(*hashes)) == 70000


def test_every_set_of_the_mnist_kind_is_tried_here() -> None:
    assert set(IDX_PARTS) == {name for name, published in PUBLISHED.items() if published.idx}
