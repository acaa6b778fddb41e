"""A folder of class folders with images of any size and mode."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.decoding import decode_files
from hpsearch.data.sources.files import (
    FileKind,
    Listing,
    folder_listing,
    stamp_of,
)
from hpsearch.data.sources.resize import square
from hpsearch.study.data import Data

GREY_MODES = frozenset({"1", "L", "I;16", "I;16B", "I;16L", "I"})
# What Pillow raises for files that are no images, or broken ones: AVIF and DDS raise RuntimeError,
# damaged EXIF struct.error.
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)


def _listing(data: Data, root: Path | None) -> Listing:
    kind = FileKind("image", "IMAGE.jpg", Image.registered_extensions().keys())
    return folder_listing(data, root, kind)


def stamp(data: Data, root: Path | None) -> str:
    return stamp_of(_listing(data, root).paths, root)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.mode in GREY_MODES
    except BROKEN:
        return True  # broken: it has no say, and is reported when it is decoded


def decode_image(
    file: Path | BinaryIO, size: int, grey: bool
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Return one image file as `(size, size, 1 or 3)` in uint8; raises OSError where it is broken.

    Turned as its EXIF orientation says; transparency lies on white; 16-bit grey loses its lower
    8 bits; the centre square is kept.
    """
    with Image.open(file) as opened:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the wanted size keeps quality.
        opened.draft(None, (2 * size, 2 * size))
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            wide = np.asarray(picture).astype(np.int64)
            picture = Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8))
        if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        picture = square(picture.convert("L" if grey else "RGB"), size)
        return np.asarray(picture).reshape(size, size, 1 if grey else 3)


def decode_images(listing: Listing, data: Data, scratch: Path, progress: Progress) -> Decoded:
    """Return all images of a listing as squares; grey where every one of them is."""
    size = data.image_size
    assert size is not None
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        grey = all(pool.map(_is_grey, listing.paths))
    shape = (len(listing.paths), size, size, 1 if grey else 3)
    images = allocated(scratch / "decoded.npy", shape)
    return decode_files(
        listing,
        data,
        images,
        lambda file: decode_image(file, size, grey),
        BROKEN,
        "image",
        progress,
    )


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    return decode_images(_listing(data, root), data, scratch, progress)


SOURCE = Source(stamp, decode)
