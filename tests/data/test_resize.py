"""Fits: what of a picture is kept, and where it lies, in squares and in other shapes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, scenes
from PIL import Image, ImageOps

from hpsearch.data.sources import arrays, digits
from hpsearch.data.sources.pictures import Reading
from hpsearch.data.sources.resize import fitted, resized, share_cut
from hpsearch.data.sources.shapes import crop_finding, shape_words
from hpsearch.study.data import Data, Fit

BILINEAR = Image.Resampling.BILINEAR
SIZES = [(8, 8), (16, 40), (40, 16), (31, 17)]  # (height, width)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", [(20, 20), (16, 64), (64, 16), (37, 53)], ids=str)
def test_fits_are_those_of_pillow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = Image.fromarray(noise(1, *shape, 3)[0])
    wanted = {
        "crop": ImageOps.fit(picture, size[::-1], BILINEAR),
        "squeeze": picture.resize(size[::-1], BILINEAR),
        "pad": ImageOps.pad(picture, size[::-1], BILINEAR),
    }
    fits: tuple[Fit, ...] = ("crop", "squeeze", "pad")
    for fit in fits:
        found = np.asarray(fitted(picture, size, fit)).astype(int)
        assert found.shape == (*size, 3)
        # A border that is rounded the other way moves a padded picture by a pixel.
        if fit != "pad" or np.allclose(shape[0] / shape[1], size[0] / size[1]):
            assert np.abs(found - np.asarray(wanted[fit])).max() <= 1, fit


def test_a_padded_picture_lies_whole_in_the_middle_of_black() -> None:
    picture = Image.fromarray(np.full((16, 64), 200, np.uint8))
    found = np.asarray(fitted(picture, (32, 32), "pad"))
    assert (found[12:20] == 200).all()
    assert not found[:12].any() and not found[20:].any()


def test_ends_of_a_long_picture_are_kept_by_all_fits_but_crop() -> None:
    pixels = np.zeros((16, 64), np.uint8)
    pixels[:, :8] = 255
    picture = Image.fromarray(pixels)
    assert not np.asarray(fitted(picture, (16, 16), "crop")).any()
    assert np.asarray(fitted(picture, (16, 16), "squeeze"))[:, 0].min() == 255
    assert np.asarray(fitted(picture, (16, 16), "pad"))[6:10, 0].min() == 255
    assert np.array_equal(np.asarray(fitted(picture, (16, 64), "crop")), pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_arrays_are_brought_to_a_height_and_a_width(channels: int) -> None:
    images = noise(3, 10, 30, channels)
    for fit in ("crop", "pad", "squeeze"):
        data = Data.model_validate(
            {"source": "arrays", "root": "x", "image_size": [12, 24], "fit": fit}
        )
        found = resized(images, data)
        assert found.shape == (3, 12, 24, channels)
        for i in range(3):
            for channel in range(channels):
                alone = fitted(Image.fromarray(images[i, ..., channel].copy()), (12, 24), data.fit)
                assert np.array_equal(found[i, ..., channel], np.asarray(alone))


def test_every_source_of_pictures_takes_a_shape_and_a_fit(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=noise(60, 10, 20), targets=np.arange(60) % 2)
    options: dict[str, Any] = {"image_size": [8, 24], "fit": "pad"}
    data = Data.model_validate({"source": "arrays", "root": str(path)} | options)
    found = arrays.decode(data, path, tmp_path, lambda done, of: None)
    assert found.images.shape == (60, 8, 24, 1)
    assert not found.images[:, :, :4].any() and not found.images[:, :, 20:].any()
    told = digits.decode(
        Data.model_validate({"source": "digits"} | options), None, tmp_path, lambda done, of: None
    )
    assert told.images.shape == (1797, 8, 24, 1)
    assert not told.images[:, :, :8].any() and told.images[:, :, 8:16].std() > 50


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "pad", "squeeze"])
@pytest.mark.parametrize("decode", ["fast", "full"])
def test_a_turned_photo_fills_a_shape_that_is_no_square(
    orientation: int, fit: Fit, decode: str
) -> None:
    upright = Image.fromarray(scenes(1, 240, 320, 3)[0])
    back = {5: 5, 6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = back
    stored = ImageOps.exif_transpose(_with(upright, exif)) if back != 1 else upright
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "JPEG", quality=95, exif=exif)
    file.seek(0)
    found = Reading((48, 96), False, fit, fast=decode == "fast")(file)
    wanted = np.asarray(fitted(upright, (48, 96), fit))
    assert np.abs(found.astype(int) - wanted).mean() < 4


def _with(picture: Image.Image, exif: Image.Exif) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    return Image.open(file)


def test_what_crop_cuts_is_counted_and_much_of_many_is_a_finding() -> None:
    assert share_cut((64, 16), (16, 16)) == pytest.approx(0.75)
    assert share_cut((16, 64), (16, 16)) == pytest.approx(0.75)
    assert share_cut((500, 375), (64, 64)) == pytest.approx(0.25)
    assert share_cut((500, 375), (48, 64)) == pytest.approx(0)
    long, square = [(64, 16)], [(20, 20)]
    finding = crop_finding(long * 3 + square * 7, (16, 16), "crop")
    assert finding is not None and finding.images == 3
    assert finding.says.startswith("3 of 10 pictures lose more than a fifth of their pixels")
    assert "the most 75%" in finding.says
    assert crop_finding(long * 3 + square * 7, (16, 16), "pad") is None
    assert crop_finding(long + square * 30, (16, 16), "crop") is None, "one of many is no finding"
    assert crop_finding([(22, 20)] * 10, (16, 16), "crop") is None, "nor a little of each"


def test_what_a_fit_does_is_said_where_a_picture_has_another_shape() -> None:
    sizes = [(64, 16), (20, 20)]
    (said,) = shape_words(sizes, (16, 16), "crop")
    assert "1 of 2 pictures are not square: what lies beyond their centre is cut off, 75%" in said
    assert "black bars" in shape_words(sizes, (16, 16), "pad")[0]
    assert "different factors" in shape_words(sizes, (16, 16), "squeeze")[0]
    assert shape_words([(20, 20)], (16, 16), "crop") == ()
    assert "not 16:64" in shape_words(sizes, (16, 64), "pad")[0]
