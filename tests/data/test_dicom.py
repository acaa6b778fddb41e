"""DICOM: values in the units that the file says, negatives turned over, frames as pages.

Read by pydicom 3.0; what is written here are its own objects.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.sources import folder
from hpsearch.data.sources.decoded import Decoded
from hpsearch.errors import DataError
from hpsearch.study.data import Data

pydicom = pytest.importorskip("pydicom")

SIDE = 8


def write(path: Path, values: NDArray[Any], **tags: Any) -> None:
    """Write a file of explicit little endian; `values` `([frames,] SIDE, SIDE[, 3])`."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    colours = values.shape[-1] == 3
    found.Rows, found.Columns = SIDE, SIDE
    found.SamplesPerPixel = 3 if colours else 1
    found.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        found.PlanarConfiguration = 0
    bits = 8 * values.dtype.itemsize
    found.BitsAllocated, found.BitsStored, found.HighBit = bits, bits, bits - 1
    found.PixelRepresentation = int(values.dtype.kind == "i")
    if not colours and values.ndim == 3:
        found.NumberOfFrames = len(values)
    for name, value in tags.items():
        setattr(found, name, value)
    found.PixelData = values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)


def read(root: Path, **options: Any) -> Decoded:
    data = Data.model_validate(
        {"source": "folder", "root": str(root), "image_size": SIDE} | options
    )
    return folder.decode(data, root, root.parent, lambda done, of: None)


def values_of(low: int, high: int, kind: str = "int16", seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(low, high + 1, (SIDE, SIDE))
    values[0, 0], values[1, 1] = low, high
    return values.astype(kind)


def scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_two_devices_with_different_scales_come_in_the_same_units(root: Path) -> None:
    units = values_of(-1000, 3000)
    write(root / "a" / "one.dcm", units + 1024, RescaleSlope="1", RescaleIntercept="-1024")
    write(root / "b" / "two.dcm", units, RescaleSlope="1", RescaleIntercept="0")
    found = read(root)
    assert found.images.shape == (2, SIDE, SIDE, 1)
    assert np.array_equal(found.images[0], found.images[1])
    assert np.abs(found.images[0, ..., 0] - scaled(units, -1000, 3000)).max() <= 0.5
    window = read(root, pictures={"range": [-160, 240]})
    assert np.abs(window.images[1, ..., 0] - scaled(units, -160, 240)).max() <= 0.5


def test_a_scale_may_be_a_fraction(root: Path) -> None:
    for name in "ab":
        write(root / name / "x.dcm", values_of(0, 4000), RescaleSlope="0.5", RescaleIntercept="1.5")
    found = read(root, pictures={"range": [0, 1000]})
    assert (
        np.abs(found.images[0, ..., 0] - scaled(values_of(0, 4000) * 0.5 + 1.5, 0, 1000)).max() < 1
    )


@pytest.mark.parametrize(("kind", "high"), [("uint16", 4095), ("uint8", 255)])
def test_monochrome_1_is_a_negative(root: Path, kind: str, high: int) -> None:
    values = values_of(0, high, kind)
    write(root / "a" / "plain.dcm", values)
    write(root / "b" / "negative.dcm", values, PhotometricInterpretation="MONOCHROME1")
    found = read(root).images
    assert np.abs(found[0, ..., 0] - scaled(values, 0, high)).max() <= 0.5
    assert np.array_equal(found[1], 255 - found[0])


def test_colours_and_frames_are_read(root: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for name in "ab":
        write(root / name / "x.dcm", colours)
    assert np.array_equal(read(root).images[0], colours)
    frames = np.stack([values_of(0, 4095, "uint16", seed) for seed in range(3)])
    for name in "ab":
        write(root / name / "x.dcm", frames)
    found = read(root, pictures={"pages": "all"}).images
    assert found.shape == (6, SIDE, SIDE, 1)
    assert np.abs(found[4, ..., 0] - scaled(frames[1], 0, 4095)).max() <= 0.5


def test_padding_is_as_dark_as_the_darkest_of_the_rest(root: Path) -> None:
    values = values_of(-1000, 3000)
    values[:2] = -2000
    values[3, 3], values[4, 4] = -1000, 3000
    for name in "ab":
        write(root / name / "x.dcm", values, PixelPaddingValue=-2000)
    found = read(root)
    assert found.account is not None and "-1000 to 3000" in " ".join(found.account.decided)
    assert not found.images[0, :2].any()


def test_without_pydicom_a_dicom_file_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a" / "x.dcm", values_of(0, 9))
    (root / "b").mkdir()
    Image.new("L", (SIDE, SIDE)).save(root / "b" / "y.png")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"hpsearch\[dicom\]"):
        read(root)
