"""Bringing images to one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def resized(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Return `(N, size, size, channels)` of images `(N, height, width, channels)`."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    out = np.empty((len(images), size, size, images.shape[3]), np.uint8)
    if images.shape[3] not in (1, 3):  # Pillow knows no such picture: channel by channel
        for channel in range(images.shape[3]):
            out[..., channel] = resized(images[..., channel, None], size)[..., 0]
        return out
    for i, image in enumerate(images):
        picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        out[i] = np.asarray(square(picture, size)).reshape(out[i].shape)
    return out


def square(picture: Image.Image, size: int) -> Image.Image:
    """Return the centre of a picture as a square of `size` pixels, the shorter side kept whole."""
    return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
