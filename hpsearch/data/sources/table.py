"""A table that names image files, or holds them, and what is to be learned of each."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpsearch.data.sources.arrays import decode_columns
from hpsearch.data.sources.decode_pictures import decode_images
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.files import (
    UNPACKED,
    Listing,
    file_stamp,
    listing_of,
    stamp_of,
    table_listing,
)
from hpsearch.data.sources.pixel_table import is_pixel_table, pixel_columns
from hpsearch.data.sources.stacked import stacked
from hpsearch.data.sources.tables import PACKED, fill_words, filled, read_tables
from hpsearch.study.data import Data


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    if data.roots is None and is_pixel_table(root, data):
        return f"{root.resolve()} {file_stamp(root)}"
    roots = [root] if data.roots is None else [Path(place) for place in data.roots.places()]
    packed = [path for place in roots for path in (place, *sorted(place.rglob("*")))]
    packed = [path for path in packed if path.suffix in PACKED]
    if packed:
        return "\n".join(f"{path.resolve()} {file_stamp(path)}" for path in packed)
    known = filled(read_tables(root, data).columns, data)
    return stamp_of(_listing(known, root, None), root)


def _listing(data: Data, root: Path, scratch: Path | None) -> Listing:
    def one(of_part: Data, place: Path) -> Listing:
        return table_listing(of_part, place, "image", scratch)

    return listing_of(data, root, one)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    assert root is not None
    pixels = None if data.roots is not None else pixel_columns(root, data)
    if pixels is not None:
        images = stacked([pixels.of(data.input_name(), "input")])
        return decode_columns(pixels, images, data, scratch, progress)
    known = filled(read_tables(root, data).columns, data)
    listing = _listing(known, root, scratch)
    try:
        return decode_images(listing, known, scratch, progress).deciding(*fill_words(data, known))
    finally:
        shutil.rmtree(scratch / UNPACKED, ignore_errors=True)


SOURCE = Source(stamp, decode)
