"""Data for the studies that need their own: made here of what is installed, without a network.

    python studies/make_data.py FOLDER

digit-pairs.npz        two of scikit-learn's handwritten digits side by side: which are they?
turned-digits.npz      the same digits, turned: by how many degrees, and how much ink have they?
library-functions.csv  functions of Python's standard library: which package are they from?
"""

from __future__ import annotations

import ast
import csv
import itertools
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import rotate, zoom
from sklearn.datasets import load_digits

PACKAGES = ("asyncio", "email", "importlib", "multiprocessing", "unittest", "xml")
IN_A_BLOCK = 6  # digits that are paired with each other and with no others: 15 pairs
TURNS = 4  # of each digit
MOST_DEGREES = 45


def make_pairs(path: Path) -> None:
    """Write uint8 images (N, 8, 16), which digits each shows (N, 10), and its block (N,).

    A handwritten digit stands in five pairs, all of one block: blocks are the groups of the study,
    so that no handwriting is both learned and tested.
    """
    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(grey))
    images, shown, blocks = [], [], []
    for block, start in enumerate(range(0, len(grey) - IN_A_BLOCK + 1, IN_A_BLOCK)):
        members = shuffled[start : start + IN_A_BLOCK]
        for pair in itertools.combinations(members, 2):
            left, right = rng.permutation(pair)
            images.append(np.hstack([grey[left], grey[right]]))
            shown.append(np.isin(np.arange(10), digits.target[[left, right]]))
            blocks.append(block)
    np.savez_compressed(path, images=images, digits=np.array(shown, np.uint8), block=blocks)


def make_turned(path: Path) -> None:
    """Write uint8 images (N, 24, 24), the degrees they are turned by, their ink, and the digit.

    Degrees count against the clock. The ink is the mean blackness in percent. All turns of one
    handwritten digit are a group.
    """
    rng = np.random.default_rng(0)
    images, degrees, written = [], [], []
    for number, small in enumerate(load_digits().images):
        large = zoom(small, 3, order=1) * (255 / 16)
        for angle in rng.uniform(-MOST_DEGREES, MOST_DEGREES, TURNS):
            images.append(rotate(large, angle, reshape=False, order=1).clip(0, 255))
            degrees.append(angle)
            written.append(number)
    grey = np.round(images).astype(np.uint8)
    ink = grey.mean(axis=(1, 2)) / 2.55
    np.savez_compressed(path, images=grey, degrees=degrees, ink=ink, digit=written)


def functions(package: Path) -> Iterator[tuple[Path, str]]:
    """Yield every function and method in a folder of Python files: its file and its source."""
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))


def make_functions(path: Path) -> None:
    """Write the columns text, package and file; short functions and copies are left out."""
    library = Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("text", "package", "file"))
        for name in PACKAGES:
            for source, text in functions(library / name):
                if len(text) >= 80 and text not in seen:
                    seen.add(text)
                    table.writerow((text, name, source.relative_to(library).as_posix()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say where to: python studies/make_data.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make_pairs(folder / "digit-pairs.npz")
    make_turned(folder / "turned-digits.npz")
    make_functions(folder / "library-functions.csv")
    print(f"made digit-pairs.npz, turned-digits.npz and library-functions.csv in {folder}")
