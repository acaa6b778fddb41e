"""One file of a picture, of whatever format, mode and depth, as grey levels of one size and fit."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from hpsearch.data.sources.decoded import Example
from hpsearch.data.sources.dicom import NEGATIVE, register
from hpsearch.data.sources.levels import FULL_16_BITS, WHITE, Range, as_levels
from hpsearch.data.sources.png import colours_of_16_bits, is_interlaced
from hpsearch.data.sources.resize import Extent, Size, Span, fitted, span_of, turned_span
from hpsearch.study.data import Fit

GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"})
SEE_THROUGH_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
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
TURNS = {  # by the number of EXIF's orientation: how what is stored becomes what was seen
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112
# Tags of TIFF 6.0, and values of them.
BITS, PHOTOMETRIC, PLANES, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 284, 338, 339
MIN_IS_WHITE, APART, UNSIGNED, SIGNED = 0, 2, 1, 2
CODESTREAM = b"\xff\x4f\xff\x51"  # where the head of JPEG 2000 begins, of ISO/IEC 15444-1, A.4
DEPTH_BYTE = 42  # of it: whether numbers are signed, and their bits less one

register()  # DICOM, as one more format of Pillow

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Deep:
    """A picture of more than 8 bits: values `(height, width, 1 or 3)` as they stand in its file.

    `opaque` `(height, width)` is 0 where one looks through it and 1 where not, None throughout 1.
    `negative` says that its low values are white.
    """

    values: NDArray[Any]
    opaque: NDArray[np.float64] | None = None
    negative: bool = False

    def extremes(self) -> tuple[float, float] | None:
        """Return the least and the greatest value that can be seen, None where none can."""
        seen = self.values if self.opaque is None else self.values[self.opaque > 0]
        return (float(seen.min()), float(seen.max())) if seen.size else None

    def picture(self, black_white: Range) -> Image.Image:
        """Return it in grey levels, what is transparent on white."""
        levels = as_levels(self.values, black_white)
        if self.negative:
            levels = WHITE - levels
        if self.opaque is not None:
            shown = self.opaque[..., None]
            levels = np.rint(levels * shown + WHITE * (1 - shown)).astype(np.uint8)
        return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


@dataclass(frozen=True)
class Reading:
    """How every picture of a data set is decoded, decided once for all of them.

    `size` is (height, width). `deep` are the values that become black and white of pictures with
    more than 8 bits, `shallow` those of others, None where their levels stay. Of JPEG files that
    are far larger than `size`, `fast` decodes a fraction. Where `channels` is above 0, a file has
    so many pages, and each is a channel.
    """

    size: Size
    grey: bool
    fit: Fit = "crop"
    deep: Range = FULL_16_BITS
    shallow: Range | None = None
    fast: bool = True
    channels: int = 0

    def __call__(self, file: Path | BinaryIO, page: int = 0) -> Pixels:
        """Return one image `(height, width, 1, 3 or channels)`; one of `BROKEN` if it is none."""
        return self.example(file, page).image

    def example(self, file: Path | BinaryIO, page: int = 0) -> Example:
        """Return the same with where it is no padding: of pages, around what any of them shows."""
        with Image.open(file) as opened:
            if not self.channels:
                found = [self._page(opened, file, page)]
            else:
                pages = getattr(opened, "n_frames", 1)
                if pages != self.channels:
                    raise ValueError(f"has {pages} page(s), and others have {self.channels}")
                found = [self._page(opened, file, number) for number in range(pages)]
        image = found[0][0] if len(found) == 1 else np.concatenate([one for one, _ in found], 2)
        tops, bottoms, lefts, rights = zip(*(span for _, span in found), strict=True)
        span = (min(tops), max(bottoms), min(lefts), max(rights))
        whole = (0, self.size[0], 0, self.size[1])
        return Example(image, content=None if span == whole else span)

    def _page(self, opened: Image.Image, file: Path | BinaryIO, page: int) -> tuple[Pixels, Span]:
        if page:
            opened.seek(page)
        extent: Extent | None = None
        if self.fast and opened.format == "JPEG" and opened.mode in ("L", "RGB"):
            extent = self._reduced(opened)
        deep = deep_of(opened, file)
        opened.load()  # it turns TIFF and AVIF, and leaves no orientation then
        turn = _turn(opened)
        picture = self._shallow(opened) if deep is None else deep.picture(self.deep)
        height, width = self.size
        lies = turn in (TURNS[5], TURNS[6], TURNS[7], TURNS[8])
        mode = "L" if self.grey else "RGB"
        picture = picture if picture.mode == mode else picture.convert(mode)
        size = (width, height) if lies else (height, width)
        span = span_of(extent or picture.size, size, self.fit)
        picture = fitted(picture, size, self.fit, extent)
        if turn is not None:
            picture = picture.transpose(turn)
        pixels = np.asarray(picture).reshape(height, width, 1 if self.grey else 3)
        return pixels, turned_span(span, size, turn)

    def _reduced(self, opened: Image.Image) -> Extent | None:
        """Let libjpeg decode 1/2, 1/4 or 1/8, no less than `size`; return where the picture ends.

        A picture of 375 lines has 93.75 at a quarter, and libjpeg pads the last one. To scale 94
        would move all of it: from 1.3 levels beside whole decoding to 3.2 on average.
        """
        least = max(self.size)  # of either side: it may be turned
        drafted = opened.draft(None, (least, least))
        return None if drafted is None else (drafted[1][2], drafted[1][3])

    def _shallow(self, opened: Image.Image) -> Image.Image:
        """Return a picture of 8 bits in L, RGB or a mode that converts, on white."""
        if lacks_transparency(opened):
            picture = opened.convert("RGB")
        elif "transparency" in opened.info or opened.mode in SEE_THROUGH_MODES:
            straight = {"La": "LA", "RGBa": "RGBA"}.get(opened.mode)
            picture = (opened.convert(straight) if straight else opened).convert("RGBA")
        else:
            picture = opened
        if self.shallow is not None:
            values = np.arange(256.0)
            if is_halved(opened):  # the range is in numbers of the file: the middle of 256 of them
                values = values * 256 + 127.5
            table = as_levels(values, self.shallow).tolist()
            if picture.mode == "RGBA":
                picture = picture.point(table * 3 + list(range(256)))
            else:
                colours = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
                picture = colours.point(table * len(colours.getbands()))
        if picture.mode == "RGBA":
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        return picture


def _turn(opened: Image.Image) -> Image.Transpose | None:
    """Return how a picture has to be turned; of a JPEG without EXIF and XMP nothing is searched."""
    if opened.format == "JPEG" and not opened.info.keys() & {"exif", "xmp"}:
        return None
    return TURNS.get(opened.getexif().get(ORIENTATION, 1))


def decode_image(file: Path | BinaryIO, size: int, grey: bool) -> Pixels:
    """Return one image file as `(size, size, 1 or 3)` in uint8; one of `BROKEN` where it is none.

    Turned as its EXIF orientation says; transparency lies on white; 16-bit values are scaled from
    their whole range; the centre square is kept.
    """
    return Reading((size, size), grey)(file)


def is_deep(opened: Image.Image) -> bool:
    """Whether a picture, not loaded yet, has values of more than 8 bits that can be read."""
    return opened.mode.startswith("I") or opened.mode == "F" or _is_deep_png(opened)


def _is_deep_png(opened: Image.Image) -> bool:
    """Whether a PNG has colours of 16 bits, of which Pillow keeps 8."""
    is_grey_alone = opened.mode.startswith("I")
    return opened.format == "PNG" and not is_grey_alone and _raw_mode(opened).endswith(";16B")


def _raw_mode(opened: Image.Image) -> str:
    """Return how a picture's pixels stand in its file, in Pillow's words."""
    tiles = getattr(opened, "tile", [])
    arguments = tiles[0].args if tiles else ""
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def is_grey(opened: Image.Image) -> bool:
    """Whether a picture is grey by its mode, whatever its pixels are; LA of 16 bits is RGBA."""
    return opened.mode in GREY_MODES or _raw_mode(opened) == "LA;16B"


def lacks_transparency(opened: Image.Image) -> bool:
    """Whether a TIFF has a fourth band that it does not call transparency, as near infrared is."""
    return (
        isinstance(opened, TiffImagePlugin.TiffImageFile)
        and opened.mode == "RGBA"
        and not opened.tag_v2.get(EXTRA_SAMPLES)
    )


def deep_of(opened: Image.Image, file: Path | BinaryIO) -> Deep | None:
    """Return the values of a picture of more than 8 bits, None for others.

    Raises ValueError where values are no numbers, or where Pillow would misread them.
    """
    if _is_deep_png(opened):
        return _deep_png(opened, file)
    if not is_deep(opened):
        _refuse_misread(opened)
        return None
    key = opened.info.get("transparency")
    negative = bool(opened.info.get(NEGATIVE)) or (
        isinstance(opened, TiffImagePlugin.TiffImageFile)
        and opened.tag_v2.get(PHOTOMETRIC) == MIN_IS_WHITE
    )
    values = np.asarray(opened)
    if values.dtype == np.int32 and _is_unsigned(opened):
        values = values.view(np.uint32)
    if opened.format == "JPEG2000":
        values = _unshifted(values, file)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("holds values that are no finite number")
    opaque = (values != key).astype(np.float64) if isinstance(key, int) else None
    return Deep(values[..., None], opaque, negative)


def _is_unsigned(opened: Image.Image) -> bool:
    """Whether a TIFF holds whole numbers of 32 bits without a sign, which Pillow reads with one."""
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return False
    tags = opened.tag_v2
    return bool(
        max(tags.get(BITS, (8,))) == 32 and tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED
    )


def is_halved(opened: Image.Image) -> bool:
    """Whether a TIFF that is not deep has colours of 16 bits, of which Pillow keeps the upper 8."""
    is_tiff = isinstance(opened, TiffImagePlugin.TiffImageFile)
    return is_tiff and max(opened.tag_v2.get(BITS, (8,))) > 8  # type: ignore[attr-defined]


def _refuse_misread(opened: Image.Image) -> None:
    """Raise ValueError for a TIFF whose bytes Pillow takes for something else, without a word.

    Pillow 13.0 reads planes of 16 bits, where they are not compressed, as if they had 8, and signed
    bytes as if they were not.
    """
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return
    bits, signed = opened.tag_v2.get(BITS, (8,)), opened.tag_v2.get(SAMPLE_FORMAT, (1,))
    planes = opened.tag_v2.get(PLANES, 1) == APART
    if planes and max(bits) > 8 and opened.tile[0].codec_name == "raw":
        raise ValueError(
            "has planes of 16 bits, which are misread; save it with its bands together"
        )
    if signed[0] == SIGNED and max(bits) == 8:
        raise ValueError("has signed bytes, which are misread; save it as 16-bit numbers")


def _content(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        return file.read_bytes()
    return file.getvalue() if isinstance(file, BytesIO) else _rewound(file)


def _rewound(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _deep_png(opened: Image.Image, file: Path | BinaryIO) -> Deep:
    content = _content(file)
    if is_interlaced(content):
        raise ValueError("has interlaced colours of 16 bits, which are not read; save it without")
    values = colours_of_16_bits(content)
    bands = values.shape[2]
    opaque = None
    if bands in (2, 4):
        opaque = values[..., -1] / FULL_16_BITS[1]
    elif "transparency" in opened.info:
        key = np.array(opened.info["transparency"])
        opaque = (values != key).any(axis=2).astype(np.float64)
    return Deep(values[..., : 1 if bands <= 2 else 3], opaque)


def _unshifted(values: NDArray[Any], file: Path | BinaryIO) -> NDArray[Any]:
    """Return the values of a JPEG 2000 file as they stand in it: Pillow fills 16 bits with them."""
    content = _content(file)
    depth = content[content.index(CODESTREAM) + DEPTH_BYTE]
    bits = (depth & 0x7F) + 1
    stored = values.astype(np.int32) >> max(0, 16 - bits)
    return stored - (1 << (bits - 1)) if depth & 0x80 else stored
