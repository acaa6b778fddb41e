"""The images of the race: split once by hpsearch, and written as plain arrays for its peers."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.study.data import Data


def data_section(root: Path, images: int | None, folder: Path) -> dict[str, Any]:
    """Return the `data` section of a study of Fashion-MNIST, or of the first `images` of it."""
    if images is None:
        return {"source": "fashion-mnist", "root": str(root)}
    few = folder / f"first-{images}.npz"
    if not few.exists():
        raw = root / "FashionMNIST" / "raw"
        pixels, targets = (
            gzip.decompress((raw / f"train-{name}-ubyte.gz").read_bytes())
            for name in ("images-idx3", "labels-idx1")
        )
        np.savez(
            few,
            images=np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)[:images],
            targets=np.frombuffer(targets, np.uint8, offset=8)[:images],
        )
    return {"source": "arrays", "root": str(few)}


def write_splits(section: dict[str, Any], folder: Path) -> Path:
    """Write train, test and validation as `.npz` files, unless they are there; return the folder.

    Images are `(N, 28, 28)` in uint8, targets class numbers. The split is that of every study with
    this section, so that all contestants are selected and judged on the same images.
    """
    of = "whole" if section["source"] == "fashion-mnist" else Path(section["root"]).stem
    place = folder / f"splits-{of}"
    if (place / "validation.npz").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    with cache(folder / "cache-of-splits"):
        prepared = prepare(Data.model_validate(section))
        searched = load_search_data(prepared.folder)
        sealed = open_sealed(prepared.folder)
    for name, part in (("train", searched.train), ("test", searched.test), ("validation", sealed)):
        np.savez(place / f"{name}.npz", images=part.images[..., 0], targets=part.targets)
    return place


@contextmanager
def cache(folder: Path) -> Iterator[None]:
    """Let hpsearch keep its prepared data in a folder, within the block."""
    before = os.environ.get("HPSEARCH_CACHE")
    os.environ["HPSEARCH_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["HPSEARCH_CACHE"]
        if before is not None:
            os.environ["HPSEARCH_CACHE"] = before
