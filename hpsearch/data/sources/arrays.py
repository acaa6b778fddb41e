"""Arrays in an `.npz` file: images of any height, width and number of channels, and targets."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.files import file_stamp
from hpsearch.data.sources.resize import resized
from hpsearch.data.sources.targets import groups_of, targets_of
from hpsearch.errors import DataError
from hpsearch.study.data import Arrays, Data

DEFLATED = 1032  # bytes at most that one byte of a zip file unpacks to
# What NumPy and zipfile raise for files that are none, or whose heads were changed.
BROKEN = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    OverflowError,
    NotImplementedError,
    SyntaxError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
CHUNK = 1024  # images scaled at a time


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    return f"{root.resolve()} {file_stamp(root)}"


def _columns(data: Data, path: Path) -> Columns:
    """Return the arrays that the study names, all of one length."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"data.root: {path} {what}; name an .npz file as numpy.savez writes it")
    wanted = {data.input_name(), *data.target_names(), *([data.groups] if data.groups else [])}
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array alone, and targets are another")
            for name in wanted & set(file.files):
                _check_claim(file, name, path.stat().st_size)
            # Arrays that nobody asked for are named where one is missing, but never read.
            values = {n: file[n] if n in wanted else np.empty(0) for n in file.files}
    except BROKEN as error:
        raise DataError(f"{path}: is not an .npz file of plain arrays: {error}") from None
    count = len(_images(data, path, values))
    for name in wanted & values.keys():
        if values[name].shape[:1] != (count,):
            raise DataError(
                f"{path}: array '{name}' has the shape {values[name].shape}, and there are {count} "
                "images; the first axis of both counts the images"
            )
    return Columns(str(path), "array", [f"image {i}" for i in range(count)], values)


def _check_claim(file: np.lib.npyio.NpzFile[Any], name: str, file_bytes: int) -> None:
    """Raise ValueError where an array's head claims more than the file can hold.

    NumPy allocates what the head says before it reads.
    """
    assert file.zip is not None  # it is open
    entry = f"{name}.npy" if f"{name}.npy" in file.zip.namelist() else name
    held = min(file.zip.getinfo(entry).file_size, DEFLATED * file_bytes)
    with file.zip.open(entry) as opened:
        version = np.lib.format.read_magic(opened)
        if version == (1, 0):
            shape, _, kind = np.lib.format.read_array_header_1_0(opened)
        else:
            shape, _, kind = np.lib.format.read_array_header_2_0(opened)
    claimed = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or claimed > held:
        raise ValueError(
            f"array '{name}' claims the shape {shape}, {claimed:,} bytes, and {held:,} are there"
        )


def _images(data: Data, path: Path, values: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the array of images, checked, with axes (N, height, width, channels)."""
    name = data.input_name()
    images = Columns(str(path), "array", (), values).of(name, "input")
    where = f"{path}: array '{name}' has the shape {images.shape}"
    if images.dtype.kind not in "buif" or not 2 <= images.ndim <= 4 or not images.size:
        raise DataError(
            f"{where} and the type {images.dtype}; expected numbers (N, height, width, channels), "
            "(N, height, width), or (N, width) for signals"
        )
    if images.ndim == 2:
        return images[:, None, :, None]
    if images.ndim == 3:
        return images[..., None]
    first = (data.arrays or Arrays()).channels_first
    if first is None and images.shape[1] == 3 and images.shape[2] == images.shape[3]:
        raise DataError(
            f"{where}, so the channels seem to be its second axis; say "
            "arrays: {channels_first: true}, or false where they are its last"
        )
    return images.transpose(0, 2, 3, 1) if first else images


def _value_range(images: NDArray[Any], wanted: tuple[float, float] | None, where: str) -> Any:
    """Return which values become grey level 0 and 255."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = int((~np.isfinite(images)).reshape(len(images), -1).any(axis=1).sum())
        raise DataError(f"{where}: {bad} image(s) hold values that are no finite number")
    if wanted is not None:
        return wanted
    usual = (0, 1) if images.dtype.kind in "fb" else (0, 255)
    low, high = images.min(), images.max()
    if low < usual[0] or high > usual[1]:
        kind = "floats" if images.dtype.kind == "f" else "whole numbers"
        raise DataError(
            f"{where}: values lie between {low:g} and {high:g}, and {kind} are expected from "
            f"{usual[0]} to {usual[1]}; say which become black and white, such as "
            f"arrays: {{range: [{low:g}, {high:g}]}}"
        )
    return usual


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    assert root is not None
    columns = _columns(data, root)
    targets, outputs = targets_of(columns, data)
    groups = groups_of(columns, data)
    images = _images(data, root, columns.values)
    wanted = (data.arrays or Arrays()).range
    low, high = _value_range(images, wanted, f"{root}: array '{data.input_name()}'")
    out = allocated(scratch / "decoded.npy", images.shape)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        if images.dtype != np.uint8 or wanted is not None:
            part = np.rint((part.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255)
        out[start : start + CHUNK] = part
        progress(min(start + CHUNK, len(images)), len(images))
    contents = hashes_of_rows(columns.values[data.input_name()])  # whatever their axes are
    images = resized(out, data)
    return Decoded(images, targets, outputs, contents, task=data.task, groups=groups)


SOURCE = Source(stamp, decode)
