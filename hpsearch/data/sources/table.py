"""A CSV that names image files, and what is to be learned of each."""

from __future__ import annotations

from pathlib import Path

from hpsearch.data.sources.arrays import decode_columns
from hpsearch.data.sources.decode_pictures import decode_images
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.files import Listing, file_stamp, stamp_of, table_listing
from hpsearch.data.sources.pixel_table import is_pixel_table, pixel_columns
from hpsearch.study.data import Data


def _listing(data: Data, root: Path | None) -> Listing:
    assert root is not None
    return table_listing(data, root, "image")


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    if is_pixel_table(root, data):
        return f"{root.resolve()} {file_stamp(root)}"
    return stamp_of(_listing(data, root), root)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    assert root is not None
    pixels = pixel_columns(root, data)
    if pixels is not None:
        return decode_columns(pixels, data, root, scratch, progress)
    return decode_images(_listing(data, root), data, scratch, progress)


SOURCE = Source(stamp, decode)
