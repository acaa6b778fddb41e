"""The sealed **validation** split, in files of its own.

Nothing in `study/`, `models/`, `training/` or `search/` may import this module (a test holds them
to it). `evaluation/final.py` opens the seal, and writes that it does to the ledger first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpsearch.data.digests import check_quickly, read_meta
from hpsearch.data.prepared import Labelled, groups_in

FOLDER = "validation"


def open_sealed(prepared: Path) -> Labelled:
    """Return the validation split of prepared data; DataError where it is not as written."""
    below = f"{FOLDER}/"
    check_quickly(prepared, read_meta(prepared, below), below)
    folder = prepared / FOLDER
    images = np.load(folder / "images.npy", mmap_mode="r")
    return Labelled(images, np.load(folder / "targets.npy"), groups_in(folder))
