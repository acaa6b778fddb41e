"""PNG with colours of 16 bits, of which Pillow keeps the upper 8: all of them.

A filter of PNG takes a byte from the same byte of the pixel to its left and of the line above
(PNG specification, 3rd edition, 9.2). So the upper bytes of red, filtered, are a grey picture of
8 bits with the same filters, which Pillow can undo; and so is each other byte of a pixel.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIGNATURE_BYTES = 8
BANDS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type


def is_interlaced(content: bytes) -> bool:
    """Whether a PNG comes in seven pictures of growing fineness, which `colours_of_16_bits` lacks.

    `content` begins as the file does, with its head.
    """
    return content[28] != 0


def colours_of_16_bits(content: bytes) -> NDArray[Any]:
    """Return `(height, width, bands)` in uint16; ValueError or zlib's error where it is broken."""
    width, height, _, kind = struct.unpack_from(">IIBB", content, 16)
    each = 2 * BANDS[kind]
    packed, start = bytearray(), SIGNATURE_BYTES
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        if name == b"IDAT":
            packed += content[start + 8 : start + 8 + length]
        start += 12 + length
    line_bytes = 1 + width * each
    try:  # no more than its head says, whatever it unpacks to
        unpacked = zlib.decompressobj().decompress(packed, height * line_bytes)
    except zlib.error as error:
        raise ValueError(f"is broken: {error}") from None
    lines = np.frombuffer(unpacked, np.uint8)
    if len(lines) < height * line_bytes:
        raise ValueError(f"is cut off: {len(lines) // line_bytes:,} of {height:,} lines are there")
    lines = lines[: height * line_bytes].reshape(height, line_bytes)
    found = np.empty((height, width, each), np.uint8)
    for byte in range(each):
        filtered = np.concatenate([lines[:, :1], lines[:, 1 + byte :: each]], axis=1)
        plane = Image.frombytes(
            "L", (width, height), zlib.compress(filtered.tobytes(), 1), "zip", "L"
        )
        found[..., byte] = np.asarray(plane)
    return found.view(">u2").astype(np.uint16)
