"""How long photos take to prepare on all cores, beside plain Pillow on one, and what it changes.

    python tests/benchmarks/photos.py --data DATA [--count 20000] [--quality 75] [--plain 2000]

DATA holds `flowers/CLASS/*.jpg`. COUNT different JPEG files of 500 x 375 are made of them, cut,
mirrored and saved at a quality, and prepared at 64 x 64 into an empty cache, with everything that
belongs to it: decoding, audit, split, digests. Plain Pillow is `ImageOps.fit` of `Image.open(...)
.convert("RGB")`, of PLAIN of the files. Seconds and processor seconds by photo; prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hpsearch.data.prepare import prepare
from hpsearch.data.sources.pictures import Reading
from hpsearch.study.data import Data

SIZE = 64
SHAPE = (500, 375)  # width, height


def write_photos(source: Path, root: Path, count: int, quality: int) -> list[Path]:
    """Write photos that differ, in the class folders that their originals lie in."""
    rng = np.random.default_rng(0)
    files = sorted(source.glob("*/*.jpg"))
    originals = {file: Image.open(file).convert("RGB") for file in files}
    written = []
    for i in range(count):
        file = files[i % len(files)]
        picture = originals[file]
        share = rng.uniform(0.6, 1)
        width, height = (round(side * share) for side in picture.size)
        left = int(rng.integers(0, picture.width - width + 1))
        above = int(rng.integers(0, picture.height - height + 1))
        cut = ImageOps.fit(picture.crop((left, above, left + width, above + height)), SHAPE)
        cut = ImageOps.mirror(cut) if rng.random() < 0.5 else cut
        path = root / file.parent.name / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.save(path, quality=quality)
        written.append(path)
    return written


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(function: Callable[[], Any], photos: int) -> dict[str, float]:
    wall, processor = time.perf_counter(), processor_s()
    function()
    return {
        "ms": round((time.perf_counter() - wall) / photos * 1000, 3),
        "processor_ms": round((processor_s() - processor) / photos * 1000, 3),
    }


def plain(files: list[Path]) -> None:
    for file in files:
        with Image.open(file) as opened:
            np.asarray(ImageOps.fit(opened.convert("RGB"), (SIZE, SIZE)))


def differences(files: list[Path]) -> dict[str, float]:
    """Return by how many grey levels fast decoding is off, beside decoding whole pictures."""
    fast, full = (Reading((SIZE, SIZE), False, fast=fast) for fast in (True, False))
    off = [np.abs(fast(file).astype(int) - full(file)) for file in files]
    return {
        "mean": round(float(np.mean([o.mean() for o in off])), 2),
        "mean_of_the_worst": round(max(float(o.mean()) for o in off), 2),
        "most": int(max(o.max() for o in off)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--quality", type=int, default=75)
    parser.add_argument("--plain", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HPSEARCH_CACHE"] = f"{scratch}/cache"
        root = Path(scratch) / "photos"
        files = write_photos(asked.data / "flowers", root, asked.count, asked.quality)
        some = files[:: max(1, len(files) // asked.plain)]
        data = Data(source="folder", root=str(root), image_size=SIZE, duplicates="allow")
        before = timed(lambda: plain(some), len(some))
        ours = timed(lambda: prepare(data), len(files))
        again = timed(lambda: plain(some), len(some))
        found = {
            "photos": len(files),
            "bytes": int(np.mean([file.stat().st_size for file in files])),
            "plain_pillow": [before, again],
            "prepare": ours,
            "faster": round((before["ms"] + again["ms"]) / 2 / ours["ms"], 2),
            "grey_levels_off": differences(some),
        }
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
