"""scikit-learn's digits as every task: which digit, what is true of it, how much ink it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.data import Task

IMAGES = 700
TRAIN = 500
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "single-label": tuple("0123456789"),
    "multi-label": ("even", "closed", "above four"),
    "regression": ("ink", "balance"),
}


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images `(N, 8, 8, 1)` and which digits they show `(N,)`."""
    found = load_digits()
    images = np.round(found.images[:IMAGES] * (255 / 16)).astype(np.uint8)
    return images[..., None], found.target[:IMAGES].astype(np.int64)


def targets_of(task: Task) -> NDArray[Any]:
    """Return what is to be said of each digit, as `Labelled` has it."""
    images, digit = digits()
    if task == "single-label":
        return digit
    if task == "multi-label":
        flags = [digit % 2 == 0, np.isin(digit, (0, 6, 8, 9)), digit > 4]
        return np.stack(flags, 1).astype(np.float32)
    grey = images[..., 0].astype(np.float64)
    ink = grey.mean((1, 2)) * 1000  # thousands, and with an offset, as numbers of the world are
    columns = (grey.sum(1) * np.arange(8)).sum(1) / grey.sum((1, 2))
    return np.stack([ink, columns / 100 - 3], 1).astype(np.float32)


def digits_as(task: Task) -> SearchData:
    """Return 500 and 200 digits with their targets."""
    images, targets = digits()[0], targets_of(task)
    taught = images[:TRAIN]
    return SearchData(
        train=Labelled(taught, targets[:TRAIN]),
        test=Labelled(images[TRAIN:], targets[TRAIN:]),
        task=task,
        outputs=OUTPUTS[task],
        mean=(float(taught.mean()),),
        std=(float(taught.std()),),
        fingerprint="digits",
    )


def write_digits(path: Path, task: Task) -> dict[str, Any]:
    """Write digits as an `.npz` file, and return the data section of a study of them."""
    np.savez(path, images=digits()[0][..., 0], predictions=targets_of(task))
    return {"source": "arrays", "root": str(path), "task": task, "target": "predictions"}
