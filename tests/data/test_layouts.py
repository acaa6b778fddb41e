"""Data sets as they are published: small true copies, and what of them is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_data import noise
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import DataError
from hpsearch.study.data import Data


def everything(prepared: Prepared) -> dict[bytes, Any]:
    """Return the target of every image of all three splits by its pixels."""
    data = load_search_data(prepared.folder)
    found = {}
    for part in (data.train, data.test, open_sealed(prepared.folder)):
        for image, target in zip(part.images, part.targets.tolist(), strict=True):
            found[image.tobytes()] = target
    return found


def by_pixels(images: NDArray[np.uint8], targets: Any) -> dict[bytes, Any]:
    return {image.tobytes(): target for image, target in zip(images, targets, strict=True)}


@pytest.mark.parametrize("names", ["pixel{}", "{}", "0.{}"])
def test_a_column_for_each_pixel_as_kaggle_has_mnist(tmp_path: Path, names: str) -> None:
    images, labels = noise(40, 9, 9), np.arange(40) % 2
    frame = pd.DataFrame(images.reshape(40, -1), columns=[names.format(i) for i in range(81)])
    frame.insert(0, "label", labels)
    frame.to_csv(tmp_path / "train.csv", index=False)
    prepared = prepare(Data(source="table", root=str(tmp_path / "train.csv"), image_size=9))
    assert prepared.image_shape == (1, 9, 9) and prepared.outputs == ("0", "1")
    assert everything(prepared) == by_pixels(images, labels)
    assert prepared.account.decided[0] == "pictures: 9 x 9, of 81 pixels in a row"


def test_red_green_and_blue_of_each_pixel_may_stand_together(tmp_path: Path) -> None:
    images, labels = noise(40, 8, 8, 3), np.arange(40) % 2
    frame = pd.DataFrame(images.reshape(40, -1), columns=[f"pixel{i:04}" for i in range(192)])
    frame.assign(label=labels).to_csv(tmp_path / "hmnist_8_8_RGB.csv", index=False)
    root = str(tmp_path / "hmnist_8_8_RGB.csv")
    prepared = prepare(Data(source="table", root=root, image_size=8))
    assert prepared.image_shape == (3, 8, 8)
    assert everything(prepared) == by_pixels(images, labels)


def test_a_column_of_numbers_and_its_usage_as_fer2013_has_them(tmp_path: Path) -> None:
    images, labels = noise(60, 8, 8), np.arange(60) % 3
    usage = np.repeat(["Training", "PublicTest", "PrivateTest"], [36, 12, 12])
    rows = [" ".join(map(str, image.ravel())) for image in images]
    frame = pd.DataFrame({"emotion": labels, "pixels": rows, "Usage": usage})
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    data = Data(
        source="table", root=str(tmp_path / "fer2013.csv"), image_size=8, target=("emotion",),
        split={"column": "Usage"},
    )  # fmt: skip
    prepared = prepare(data)
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == by_pixels(images, labels)
    sealed = open_sealed(prepared.folder)
    assert by_pixels(sealed.images, sealed.targets) == by_pixels(images[48:], labels[48:])
    frame.loc[3, "pixels"] = "1 2 3"
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    with pytest.raises(DataError, match="holds 64 numbers in row 1 and 3 in row 4"):
        prepare(data)


@pytest.mark.parametrize("names", ["{part}_images {part}_labels", "x_{part} y_{part}"])
def test_parts_of_an_npz_as_medmnist_and_keras_have_them(tmp_path: Path, names: str) -> None:
    """MedMNIST: `train_images` ... of 28 x 28, and labels `(N, 1)`."""
    images, labels = noise(60, 8, 8), np.arange(60)[:, None] % 3
    parts = {"train": slice(0, 36), "val": slice(36, 48), "test": slice(48, 60)}
    arrays = {}
    for part, rows in parts.items():
        of_images, of_labels = names.format(part=part).split()
        arrays |= {of_images: images[rows], of_labels: labels[rows]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    prepared = prepare(Data(source="arrays", root=str(tmp_path / "mnist.npz")))
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == by_pixels(images, labels[:, 0])
    sealed = open_sealed(prepared.folder)
    assert by_pixels(sealed.images, sealed.targets) == by_pixels(images[48:], labels[48:, 0])
    assert "test (selects) = their 'val' (12)" in " ".join(prepared.account.decided)
