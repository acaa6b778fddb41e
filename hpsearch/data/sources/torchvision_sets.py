"""The data sets that torchvision knows by name, read from a local folder or downloaded into it."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded, Progress, Source
from hpsearch.data.sources.resize import resized
from hpsearch.data.sources.shapes import shaped
from hpsearch.errors import DataError
from hpsearch.study.data import Data, SourceName

DIGITS = tuple("0123456789")
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MERGED = (*DIGITS, *CAPITALS, *"abdefghnqrt")  # small letters whose capitals look alike are those


@dataclass(frozen=True)
class Published:
    """A set as torchvision publishes it: its class there, its folder, its files, its classes.

    `files` are (train, official test). The MNIST kind has pairs of images and labels, each read
    as published (.gz) or unpacked; the others are read by torchvision itself.
    """

    torchvision_name: str
    folder: str
    files: tuple[str, ...]
    classes: tuple[str, ...] = ()
    idx: bool = False
    transposed: bool = False
    split: str = ""  # of EMNIST
    first_label: int = 0


def _idx(name: str, folder: str, classes: tuple[str, ...]) -> Published:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return Published(name, folder, tuple(f"{part}-ubyte" for part in parts), classes, idx=True)


def _emnist(split: str, classes: tuple[str, ...], first_label: int = 0) -> Published:
    """Return one split of EMNIST (G. Cohen et al., 2017); only of letters labels begin with 1."""
    parts = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    files = tuple(f"emnist-{split}-{part}-ubyte" for part in parts)
    return Published(
        "EMNIST", "EMNIST/raw", files, classes, idx=True, transposed=True, split=split,
        first_label=first_label,
    )  # fmt: skip


PUBLISHED: dict[SourceName, Published] = {
    "mnist": _idx("MNIST", "MNIST/raw", DIGITS),
    "fashion-mnist": _idx(
        "FashionMNIST",
        "FashionMNIST/raw",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": _idx(
        "KMNIST", "KMNIST/raw", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    ),
    "emnist": _emnist("balanced", MERGED),
    "emnist-byclass": _emnist("byclass", (*DIGITS, *CAPITALS, *CAPITALS.lower())),
    "emnist-bymerge": _emnist("bymerge", MERGED),
    "emnist-letters": _emnist("letters", (*CAPITALS.lower(),), first_label=1),
    "emnist-digits": _emnist("digits", DIGITS),
    "emnist-mnist": _emnist("mnist", DIGITS),
    "cifar10": Published("CIFAR10", "cifar-10-batches-py", ("data_batch_1", "test_batch")),
    "cifar100": Published("CIFAR100", "cifar-100-python", ("train", "test")),
    "svhn": Published("SVHN", ".", ("train_32x32.mat", "test_32x32.mat"), DIGITS),
}


def _locate(published: Published, root: Path) -> list[Path] | None:
    """Return the files of a set below `root`, None where one is missing."""
    for folder in (root / published.folder, root / Path(published.folder).name, root):
        found = [
            next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
            for name in published.files
        ]
        complete = [path for path in found if path is not None]
        if len(complete) == len(published.files):
            return complete
    return None


def _files(data: Data, root: Path | None) -> list[Path]:
    published = PUBLISHED[data.source]
    root = root or Path("data")
    files = _locate(published, root)
    if files is None and data.download:
        _torchvision_parts(published, root, download=True)
        files = _locate(published, root)
    if files is None:
        wanted = root / published.folder / published.files[0]
        gz = ".gz" if published.idx else ""
        raise DataError(
            f"{data.source}: no {wanted}{gz}. Say where the data lies with --data or HPSEARCH_DATA "
            "or data.root, or allow a download with data.download: true"
        )
    return files


def _torchvision_parts(published: Published, root: Path, download: bool) -> list[Any]:
    import torchvision  # it loads torch, which the sources read without it do not need

    kind = getattr(torchvision.datasets, published.torchvision_name)
    if published.torchvision_name == "SVHN":
        arguments: list[dict[str, Any]] = [{"split": "train"}, {"split": "test"}]
    else:
        arguments = [{"train": True}, {"train": False}]
    if published.split:
        arguments = [{"split": published.split, **part} for part in arguments]
    try:
        return [kind(str(root), download=download, **part) for part in arguments]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{published.torchvision_name} could not be {'downloaded' if download else 'read'}: "
            f"{error}. Without a network, copy its files to {root / published.folder}"
        ) from None


def stamp(data: Data, root: Path | None) -> str:
    parts = []
    for path in _files(data, root):
        status = path.stat()
        parts.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(parts)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    published = PUBLISHED[data.source]
    files = _files(data, root)
    parts: list[tuple[NDArray[np.uint8], NDArray[Any]]]
    if published.idx:
        parts = [(read_idx(files[i], 3), read_idx(files[i + 1], 1)) for i in (0, 2)]
        classes = published.classes
    else:
        folder = files[0].parent if published.folder == "." else files[0].parent.parent
        sets = _torchvision_parts(published, folder, download=False)
        parts = [_arrays(part) for part in sets]
        classes = published.classes or tuple(sets[0].classes)
    images = np.concatenate([part[0] for part in parts])
    contents = hashes_of_rows(images)
    images = images[..., None] if images.ndim == 3 else images
    if published.transposed:
        images = images.transpose(0, 2, 1, 3)
    targets = np.concatenate([part[1] for part in parts]).astype(np.int64) - published.first_label
    parts_of: NDArray[np.int64] | None = None
    if data.split.validation == "official":
        parts_of = np.where(np.arange(len(targets)) >= len(parts[0][1]), 2, 0)
    if len(images) != len(targets) or not _within(targets, len(classes)):
        raise DataError(f"{files[0].parent}: images and labels do not belong together")
    height, width = images.shape[1:3]
    images = resized(images, data)
    return shaped(Decoded(images, targets, classes, contents, parts_of), width, height, data)


def _within(targets: NDArray[np.int64], classes: int) -> bool:
    return bool(((targets >= 0) & (targets < classes)).all())


def _arrays(part: Any) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return images `(N, H, W, 3)` and labels of a loaded CIFAR or SVHN part."""
    if hasattr(part, "labels"):
        return part.data.transpose(0, 2, 3, 1), part.labels
    return part.data, np.asarray(part.targets)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, as LeCun's MNIST page defines it."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; fetch the file again") from None
    header = 4 + 4 * dimensions
    if raw[:4] != bytes((0, 0, 8, dimensions)) or len(raw) < header:
        raise DataError(f"{path}: not an IDX file of {dimensions} dimension(s) of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, offset=4))
    if len(raw) - header != int(np.prod(shape)):
        raise DataError(f"{path}: holds {len(raw) - header} bytes for the shape {shape}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


SOURCE = Source(stamp, decode)
