"""The images of `recorded/fashion.yaml`: 8,000 of Fashion-MNIST's 60,000, drawn at random.

    python tests/benchmarks/replay_images.py --data DATA [--out tests/benchmarks/recorded]

DATA is a folder with `FashionMNIST/raw`, as torchvision keeps it. Its test part is not read.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES, SEED = 8_000, 0
HEADS = {"images": 16, "labels": 8}  # bytes before the first value of an IDX file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "recorded")
    given = parser.parse_args()
    labels = values(given.data, "labels")
    images = values(given.data, "images").reshape(len(labels), 28, 28)
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(labels))[:IMAGES])
    written = given.out / "fashion-8000.npz"
    np.savez_compressed(written, images=images[chosen], targets=labels[chosen])
    print(f"{written}: {IMAGES:,} images, {written.stat().st_size / 2**20:.1f} MiB")


def values(data: Path, what: str) -> NDArray[np.uint8]:
    """Return the values of an IDX file of the training part, flat."""
    kind = {"images": "idx3", "labels": "idx1"}[what]
    content = (data / "FashionMNIST" / "raw" / f"train-{what}-{kind}-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(content), np.uint8)[HEADS[what] :]


if __name__ == "__main__":
    main()
