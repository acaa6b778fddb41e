"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, embedded in the package.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.resize import resized
from hpsearch.data.sources.shapes import shaped
from hpsearch.study.data import Data


def stamp(data: Data, root: Path | None) -> str:
    return f"scikit-learn {version('scikit-learn')}"


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    from sklearn.datasets import load_digits  # 1.5 s to import, and needed for this source alone

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    classes = tuple(str(name) for name in digits.target_names)
    decoded = Decoded(
        resized(images, data),
        digits.target.astype(np.int64),
        classes,
        hashes_of_rows(digits.images),
    )
    return shaped(decoded, images.shape[2], images.shape[1], data)


SOURCE = Source(stamp, decode)
