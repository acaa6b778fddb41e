"""How long data takes to prepare, cold, beside decoding alone with Pillow on one core.

    python tests/benchmarks/preparing.py --data DATA [--repeats 3]

DATA holds `FashionMNIST/raw` and `flowers/CLASS/*.jpg`. Decoding alone opens every file as a
picture and, for photos, scales its centre square to 64 x 64; Fashion-MNIST has no files of single
pictures, so there every image passes through Pillow once, as torchvision hands it out. Preparing
is all that `hpsearch` does before a study: decode, audit, split, write, fingerprint. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torchvision import datasets
from training import unzipped

from hpsearch.data import prepare as module
from hpsearch.data.audit import audited
from hpsearch.study.data import Data

SIZE = 64


def photos_alone(root: Path) -> int:
    files = sorted((root / "flowers").glob("*/*.jpg"))
    for file in files:
        with Image.open(file) as opened:
            np.asarray(ImageOps.fit(opened.convert("RGB"), (SIZE, SIZE)))
    return len(files)


def fashion_alone(root: Path) -> int:
    count = 0
    with unzipped(root) as unpacked:
        for train in (True, False):
            for picture, _ in datasets.FashionMNIST(unpacked, train=train):
                np.asarray(picture)
                count += 1
    return count


def prepared(data: Data) -> tuple[float, float]:
    """Prepare into an empty cache; return the seconds, and those of them that the audit took."""
    audits = []

    def timed_audit(*arguments: Any, **more: Any) -> Any:
        began = time.perf_counter()
        try:
            return audited(*arguments, **more)
        finally:
            audits.append(time.perf_counter() - began)

    module.audited = timed_audit  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HPSEARCH_CACHE"] = cache
        began = time.perf_counter()
        module.prepare(data)
        return time.perf_counter() - began, sum(audits)


def timed(function: Callable[[Path], int], root: Path) -> float:
    began = time.perf_counter()
    function(root)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    cases = {
        "fashion-mnist": (
            fashion_alone,
            Data(source="fashion-mnist", root=str(asked.data)),
        ),
        "flowers": (
            photos_alone,
            Data(source="folder", root=str(asked.data / "flowers"), image_size=SIZE),
        ),
    }
    found = {}
    for name, (alone, data) in cases.items():
        times = [(timed(alone, asked.data), *prepared(data)) for _ in range(asked.repeats)]
        decoding, preparing, audit = (statistics.median(c) for c in zip(*times, strict=True))
        found[name] = {
            "decoding_alone_s": round(decoding, 2),
            "prepare_s": round(preparing, 2),
            "of_it_audit_s": round(audit, 2),
            "ratio": round(decoding / preparing, 2),
            "ratio_without_audit": round(decoding / (preparing - audit), 2),
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
