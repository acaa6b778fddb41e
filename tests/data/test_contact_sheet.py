"""Contact sheets: every picture is on them, large enough, and their number is capped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_data import noise
from PIL import Image, ImageDraw, ImageFont

from hpsearch.data.contact_sheet import Tile, write_contact_sheet


def tiles(count: int, *shape: int) -> list[Tile]:
    images = noise(count, *shape)
    return [Tile((image, image), (f"image {i}", "a second line")) for i, image in enumerate(images)]


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        return np.asarray(sheet)


def test_each_pixel_of_a_tiny_image_becomes_a_square_of_that_colour(tmp_path: Path) -> None:
    image = noise(1, 8, 8, 3)[0]
    write_contact_sheet(tmp_path / "sheet.png", "One", [Tile((image,), ("caption",))])
    enlarged = image.repeat(16, axis=0).repeat(16, axis=1)
    sheet = pixels(tmp_path / "sheet.png")
    places = np.argwhere((sheet == enlarged[0, 0]).all(axis=2))
    shown = [
        (row, column)
        for row, column in places
        if np.array_equal(sheet[row : row + 128, column : column + 128], enlarged)
    ]
    assert len(shown) == 1


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (28, 28, 1), (1, 256, 1), (64, 300, 1), (500, 20, 3), (12, 12, 5)]
)
def test_any_shape_fits_on_a_sheet_for_a_screen(shape: tuple[int, ...], tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "sheet.png", "Many", tiles(9, *shape))
    height, width, _ = pixels(tmp_path / "sheet.png").shape
    assert 100 < width <= 1200
    assert 24 < height <= 3000


def test_a_text_is_written_not_drawn_as_a_bar(tmp_path: Path) -> None:
    path, text = tmp_path / "sheet.png", "the cat sat on the mat and " * 4
    write_contact_sheet(path, "Texts", [Tile((text, "dog"), ("row 1",))])
    sheet = pixels(path)
    line = np.asarray(drawn(text[:38].rstrip()))
    places = [
        (row, column)
        for row in range(40, sheet.shape[0] - line.shape[0])
        for column in range(10, 24)
        if np.array_equal(sheet[row : row + line.shape[0], column : column + line.shape[1]], line)
    ]
    assert len(places) == 1
    assert sheet.shape[1] < 600, "a long text stands in lines"


def drawn(line: str) -> Image.Image:
    font = ImageFont.load_default(12)
    picture = Image.new("RGB", (200, 16), "white")
    ImageDraw.Draw(picture).text((0, 0), line, "black", font)
    return picture.crop((0, 3, 120, 14))


def test_a_text_of_nothing_that_is_known_is_drawn_too(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "sheet.png", "Texts", [Tile(("", "\x1b[31m"), ("row 1",))])
    assert pixels(tmp_path / "sheet.png").shape[0] > 40


def test_more_tiles_than_the_most_make_no_larger_sheet(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "some.png", "Some", tiles(10, 28, 28, 1), most=10)
    write_contact_sheet(tmp_path / "many.png", "Some", tiles(500, 28, 28, 1), most=10)
    some, many = pixels(tmp_path / "some.png"), pixels(tmp_path / "many.png")
    assert some.shape == many.shape
    assert (some[:30] != many[:30]).any(), "the title says how many there are"
    assert np.array_equal(some[40:], many[40:])


def test_a_caption_never_runs_into_the_next_picture(tmp_path: Path) -> None:
    image = np.full((28, 28, 1), 128, np.uint8)
    names = ("x" * 300, "é漢" * 40)
    write_contact_sheet(tmp_path / "sheet.png", "Long", [Tile((image,), names)] * 2)
    sheet = pixels(tmp_path / "sheet.png")
    dark = np.flatnonzero((sheet[180:] < 200).all(axis=2).any(axis=0))
    first = 12 + 28 * 4 + 2
    assert not ((dark > first) & (dark < first + 11)).any()
