"""A contact sheet: pictures in a grid with their captions, as one PNG for people to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hpsearch.study.names import plain

SIDE = 128  # pixels of the longer side of a picture on the sheet, as near as whole factors allow
SHORTEST = 24  # a signal is one pixel high
TEXT_COLUMNS, TEXT_LINES = 40, 6
GAP = 12
FONT_SIZE = 12
LINE_HEIGHT = 16
SHEET_WIDTH = 1200
MOST = 60  # tiles of one sheet
PAPER, INK, FAINT = "white", "black", "#c8c8c8"


@dataclass(frozen=True)
class Tile:
    """One place of a sheet: images `(height, width, channels)`, or texts, and lines below them."""

    images: tuple[NDArray[np.uint8] | str, ...]
    caption: tuple[str, ...]


def write_contact_sheet(path: Path, title: str, tiles: Sequence[Tile], most: int = MOST) -> None:
    """Write the first `most` tiles as a PNG; the title says how many there are in all.

    Tiny images are enlarged by a whole factor, so that each of their pixels can be seen; large
    ones are made smaller. Images of one channel are grey, of three are red, green and blue; of
    others the mean is shown.
    """
    shown = [(_strip(tile.images), tile.caption) for tile in tiles[:most]]
    if len(tiles) > most:
        title = f"{title} (the first {most} of {len(tiles):,})"
    title = plain(title)
    font = ImageFont.load_default(FONT_SIZE)
    width = max((strip.width for strip, _ in shown), default=SIDE)
    height = max((strip.height for strip, _ in shown), default=0)
    lines = max((len(caption) for _, caption in shown), default=0)
    step = (width + GAP, height + lines * LINE_HEIGHT + GAP)
    columns = max(1, (SHEET_WIDTH - GAP) // step[0])
    rows = -(-len(shown) // columns)
    top = GAP + LINE_HEIGHT + GAP
    title_width = round(font.getlength(title)) + 2 * GAP
    size = (max(title_width, GAP + min(columns, len(shown)) * step[0]), top + rows * step[1])
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, INK, font)
    for i, (strip, caption) in enumerate(shown):
        left, above = GAP + i % columns * step[0], top + i // columns * step[1]
        sheet.paste(strip, (left, above))
        for j, line in enumerate(caption):
            below = above + height + j * LINE_HEIGHT
            draw.text((left, below), _fitting(plain(line), font, width), INK, font)
    sheet.save(path)


def _strip(images: Sequence[NDArray[np.uint8] | str]) -> Image.Image:
    """Return pictures side by side, with a line around each, because many have a white margin."""
    pictures = [_picture(image) for image in images]
    width = sum(p.width + 2 for p in pictures) + GAP // 2 * (len(pictures) - 1)
    strip = Image.new("RGB", (width, max(p.height for p in pictures) + 2), PAPER)
    left = 0
    for picture in pictures:
        strip.paste(FAINT, (left, 0, left + picture.width + 2, picture.height + 2))
        strip.paste(picture, (left + 1, 1))
        left += picture.width + 2 + GAP // 2
    return strip


def _written(text: str) -> Image.Image:
    """Return a text in lines; of a long one its beginning."""
    wrapped = textwrap.wrap(plain(text), TEXT_COLUMNS, max_lines=TEXT_LINES, placeholder=" ...")
    font = ImageFont.load_default(FONT_SIZE)
    lines = wrapped or ["(no character of the alphabet)"]
    width = max(round(font.getlength(line)) for line in lines)
    picture = Image.new("RGB", (width + GAP, len(lines) * LINE_HEIGHT + GAP // 2), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((GAP // 2, GAP // 4 + number * LINE_HEIGHT), line, INK, font)
    return picture


def _picture(shown: NDArray[np.uint8] | str) -> Image.Image:
    if isinstance(shown, str):
        return _written(shown)
    image = shown
    channels = image.shape[2]
    if channels not in (1, 3):
        image = image.mean(axis=2, keepdims=True).round().astype(np.uint8)
    picture = Image.fromarray(image if channels == 3 else image[:, :, 0]).convert("RGB")
    longer = max(picture.size)
    if longer > 2 * SIDE:
        picture.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.BOX)
    factor = max(1, SIDE // longer)
    width, height = picture.width * factor, picture.height * factor
    return picture.resize((max(width, SHORTEST), max(height, SHORTEST)), Image.Resampling.NEAREST)


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a line, its start left out where it is too long: names differ in their ends."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"...{line}") > width:
        line = line[1:]
    return f"...{line}"
