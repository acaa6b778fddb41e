"""What becomes of pictures that are not of the shape that a study asks for, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpsearch.data.findings import Finding
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.sources.resize import Size, share_cut, span_of
from hpsearch.study.data import Data, Fit

MUCH_CUT = 0.2  # of a picture's pixels
MANY = 0.1  # of the pictures: from there on what is so is a finding
ROUNDING = 0.005  # of the pixels: less is no other shape


def shaped(decoded: Decoded, width: int, height: int, data: Data) -> Decoded:
    """Return images that all had one shape, with what is said of how they came to another."""
    size = data.size()
    if size is None:
        return decoded
    sizes = [(width, height)] * len(decoded.targets)
    finding = crop_finding(sizes, size, data.fit)
    findings = decoded.findings if finding is None else (*decoded.findings, finding)
    words = shape_words(sizes, size, data.fit)
    span = span_of((width, height), size, data.fit)
    content = (
        None
        if span == (0, size[0], 0, size[1])
        else np.tile(np.array(span, np.int32), (len(sizes), 1))
    )
    found = replace(decoded, findings=findings, content=content)
    return found.deciding(*words) if words else found


def shape_words(sizes: Sequence[tuple[int, int]], size: Size, fit: Fit) -> tuple[str, ...]:
    """Return what becomes of pictures that have another shape than `size`, where any has."""
    lost = np.array([share_cut(found, size) for found in sizes])
    other = lost > ROUNDING
    if not other.any():
        return ()
    counted = f"shape: {other.sum():,} of {len(lost):,} pictures are not {size[0]}:{size[1]}"
    if size[0] == size[1]:
        counted = f"shape: {other.sum():,} of {len(lost):,} pictures are not square"
    what = {
        "crop": f"what lies beyond their centre is cut off, {np.median(lost[other]):.0%} of the "
        "median one (fit: crop; pad and squeeze keep it)",
        "pad": "they lie between black bars (fit: pad)",
        "squeeze": "their sides are scaled by different factors (fit: squeeze)",
    }[fit]
    return (f"{counted}: {what}",)


def crop_finding(sizes: Sequence[tuple[int, int]], size: Size, fit: Fit) -> Finding | None:
    """Tell where `crop` cuts much of many pictures."""
    if fit != "crop" or not sizes:
        return None
    lost = np.array([share_cut(found, size) for found in sizes])
    much = lost > MUCH_CUT
    if much.sum() < max(1, MANY * len(lost)):
        return None
    return Finding(
        "much-cut-off",
        int(much.sum()),
        f"{much.sum():,} of {len(lost):,} pictures lose more than a fifth of their pixels, the "
        f"most {lost.max():.0%}: of pictures that are not of the shape of image_size only the "
        "centre is kept",
        "data.fit: pad or squeeze keeps all of a picture; image_size: [height, width] fits its "
        "shape",
    )
