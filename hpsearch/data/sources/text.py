"""Texts as images: characters are channels, their position is the width, the height is 1.

X. Zhang, J. Zhao and Y. LeCun, "Character-level convolutional networks for text classification",
NeurIPS 2015. A text is kept as one byte a character, and becomes channels on the device: 0 and 1
for each of 68 characters would take 68 times the memory and the way to the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account
from hpsearch.data.sources.columns import Columns, joined
from hpsearch.data.sources.content import hashes_of_texts
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.files import file_stamp, without_broken
from hpsearch.data.sources.published import part_names, published
from hpsearch.data.sources.tables import read_tables
from hpsearch.data.sources.targets import groups_of, labels_decided, targets_of
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Text
from hpsearch.study.splits import COLUMN_OF_ROOTS

UNICODE = 0x110000
LEAST_KNOWN = 0.5  # share of visible characters that the alphabet has to have


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    roots = [root] if data.roots is None else [Path(place) for place in data.roots.places()]
    below = [path for place in roots for path in (place, *sorted(place.rglob("*")))]
    files = [path for path in below if not path.is_dir()]
    return "\n".join(f"{path.resolve()} {file_stamp(path)}" for path in files)


def symbols_of(texts: Sequence[str], options: Text) -> NDArray[np.uint8]:
    """Return texts as `(N, 1, length, 1)`: k for the k-th character of the alphabet, else 0."""
    table = np.zeros(UNICODE, np.uint8)
    table[[ord(character) for character in options.alphabet]] = range(1, len(options.alphabet) + 1)
    lower = options.alphabet == options.alphabet.lower()
    images = np.zeros((len(texts), 1, options.length, 1), np.uint8)
    for image, text in zip(images, texts, strict=True):
        kept = (text.lower() if lower else text)[: options.length]
        points = np.frombuffer(kept.encode("utf-32-le", "replace"), np.uint32)
        image[0, : len(points), 0] = table[points]
    return images


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    assert root is not None
    options = data.text or Text()
    columns = _columns(data, root)
    split = published(columns, data)
    account = Account(len(columns), len(columns), decided=columns.decided, things="rows")
    account = account.deciding(*split.decided)
    codes = split.codes
    if codes is not None:
        for left in split.left_out:
            account = account.without(left.reason, left.names)
        columns, codes = columns.taking(np.flatnonzero(codes >= 0)), codes[codes >= 0]
    texts = _joined(columns, data)
    targets, outputs = targets_of(columns, data)
    groups = groups_of(columns, data)
    images = symbols_of(texts.tolist(), options)
    progress(len(texts), len(texts))
    empty = np.flatnonzero(~images.any(axis=(1, 2, 3)))
    broken = [(i, f"{root}: {columns.examples[i]}: {_lacks(texts[i])}") for i in empty.tolist()]
    visible = sum(len("".join(text[: options.length].split())) for text in texts)
    known = int((images > 0).sum()) / max(1, visible)
    if visible and known < LEAST_KNOWN:
        raise DataError(
            f"{root}: data.text.alphabet holds {known:.0%} of the characters in column "
            f"'{' '.join(data.input_names())}'; write the alphabet of these texts, such as "
            f"alphabet: '{_frequent(texts)}'"
        )
    symbols = len(options.alphabet)
    decoded = Decoded(
        images,
        targets,
        outputs,
        hashes_of_texts(texts.tolist()),
        task=data.task,
        groups=groups,
        symbols=symbols,
        names=columns.examples,
        published=codes,
        account=account,
    )
    stated = decoded.deciding(*labels_decided(columns, data))
    return without_broken(stated, broken, data, "text")


def _columns(data: Data, root: Path) -> Columns:
    if data.roots is None:
        return read_tables(root, data).columns
    alone = data.model_copy(update={"roots": None})
    read = [read_tables(Path(place), alone).columns for place in data.roots.places()]
    return joined(list(zip(part_names(data), read, strict=True)), COLUMN_OF_ROOTS)


def _joined(columns: Columns, data: Data) -> NDArray[np.object_]:
    """Return the text of each row; where several columns hold it, joined by a space."""
    several = [columns.of(name, "input") for name in data.input_names()]
    joined = (" ".join(parts) for parts in zip(*several, strict=True))
    return np.array(list(joined), object)


def _lacks(text: str) -> str:
    return "holds no character of the alphabet" if text.strip() else "is empty"


def _frequent(texts: NDArray[np.object_]) -> str:
    """Return the 40 most frequent visible characters of the first texts, in lower case."""
    found = Counter("".join("".join(texts[:1000]).lower().split()))
    return "".join(character for character, _ in found.most_common(40))


SOURCE = Source(stamp, decode)
