"""Pictures that are alike because of what they show, and no copies."""

from __future__ import annotations

import numpy as np

from hpsearch.data.copies import Copies
from hpsearch.data.findings import Finding

MOST = 0.5  # of the images: a data set in which so many look alike shows one thing
WHICH = "as pictures of one product, of one scene or from one camera do"


def lookalike_count(copies: Copies, images: int) -> int:
    """Return how many images look like another one without being the same; 0 if that is not most.

    Where most do, to look alike says nothing of where a picture comes from.
    """
    has = np.zeros(images, np.bool_)
    has[copies.pairs[~copies.exact].reshape(-1)] = True
    count = int(has.sum())
    return count if count > MOST * images else 0


def lookalike_words(count: int, images: int) -> str:
    """Return how many look alike, in words."""
    return f"{count:,} of {images:,} pictures look nearly like another one, {WHICH}"


def lookalike_finding(copies: Copies, images: int, duplicates: str) -> Finding | None:
    """Return that most pictures look alike, and what to do first; None where they do not."""
    count = lookalike_count(copies, images)
    if not count:
        return None
    instead = "data.groups keeps in one split what belongs together"
    if duplicates != "allow":
        instead = f"data.duplicates: allow leaves them where they are; {instead}"
    return Finding("most-look-alike", count, lookalike_words(count, images), instead)
