"""Arrays in an `.npz` or HDF5 file: images of any height, width and channels, and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account
from hpsearch.data.sources.columns import Columns, joined
from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.files import file_stamp
from hpsearch.data.sources.hdf5 import beside, data_sets, is_hdf5, rows_of, values_of
from hpsearch.data.sources.levels import FILLED, Range, as_levels, range_words
from hpsearch.data.sources.npz import array_of, opened_npz
from hpsearch.data.sources.npz_parts import array_parts
from hpsearch.data.sources.published import COLUMN, part_names, published
from hpsearch.data.sources.resize import resized
from hpsearch.data.sources.shapes import shaped
from hpsearch.data.sources.stacked import Stacked, stacked
from hpsearch.data.sources.targets import groups_of, label_findings, labels_decided, targets_of
from hpsearch.errors import DataError
from hpsearch.study.data import Arrays, Data
from hpsearch.study.splits import COLUMN_OF_ROOTS

AT_ONCE = 2**24  # bytes of images that are read at a time
MOST_CHANNELS = 4  # of an axis that may be channels though it is not the last one


@dataclass(frozen=True)
class Kept:
    """A file of arrays: their names, and what reads one of them whole, or only its rows."""

    noun: str
    names: Sequence[str]
    values: Callable[[str], NDArray[Any]]
    rows: Callable[[str], Stacked]


def stamp(data: Data, root: Path | None) -> str:
    assert root is not None
    files = []
    for place in [root] if data.roots is None else map(Path, data.roots.places()):
        others = (beside(place, data.input_name(), name) for name in _named(data))
        files += [place, *(other for other in others if is_hdf5(place) and other is not None)]
    return "\n".join(f"{path.resolve()} {file_stamp(path)}" for path in files)


def _named(data: Data) -> dict[str, str]:
    """Return the arrays that the study names besides the images, and the keys that name them."""
    groups = {} if data.groups is None else {data.groups: "groups"}
    return dict.fromkeys(data.target_names(), "target") | groups


def _read(data: Data, root: Path) -> tuple[Columns, Stacked]:
    """Return what is known of the images of one file, or of one for each part, and the images."""
    if data.roots is None:
        return _read_one(data, root)
    alone = data.model_copy(update={"roots": None})
    found = []
    for name, place in zip(part_names(data), data.roots.places(), strict=True):
        columns, images = _read_one(alone, Path(place))
        asked = {array: columns.of(array, key) for array, key in _named(data).items()}
        found.append((name, replace(columns, values=asked), images))
    for array in _named(data):  # whatever axes of one value each they have
        alike = _one_shape([c.values[array] for _, c, _ in found], f"data.roots: '{array}'")
        for (_, columns, _), values in zip(found, alike, strict=True):
            columns.values[array] = values
    images = _alike([(f"{name}: images", images) for name, _, images in found])
    return joined([(name, columns) for name, columns, _ in found], COLUMN_OF_ROOTS), images


def _read_one(data: Data, path: Path) -> tuple[Columns, Stacked]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(
            f"data.root: {path} {what}; name an .npz file as numpy.savez writes it, or HDF5"
        )
    if is_hdf5(path):
        kept = Kept(
            "data set", data_sets(path), lambda n: values_of(path, n), partial(rows_of, path)
        )
        return _arrays(data, path, kept)
    with opened_npz(path) as file:
        read = partial(array_of, file, file_bytes=path.stat().st_size)
        return _arrays(data, path, Kept("array", file.files, read, lambda n: stacked([read(n)])))


def _arrays(data: Data, path: Path, kept: Kept) -> tuple[Columns, Stacked]:
    """Return the arrays that the study names, all of one length."""
    of_images, said = data.input_name(), []
    column = data.split.column or COLUMN
    of_parts = {} if data.split.parts == "pooled" else {column: "split.column"}
    wanted = _named(data) | of_parts
    # Arrays that nobody asked for are named where one is missing, but never read.
    values = {n: kept.values(n) if n in wanted else np.empty(0) for n in kept.names}
    for name in _named(data).keys() - values.keys() if is_hdf5(path) else ():
        other = beside(path, of_images, name)
        if other is not None:
            values[name] = values_of(other, name)
            said.append(f"target: '{name}' lies in {other.name}, beside {path.name}")
    parts = array_parts(kept.names, data)
    names = (of_images,) if parts is None else parts.arrays[of_images]
    Columns(str(path), kept.noun, (), values).of(names[0], "input")
    images = _alike([(f"{path}: {kept.noun} '{name}'", kept.rows(name)) for name in names])
    for name, of in () if parts is None else parts.arrays.items():
        if name != of_images:
            each_part = [kept.values(part) for part in of]
            _check_lengths(each_part, of, images, path)
            values[name] = np.concatenate(_one_shape(each_part, f"{path}: {', '.join(of)}"))
    if parts is not None:
        each = [length for length, _ in images.parts]
        values[COLUMN] = np.repeat(np.array(parts.parts, object), each)
    count = len(images)
    if not data.split.column and values.get(column, np.empty(0)).shape != (count,):
        values.pop(column, None)  # an array of that name which names no part of each image
    for name in wanted & values.keys():
        if values[name].shape[:1] != (count,):
            raise DataError(
                f"{path}: {kept.noun} '{name}' has the shape {values[name].shape}, and there are "
                f"{count} images; the first axis of both counts the images"
            )
    examples = [f"image {i}" for i in range(count)]
    return Columns(str(path), kept.noun, examples, values, tuple(said)), images


def _check_lengths(
    several: Sequence[NDArray[Any]], names: Sequence[str], images: Stacked, path: Path
) -> None:
    """Raise DataError where a part has another number of values than of images.

    Joined, they may be as many, and belong to others.
    """
    for values, name, (count, _) in zip(several, names, images.parts, strict=True):
        if len(values) != count:
            raise DataError(
                f"{path}: array '{name}' has the shape {values.shape}, and there are {count} "
                "images in its part"
            )


def _one_shape(several: Sequence[NDArray[Any]], where: str) -> list[NDArray[Any]]:
    """Return the values of all parts in one shape; DataError where they have several."""
    found = [one.reshape(len(one)) if one.size == len(one) else one for one in several]
    if len({one.shape[1:] for one in found}) > 1:
        shapes = ", ".join(str(one.shape) for one in found)
        raise DataError(f"{where}: its parts have the shapes {shapes}; write all of them alike")
    return found


def _alike(several: Sequence[tuple[str, Stacked]]) -> Stacked:
    """Return the images of all places; DataError where they are not of one shape and kind."""
    where, first = several[0]
    for place, images in several:
        kinds = {"f" if one.dtype.kind == "f" else "whole" for one in (first, images)}
        if images.row != first.row or len(kinds) > 1:
            raise DataError(
                f"{place} are of {_by(images.row)} in {images.dtype}, and those of {where} of "
                f"{_by(first.row)} in {first.dtype}; all have one shape and one kind of number"
            )
    return stacked([images for _, images in several])


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _in_order(images: Stacked, data: Data, where: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what gives rows the axes (N, height, width, channels); DataError if nothing does."""
    where = f"{where} has the shape {images.shape}"
    if images.dtype.kind not in "buif" or not 2 <= images.ndim <= 4 or not images.size:
        raise DataError(
            f"{where} and the type {images.dtype}; expected numbers (N, height, width, channels), "
            "(N, height, width), or (N, width) for signals"
        )
    if images.ndim == 2:
        return lambda rows: rows[:, None, :, None]
    if images.ndim == 3:
        return lambda rows: rows[..., None]
    first = (data.arrays or Arrays()).channels_first
    n, *axes = images.shape
    if first is None and _seems_first(*axes):
        raise DataError(
            f"{where}, so the channels seem to be its second axis; say "
            f"arrays: {{channels_first: true}} where these are {n:,} images of {axes[1]} x "
            f"{axes[2]} with {axes[0]} channel(s), or false where they are images of {axes[0]} x "
            f"{axes[1]} with {axes[2]} channels"
        )
    return lambda rows: rows.transpose(0, 2, 3, 1) if first else rows


def _seems_first(one: int, two: int, three: int) -> bool:
    """Whether the first of an image's axes seems to be its channels.

    It does where it is short beside the others; so do many channels of a square, and channels of a
    signal, which is one line.
    """
    few = one <= MOST_CHANNELS and one < min(two, three)
    return few or (one < three and (two == three or (two == 1 and three > MOST_CHANNELS)))


def _portions(images: Stacked) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield where some rows begin, and the rows, few enough to fit into memory."""
    at_once = max(1, AT_ONCE // (prod(images.row) * images.dtype.itemsize))
    for start in range(0, len(images), at_once):
        yield start, images[start : start + at_once]


def _extremes(images: Stacked, where: str, bytes_alone: bool) -> tuple[float, float]:
    """Return the least and the greatest value; DataError where one is no finite number.

    Of `bytes_alone`, which stay as they are where they fill their range, until that is known.
    """
    low, high, bad = np.inf, -np.inf, 0
    for _, rows in _portions(images):
        if rows.dtype.kind == "f":
            bad += int((~np.isfinite(rows)).reshape(len(rows), -1).any(axis=1).sum())
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
        if bytes_alone and high > FILLED * 255:
            break
    if bad:
        raise DataError(f"{where}: {bad} image(s) hold values that are no finite number")
    return low, high


def _value_range(images: Stacked, wanted: Range | None, where: str) -> tuple[Range, str]:
    """Return which values become grey level 0 and 255, and the sentence that says so."""
    low, high = _extremes(images, where, images.dtype == np.uint8 and wanted is None)
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
    columns, images = _read(data, root)
    return decode_columns(columns, images, data, scratch, progress)


def decode_columns(
    columns: Columns, images: Stacked, data: Data, scratch: Path, progress: Progress
) -> Decoded:
    """Return images, and what named columns say of them."""
    where = f"{columns.place}: {columns.noun} '{data.input_name()}'"
    in_order = _in_order(images, data, where)
    split = published(columns, data)
    account = Account(len(columns), len(columns), (), columns.decided, "images")
    codes = split.codes
    if codes is not None:
        for left in split.left_out:
            account = account.without(left.reason, left.names)
        kept = np.flatnonzero(codes >= 0)
        columns, images, codes = columns.taking(kept), images.taking(kept), codes[kept]
    targets, outputs = targets_of(columns, data)
    groups = groups_of(columns, data)
    wanted = (data.arrays or Arrays()).range
    black_white, words = _value_range(images, wanted, where)
    height, width, channels = in_order(images[:1]).shape[1:]
    out = allocated(
        scratch / "decoded.npy", (len(images), *(data.size() or (height, width)), channels)
    )
    contents = np.empty(len(images), np.uint64)
    for start, rows in _portions(images):
        some = slice(start, start + len(rows))
        contents[some] = hashes_of_rows(rows)  # whatever their axes are
        part = in_order(rows)
        if images.dtype != np.uint8 or wanted is not None:
            part = as_levels(part, black_white)
        out[some] = resized(part, data)
        progress(some.stop, len(images))
    decoded = Decoded(
        out,
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
    return shaped(decoded.deciding(*said), width, height, data)


SOURCE = Source(stamp, decode)
