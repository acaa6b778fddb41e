"""How long the final with its baseline takes, beside another build of hpsearch, in turn.

    python tests/benchmarks/final.py --data DATA --other CHECKOUT [--images 12000] [--repeats 3]

DATA holds Fashion-MNIST as torchvision keeps it, CHECKOUT another build's source tree. Both search
two trials, then conclude copies of their storage in turn. Prints medians of seconds as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[2]
STUDY = """
name: final
data: {{source: arrays, root: {root}}}
space:
  filters: 64
  layers: 3
  units1: 64
  units2: 32
  learning_rate: [1.0e-4, 1.1e-2]  # the first is the default's, and the worse
  dropout: 0.2
search: {{trials: 2, epochs: {epochs}, pruner: none, sampler: random, seed: 1}}
"""


def write_images(data: Path, path: Path, count: int) -> None:
    """Write the first images of Fashion-MNIST as an `.npz`."""
    raw = data / "FashionMNIST" / "raw"
    images, targets = (
        gzip.decompress((raw / f"train-{name}-ubyte.gz").read_bytes())
        for name in ("images-idx3", "labels-idx1")
    )
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)[:count]
    np.savez(path, images=pixels, targets=np.frombuffer(targets, np.uint8, offset=8)[:count])


def launch(build: Path, folder: Path, *flags: str) -> float:
    """Run a launch of one build; return its seconds."""
    environment = os.environ | {"PYTHONPATH": str(build), "HPSEARCH_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "hpsearch", "launch", str(folder / "study.yaml")]
    place = ["--storage", f"sqlite:///{folder}/study.db", "--runs", str(folder / "runs")]
    began = time.perf_counter()
    subprocess.run(
        [*command, *place, *flags], check=True, capture_output=True, cwd=folder, env=environment
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    builds = {"this": HERE, "other": asked.other.resolve()}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_images(asked.data, place / "images.npz", asked.images)
        for build, path in builds.items():
            (place / build).mkdir()
            study = STUDY.format(root=place / "images.npz", epochs=asked.epochs)
            (place / build / "study.yaml").write_text(study)
            launch(path, place / build, "--no-final")
        took: dict[str, list[float]] = {build: [] for build in builds}
        for _ in range(asked.repeats):
            for build, path in builds.items():
                copy = place / "copy"
                shutil.copytree(place / build, copy)
                took[build].append(launch(path, copy))
                if (
                    "from the default configuration"
                    not in (copy / "runs/final/report.md").read_text()
                ):
                    raise SystemExit(f"{build}: the choice is the default: no baseline was trained")
                shutil.rmtree(copy)
    medians = {build: round(statistics.median(times), 1) for build, times in took.items()}
    print(json.dumps(medians | {"ratio": round(medians["this"] / medians["other"], 2)}))


if __name__ == "__main__":
    main()
