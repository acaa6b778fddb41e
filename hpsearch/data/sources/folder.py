"""A folder of class folders with images of any size and mode."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from hpsearch.data.sources.decode_pictures import decode_images
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.files import FileKind, Listing, folder_listing, stamp_of
from hpsearch.study.data import Data


def _listing(data: Data, root: Path | None) -> Listing:
    kind = FileKind("image", "IMAGE.jpg", Image.registered_extensions().keys())
    return folder_listing(data, root, kind)


def stamp(data: Data, root: Path | None) -> str:
    return stamp_of(_listing(data, root).paths, root)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    return decode_images(_listing(data, root), data, scratch, progress)


SOURCE = Source(stamp, decode)
