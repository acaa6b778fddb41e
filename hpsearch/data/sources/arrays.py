"""Arrays in an `.npz` file: images of any height, width and number of channels, and targets."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account
from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.files import file_stamp
from hpsearch.data.sources.levels import FILLED, Range, as_levels, range_words
from hpsearch.data.sources.npz_parts import ArrayParts, array_parts
from hpsearch.data.sources.published import COLUMN, published
from hpsearch.data.sources.resize import resized
from hpsearch.data.sources.shapes import shaped
from hpsearch.data.sources.targets import groups_of, label_findings, labels_decided, targets_of
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
MOST_CHANNELS = 4  # of an axis that may be channels though it is not the last one


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    return f"{root.resolve()} {file_stamp(root)}"


def _columns(data: Data, path: Path) -> Columns:
    """Return the arrays that the study names, all of one length."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"data.root: {path} {what}; name an .npz file as numpy.savez writes it")
    column = data.split.column or COLUMN
    named = (data.groups, column if data.split.parts != "pooled" else None)
    wanted = {data.input_name(), *data.target_names(), *(name for name in named if name)}
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array alone, and targets are another")
            parts = array_parts(file.files, data)
            of_parts = () if parts is None else sum(parts.arrays.values(), ())
            for name in (wanted | set(of_parts)) & set(file.files):
                _check_claim(file, name, path.stat().st_size)
            # Arrays that nobody asked for are named where one is missing, but never read.
            values = {n: file[n] if n in wanted else np.empty(0) for n in file.files}
            if parts is not None:
                values |= _joined_parts(file, parts, data.input_name())
            values = {n: _decoded(v, n) if v.dtype.kind == "S" else v for n, v in values.items()}
    except BROKEN as error:
        raise DataError(f"{path}: is not an .npz file of plain arrays: {error}") from None
    count = len(_images(data, path, values))
    if not data.split.column and values.get(column, np.empty(0)).shape != (count,):
        values.pop(column, None)  # an array of that name which names no part of each image
    for name in wanted & values.keys():
        if values[name].shape[:1] != (count,):
            raise DataError(
                f"{path}: array '{name}' has the shape {values[name].shape}, and there are {count} "
                "images; the first axis of both counts the images"
            )
    return Columns(str(path), "array", [f"image {i}" for i in range(count)], values)


def _joined_parts(
    file: np.lib.npyio.NpzFile[Any], parts: ArrayParts, images: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays of all parts one after the other, and the part of each image.

    ValueError where a part has another number of targets than of images: joined, they may be as
    many, and belong to others.
    """
    every = {name: [file[part] for part in of] for name, of in parts.arrays.items()}
    each = [len(array) for array in every[images]]
    joined: dict[str, NDArray[Any]] = {}
    for name, of in parts.arrays.items():
        read = every.pop(name)
        for part, array, count in zip(of, read, each, strict=True):
            if len(array) != count:
                raise ValueError(
                    f"array '{part}' has the shape {array.shape}, and there are {count} images in "
                    "its part"
                )
        joined[name] = np.concatenate(read)
    return joined | {COLUMN: np.repeat(np.array(parts.parts, object), each)}


def _decoded(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return byte strings as text; ValueError where they are no UTF-8."""
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"array '{name}' holds bytes that are no UTF-8 ({error.object!r})"
        ) from None


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
    if kind.hasobject:
        raise ValueError(f"array '{name}' holds Python objects; save numbers or text")
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
    n, *axes = images.shape
    if first is None and _seems_first(*axes):
        raise DataError(
            f"{where}, so the channels seem to be its second axis; say "
            f"arrays: {{channels_first: true}} where these are {n:,} images of {axes[1]} x "
            f"{axes[2]} with {axes[0]} channel(s), or false where they are images of {axes[0]} x "
            f"{axes[1]} with {axes[2]} channels"
        )
    return images.transpose(0, 2, 3, 1) if first else images


def _seems_first(one: int, two: int, three: int) -> bool:
    """Whether the first of an image's axes seems to be its channels.

    It does where it is short beside the others; so do many channels of a square, and channels of a
    signal, which is one line.
    """
    few = one <= MOST_CHANNELS and one < min(two, three)
    return few or (one < three and (two == three or (two == 1 and three > MOST_CHANNELS)))


def _value_range(images: NDArray[Any], wanted: Range | None, where: str) -> tuple[Range, str]:
    """Return which values become grey level 0 and 255, and the sentence that says so."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = int((~np.isfinite(images)).reshape(len(images), -1).any(axis=1).sum())
        raise DataError(f"{where}: {bad} image(s) hold values that are no finite number")
    low, high = images.min(), images.max()
    held = f"grey levels: values of {low:g} to {high:g}"
    if wanted is not None:
        words = f"{held}; {range_words(wanted)} become black and white, as arrays.range says"
        beyond = low < wanted[0] or high > wanted[1]
        return wanted, words + ("; those beyond are cut there" if beyond else "")
    usual = (0.0, 1.0) if images.dtype.kind in "fb" else (0.0, 255.0)
    kind = "floats" if images.dtype.kind == "f" else "whole numbers"
    if low < usual[0] or high > usual[1]:
        raise DataError(
            f"{where}: values lie between {low:g} and {high:g}, and {kind} are expected from "
            f"{usual[0]:g} to {usual[1]:g}; say which become black and white, such as "
            f"arrays: {{range: [{low:g}, {high:g}]}}"
        )
    if images.dtype == np.uint8 and high > FILLED * usual[1]:
        return usual, ""  # they are grey levels, and stay as they are
    words = f"{held}; {range_words(usual)} become black and white, as is usual of {kind}"
    if high <= FILLED * usual[1]:
        words += f", which they do not fill; arrays: {{range: [{low:g}, {high:g}]}} spreads them"
    return usual, words


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    assert root is not None
    return decode_columns(_columns(data, root), data, root, scratch, progress)


def decode_columns(
    columns: Columns, data: Data, root: Path, scratch: Path, progress: Progress
) -> Decoded:
    """Return what named columns hold, of which the input is an array of images."""
    split = published(columns, data)
    account = Account(len(columns), len(columns), (), columns.decided, "images")
    codes = split.codes
    if codes is not None:
        for left in split.left_out:
            account = account.without(left.reason, left.names)
        columns, codes = columns.taking(np.flatnonzero(codes >= 0)), codes[codes >= 0]
    targets, outputs = targets_of(columns, data)
    groups = groups_of(columns, data)
    images = _images(data, root, columns.values)
    wanted = (data.arrays or Arrays()).range
    where = f"{root}: array '{data.input_name()}'"
    black_white, words = _value_range(images, wanted, where)
    out = allocated(scratch / "decoded.npy", images.shape)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        if images.dtype != np.uint8 or wanted is not None:
            part = as_levels(part, black_white)
        out[start : start + CHUNK] = part
        progress(min(start + CHUNK, len(images)), len(images))
    contents = hashes_of_rows(columns.values[data.input_name()])  # whatever their axes are
    decoded = Decoded(
        resized(out, data),
        targets,
        outputs,
        contents,
        task=data.task,
        groups=groups,
        findings=label_findings(columns, data),
        published=codes,
        account=account.deciding(*split.decided),
    )
    said = (*([words] if words else []), *labels_decided(columns, data))
    return shaped(decoded.deciding(*said), out.shape[2], out.shape[1], data)


SOURCE = Source(stamp, decode)
