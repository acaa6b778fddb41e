"""Small data sets that tests write to disk, in the formats in which real ones come."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from hpsearch.data.prepared import Prepared

IDX_PARTS = {
    "mnist": ("MNIST/raw", "", "train", "t10k"),
    "fashion-mnist": ("FashionMNIST/raw", "", "train", "t10k"),
    "kmnist": ("KMNIST/raw", "", "train", "t10k"),
    "emnist": ("EMNIST/raw", "emnist-balanced-", "train", "test"),
    "emnist-byclass": ("EMNIST/raw", "emnist-byclass-", "train", "test"),
    "emnist-bymerge": ("EMNIST/raw", "emnist-bymerge-", "train", "test"),
    "emnist-letters": ("EMNIST/raw", "emnist-letters-", "train", "test"),
    "emnist-digits": ("EMNIST/raw", "emnist-digits-", "train", "test"),
    "emnist-mnist": ("EMNIST/raw", "emnist-mnist-", "train", "test"),
}
BICUBIC = Image.Resampling.BICUBIC
Made = tuple[NDArray[np.uint8], NDArray[np.int64]]


def noise(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return `count` different arrays of random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def left_out(prepared: Prepared) -> list[str]:
    """Return the names of everything that was left out, whatever the reason."""
    return [name for reason in prepared.account.left_out for name in reason.names]


def write_folder(root: Path, counts: dict[str, int], size: int = 20, seed: int = 0) -> Path:
    """Write one folder of different colour PNG images per class, and return their root."""
    for i, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for j, pixels in enumerate(noise(count, size, size, 3, seed=seed + i)):
            Image.fromarray(pixels).save(root / name / f"{j:03}.png")
    return root


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """Return an array in the IDX format: magic number, big-endian sizes, bytes."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def write_idx_set(
    root: Path, source: str, train: Made, official_test: Made, zipped: bool = True
) -> Path:
    """Write a set of the MNIST kind as it is published, or unpacked, and return its folder."""
    folder_name, prefix, *names = IDX_PARTS[source]
    folder = root / folder_name
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in zip(names, (train, official_test), strict=True):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            raw = idx_bytes(array)
            path = folder / f"{prefix}{name}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(raw, 1) if zipped else raw)
    return folder


class Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did, in which the CIFAR files were written.

    Text and bytes are one type there, numpy's types stand where they stood, flags are 0 and 1.
    """

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)
    write: Callable[[bytes], object]  # both are its base's, whose types leave them out
    memoize: Callable[[object], None]

    def save_text(self, text: str | bytes) -> None:
        raw = text.encode("latin1") if isinstance(text, str) else text
        short = len(raw) < 256
        self.write(b"U" + bytes([len(raw)]) if short else b"T" + struct.pack("<i", len(raw)))
        self.write(raw)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def python2_pickle(thing: Any) -> bytes:
    """Return what Python 2 would have written for a dict of lists and arrays of bytes."""
    out = io.BytesIO()
    pickler = Python2Pickler(out, 2)
    pickler.dispatch_table = {
        np.dtype: lambda dtype: (np.dtype, (dtype.str[1:], 0, 1), dtype.__reduce__()[2])
    }
    pickler.dump(thing)
    return out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_rows(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images `(N, 32, 32, 3)` as CIFAR keeps them: all of red, then green, then blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), 3072))


def write_cifar10(root: Path, train: Made, official_test: Made, names: list[str]) -> Path:
    """Write CIFAR-10's five training batches, its test batch and its names."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    fifths = zip(np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True)
    batches = {f"data_batch_{i}": part for i, part in enumerate(fifths, 1)}
    for name, (images, labels) in {**batches, "test_batch": official_test}.items():
        content = {
            "batch_label": name,
            "labels": labels.tolist(),
            "data": cifar_rows(images),
            "filenames": [f"{i}.png" for i in range(len(labels))],
        }
        (folder / name).write_bytes(python2_pickle(content))
    meta = {"num_cases_per_batch": len(train[1]) // 5, "label_names": names, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return folder


def write_cifar100(root: Path, train: Made, official_test: Made, names: list[str]) -> Path:
    """Write CIFAR-100's two parts and its names, fine and coarse."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, (images, labels) in {"train": train, "test": official_test}.items():
        content = {
            "filenames": [f"{i}.png" for i in range(len(labels))],
            "batch_label": f"{name} batch 1 of 1",
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "data": cifar_rows(images),
        }
        (folder / name).write_bytes(python2_pickle(content))
    meta = {"fine_label_names": names, "coarse_label_names": [f"c{i}" for i in range(20)]}
    (folder / "meta").write_bytes(python2_pickle(meta))
    return folder


def write_svhn(root: Path, train: Made, official_test: Made) -> Path:
    """Write SVHN's two MATLAB files; the digit 0 has the label 10 there."""
    root.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in {"train": train, "test": official_test}.items():
        matlab = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        content = {"X": images.transpose(1, 2, 3, 0), "y": matlab}
        savemat(root / f"{name}_32x32.mat", content, do_compression=True)
    return root


def write_table(path: Path, /, **columns: Any) -> Path:
    """Write a CSV of these columns, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path


def tone(hertz: float, seconds: float = 0.3, rate: int = 8000, loudness: float = 0.5) -> Any:
    """Return the samples of a sine."""
    return loudness * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_sound(path: Path, samples: Any, rate: int = 8000, subtype: str | None = None) -> Path:
    """Write a recording as WAV or FLAC, whichever the name says, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype)
    return path


def flac_from_a_pipe(path: Path, samples: Any, rate: int = 8000) -> Path:
    """Write FLAC whose head does not say how many samples it has, as an encoder in a pipe does.

    That number is the last 36 bits of the stream's first block but for a checksum of 16 bytes, 0
    where it is not known (RFC 9639, section 8.2).
    """
    write_sound(path, samples, rate)
    raw = bytearray(path.read_bytes())
    raw[21] &= 0xF0
    raw[22:26] = bytes(4)
    path.write_bytes(raw)
    return path


def scenes(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return `count` different pictures of `shape` (height, width, channels), smooth as photos."""
    small = noise(count, 8, 8, shape[2], seed=seed)
    pictures = [
        np.asarray(Image.fromarray(image[..., i]).resize((shape[1], shape[0]), BICUBIC))
        for image in small
        for i in range(shape[2])
    ]
    return np.stack(pictures).reshape(count, shape[2], *shape[:2]).transpose(0, 2, 3, 1).copy()
