"""A folder of class folders with images of any size and mode."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from hpsearch.data.sources.decode_pictures import decode_images
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.files import FileKind, Listing, folder_listing, listing_of, stamp_of
from hpsearch.data.sources.pictures import BROKEN
from hpsearch.study.data import Data

STUBS = frozenset({"BUFR", "GRIB", "HDF5", "MPEG"})  # that Pillow names, and does not read


def _listing(data: Data, root: Path | None) -> Listing:
    return listing_of(data, root, _one_listing)


def _one_listing(data: Data, root: Path) -> Listing:
    endings = Image.registered_extensions()  # loads what Pillow can read, and what it writes alone
    known = {end for end, name in endings.items() if name in Image.OPEN and name not in STUBS}
    return folder_listing(data, root, FileKind("image", "IMAGE.jpg", known, is_picture))


def is_picture(path: Path) -> bool:
    """Whether a file begins as pictures do, and Pillow knows what it is."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        for _, accepts in Image.OPEN.values():
            if accepts is not None and accepts(head) is True:
                with Image.open(path) as opened:
                    return opened.format not in STUBS
    except BROKEN:
        return False
    return False


def stamp(data: Data, root: Path | None) -> str:
    return stamp_of(_listing(data, root), root)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    return decode_images(_listing(data, root), data, scratch, progress)


SOURCE = Source(stamp, decode)
