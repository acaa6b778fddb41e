"""What preparing very many pictures takes: time, and the most memory, for each of several counts.

    python tests/benchmarks/large.py --place FOLDER [--counts 70000 300000] [--size 64]

Makes that many JPEGs of SIZE x SIZE in FOLDER (they stay there for the next run), a thousand of
them copies of others at another quality, and prepares each count in a process of its own, into an
empty cache. Memory is what the process holds at most: RSS counts pages of mapped files, too, which
others can have back at any time; the anonymous part is its own. The last count is then prepared
once more, killed in the middle, and gone on with. Prints JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WHITE_NOISE = 2.0  # grey levels
FOLDERS = 20
COUNTS = (70_000, 300_000)


def make(place: Path, count: int, size: int, copies: int) -> Path:
    """Write the first `count` pictures of a sequence that is always the same; return their root."""
    root = place / f"{count}-{size}"
    if (root / "made").exists():
        return root
    rng = np.random.default_rng(0)
    for i in range(FOLDERS):
        (root / f"class{i}").mkdir(parents=True, exist_ok=True)
    shown: list[Image.Image] = []
    for i in range(count):
        if i >= count - copies:  # a copy of one of the first, at another quality
            picture, quality = shown[i - count + copies], 60
        else:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
            fine = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32)
            noisy = fine + rng.standard_normal((size, size, 1), np.float32) * WHITE_NOISE
            picture, quality = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), 85
            if i < copies:
                shown.append(picture)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        (root / f"class{i % FOLDERS}" / f"{i:07}.jpg").write_bytes(file.getvalue())
    (root / "made").touch()
    return root


def prepare_here(root: Path, size: int) -> None:
    """Prepare pictures in this process, and print what that took."""
    from hpsearch.data.findings import read_audit
    from hpsearch.data.prepare import prepare
    from hpsearch.study.data import Data

    most = {"rss": 0, "anonymous": 0}
    over = threading.Event()

    def watch() -> None:
        names = {"RssAnon": "anonymous", "VmRSS": "rss"}
        while not over.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in names:
                    most[names[name]] = max(most[names[name]], int(value.split()[0]) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, first, at = time.perf_counter(), 0, {}

    def told(done: int, of: int) -> None:
        nonlocal first
        first = first or done
        if done == of:
            at["decoded"] = time.perf_counter() - began

    data = Data(source="folder", root=str(root), image_size=size)
    prepared = prepare(data, progress=told)
    took = time.perf_counter() - began
    over.set()
    watcher.join()
    cpu = os.times()
    audit = read_audit(prepared.folder)
    print(
        json.dumps(
            {
                "images": sum(prepared.totals),
                "with_copy": audit.with_copy,
                "decoded_s": round(at["decoded"], 1),
                "prepared_s": round(took, 1),
                "cpu_s": round(cpu.user + cpu.system, 1),
                "first_told": first,
                "most_rss_mib": most["rss"],
                "most_anonymous_mib": most["anonymous"],
                "fingerprint": prepared.fingerprint[:12],
            }
        )
    )


def child(root: Path, size: int, cache: Path, kill_after_s: float | None = None) -> dict[str, Any]:
    command = [sys.executable, __file__, "--place", str(root), "--size", str(size), "--here"]
    environment = os.environ | {"HPSEARCH_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
    told, _ = process.communicate()
    return json.loads(told) if told else {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        prepare_here(asked.place, asked.size)
        return
    found = []
    for count in asked.counts:
        root = make(asked.place, count, asked.size, asked.copies)
        with tempfile.TemporaryDirectory(dir=asked.place) as cache:
            found.append(child(root, asked.size, Path(cache)))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=asked.place) as cache:
        child(root, asked.size, Path(cache), kill_after_s=0.6 * found[-1]["decoded_s"])
        resumed = child(root, asked.size, Path(cache))
    print(json.dumps({"prepared": found, "killed_and_resumed": resumed}, indent=2))


if __name__ == "__main__":
    main()
