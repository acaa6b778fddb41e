"""Bringing images to one size: cut to its shape, padded to it, or squeezed into it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hpsearch.study.data import Data, Fit

Size = tuple[int, int]  # height, width
Extent = tuple[float, float]  # width, height: a reduced JPEG ends within its last row and column
Span = tuple[int, int, int, int]  # first row, row after the last, first column, one after the last


def resized(images: NDArray[np.uint8], data: Data) -> NDArray[np.uint8]:
    """Return images `(N, height, width, channels)` in the size and by the fit that a study says."""
    size = data.size()
    if size is None or images.shape[1:3] == size:
        return images
    out = np.empty((len(images), *size, images.shape[3]), np.uint8)
    of_three = images.shape[3] == 3
    for i, image in enumerate(images):
        if of_three:
            out[i] = np.asarray(fitted(Image.fromarray(image), size, data.fit))
            continue
        for channel in range(images.shape[3]):  # Pillow knows no picture of five
            picture = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            out[i, ..., channel] = np.asarray(fitted(picture, size, data.fit))
    return out


def fitted(picture: Image.Image, size: Size, fit: Fit, extent: Extent | None = None) -> Image.Image:
    """Return a picture of `size`.

    `crop` keeps its centre as large as it fits, `pad` all of it between black bars, and `squeeze`
    all of it, its two sides scaled by different factors. `extent` is where the picture ends, if not
    with its last pixel.
    """
    height, width = size
    wide, high = extent or picture.size
    box = (0.0, 0.0, wide, high)
    if fit == "crop":
        scale = min(wide / width, high / height)
        left, above = (wide - scale * width) / 2, (high - scale * height) / 2
        # Rounding must not carry a side beyond the picture, which Pillow refuses.
        box = (max(0, left), max(0, above), min(wide, wide - left), min(high, high - above))
    top, bottom, left, right = span_of((wide, high), size, fit)
    inner = (right - left, bottom - top)
    out = picture.resize(inner, Image.Resampling.BILINEAR, box=box)
    if inner == (width, height):
        return out
    padded = Image.new(out.mode, (width, height))
    padded.paste(out, (left, top))
    return padded


def span_of(picture: Extent, size: Size, fit: Fit) -> Span:
    """Return where a picture (width, height) lies in its image of `size`; the rest are bars."""
    height, width = size
    if fit != "pad":
        return 0, height, 0, width
    scale = max(picture[0] / width, picture[1] / height)
    wide, high = (max(1, round(side / scale)) for side in picture)
    top, left = (height - high) // 2, (width - wide) // 2
    return top, top + high, left, left + wide


def turned_span(span: Span, size: Size, turn: Image.Transpose | None) -> Span:
    """Return where in an image of `size` (before the turn) its content lies after the turn."""
    if turn is None:
        return span
    top, bottom, left, right = span
    content = Image.new("1", (size[1], size[0]))
    content.paste(1, (left, top, right, bottom))
    box = content.transpose(turn).getbbox()
    assert box is not None, "it has a pixel"
    return box[1], box[3], box[0], box[2]


def share_cut(picture: Extent, size: Size) -> float:
    """Return the share of the pixels of a picture (width, height) that `crop` to `size` loses."""
    height, width = size
    scale = min(picture[0] / width, picture[1] / height)
    return 1 - scale * width * scale * height / (picture[0] * picture[1])
