"""Preparing data: decoded once, split once, kept as memory-mapped arrays in the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from hpsearch.data import sealed
from hpsearch.data.account import Account, account_json, write_names
from hpsearch.data.audit import audited
from hpsearch.data.digests import FORMAT, write_meta
from hpsearch.data.places import placed
from hpsearch.data.prepared import CONTENTS, Prepared, cache_folder, read_prepared
from hpsearch.data.sources import (
    arrays,
    digits,
    folder,
    sound,
    table,
    text,
    torchvision_sets,
)
from hpsearch.data.sources.decoded import JOURNAL, Decoded, Progress, Source, allocated, released
from hpsearch.data.sources.targets import natural
from hpsearch.data.split import Assignment, Indices, assign
from hpsearch.errors import DataError
from hpsearch.study.data import Data, SourceName
from hpsearch.writing import write_bytes_whole

# To add a source, write its module and name it here and in `study/data.py`.
SOURCES: dict[SourceName, Source] = {
    "digits": digits.SOURCE,
    "folder": folder.SOURCE,
    "table": table.SOURCE,
    "arrays": arrays.SOURCE,
    "sound": sound.SOURCE,
    "text": text.SOURCE,
    **dict.fromkeys(torchvision_sets.PUBLISHED, torchvision_sets.SOURCE),
}

MOVED_BYTES = 2**24  # of images moved at a time, so that a large set need not fit into memory
SUMMED_BYTES = 2**22  # of images summed up at a time: 16 times as much while that lasts
LOCK_TIMEOUT_S = 86_400.0  # a lock dies with its process; millions of files take hours
UNFINISHED = ".unfinished"  # the end of the name of a folder in which data is being prepared
DECODED = ("decoded.npy", f"decoded{JOURNAL}")
ABANDONED_S = 7 * 86_400.0


def no_progress(done: int, of: int) -> None:
    """Say nothing."""


def prepare(
    data: Data, override: str | Path | None = None, progress: Progress = no_progress
) -> Prepared:
    """Return the data decoded and split, from the cache where nothing has changed since.

    Raises DataError with what is wrong and what to do about it.
    """
    source = SOURCES[data.source]
    try:
        data, root = placed(data, override)  # an OSError where a name is longer than a name may be
        stamp = source.stamp(data, root)
        options = data.model_dump_json(
            exclude={"root", "roots", "download", "balance", "fingerprint"}
        )
        made_by = f"{FORMAT} pillow {version('pillow')}"
        key = hashlib.sha256(
            f"{made_by}\n{options}\n{stamp}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:24]
        cache = cache_folder() / "prepared"
        prepared = _read_or_make(data, root, source, cache, key, progress)
        _note_place(cache / f"{prepared.fingerprint}.is", key)
        return prepared
    except OSError as error:
        raise _explained(error) from None


def _read_or_make(
    data: Data, root: Path | None, source: Source, cache: Path, key: str, progress: Progress
) -> Prepared:
    """Return what lies in the cache, made where it is not there, or is damaged."""
    found, damage = _readable(cache / key)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{key}.lock", timeout=LOCK_TIMEOUT_S):
            found = _readable(cache / key)[0]
            if found is None:
                _make(data, root, source, cache, key, progress)
                found = read_prepared(cache / key)
    return replace(found, remade=damage)


def _readable(folder: Path) -> tuple[Prepared | None, str | None]:
    """Return the prepared data in a folder, or why it is damaged; neither where there is none."""
    if not folder.exists():
        return None, None
    try:
        return read_prepared(folder), None
    except DataError as error:
        return None, str(error)


def _note_place(note: Path, key: str) -> None:
    """Note under a fingerprint in which folder its data lies, for `find_prepared`."""
    if not note.exists() or note.read_text(encoding="utf-8") != key:
        write_bytes_whole(note, key.encode())


def _explained(error: OSError) -> DataError:
    where = error.filename or cache_folder()
    if error.errno == errno.ENAMETOOLONG:
        return DataError(f"{str(where)[:100]}...: a name this long is no file's; shorten it")
    if error.errno == errno.ENOSPC:
        return DataError(f"{where}: the disk is full; free some, or set HPSEARCH_CACHE elsewhere")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return DataError(
            f"{where}: cannot be read or written ({error.strerror}); "
            "allow it, or set HPSEARCH_CACHE to a folder of yours"
        )
    return DataError(f"{where}: {error.strerror or error}")


def _make(
    data: Data, root: Path | None, source: Source, cache: Path, key: str, progress: Progress
) -> None:
    """Write prepared data beside its place, then move it there whole.

    What has been decoded stays there where this process is killed or interrupted, and whoever
    prepares the same data next goes on with it.
    """
    _remove_abandoned(cache)
    scratch = cache / f"{key}{UNFINISHED}"
    _begin(scratch)
    try:
        decoded = source.decode(data, root, scratch, progress)
        assignment = assign(
            decoded.targets,
            decoded.outputs,
            data.split,
            decoded.published,
            decoded.task,
            decoded.groups,
        )
        assignment = audited(
            decoded, assignment, data, scratch, cache / f"{key}.copies.png",
            decoded.groups, pictures=not decoded.symbols,
        )  # fmt: skip
        _write(scratch, decoded, assignment)
        for name in DECODED:
            (scratch / name).unlink(missing_ok=True)
        shutil.rmtree(cache / key, ignore_errors=True)
        scratch.chmod(0o755)  # what is unfinished is closed to others; prepared data need not be
        scratch.rename(cache / key)
    except BaseException as error:
        if isinstance(error, Exception) or not (scratch / DECODED[1]).exists():
            shutil.rmtree(scratch, ignore_errors=True)
        raise


def _begin(scratch: Path) -> None:
    """Make a folder for what is prepared, or leave of one what is decoded already."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    there = list(scratch.iterdir())
    for path in there:
        if path.name in DECODED:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_abandoned(cache: Path) -> None:
    """Remove what was begun and left alone for days; whoever is at work on it keeps it fresh."""
    for left in cache.glob(f"*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (left, *left.iterdir()))
            if time.time() - newest > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _write(place: Path, decoded: Decoded, assignment: Assignment) -> None:
    means = (decoded.task, decoded.outputs, decoded.images.shape[1:], decoded.symbols)
    digest = hashlib.sha256(repr(means).encode())
    search = np.concatenate([assignment.train, assignment.test])
    groups = None
    if decoded.groups is not None:  # no part of the fingerprint: the split is, which they decide
        groups = np.unique(decoded.groups.astype(str), return_inverse=True)[1].astype(np.int64)
    for folder_name, rows in (("search", search), (sealed.FOLDER, assignment.validation)):
        (place / folder_name).mkdir()
        _copy(place / folder_name / "images.npy", decoded.images, rows, digest)
        targets = decoded.targets[rows]
        np.save(place / folder_name / "targets.npy", targets)
        digest.update(targets.tobytes())
        if groups is not None:
            np.save(place / folder_name / "groups.npy", groups[rows])
    digest.update(repr((len(assignment.train), len(assignment.test))).encode())
    contents = decoded.contents  # no part of the fingerprint either: it tells what was decoded
    np.savez(place / CONTENTS, searched=contents[search], sealed=contents[assignment.validation])
    if decoded.symbols:
        # A rare symbol's own deviation would make it huge. One scale for all keeps 0 and 1 apart
        # by the root of their number, so that the channels of a place have a mean square of 1.
        mean, std = [0.0] * decoded.symbols, [decoded.symbols**-0.5] * decoded.symbols
    else:
        mean, std = _statistics(decoded.images, assignment.train)
    account = decoded.account or Account(len(decoded.targets), len(decoded.targets))
    assert account.used == len(decoded.targets), "every example is one that was found"
    write_names(place, account)
    by_split = (assignment.train, assignment.test, assignment.validation)
    target_mean, target_std = _target_statistics(decoded, assignment.train)
    meta = {
        "fingerprint": digest.hexdigest(),
        "task": decoded.task,
        "outputs": decoded.outputs,
        "train": len(assignment.train),
        "mean": mean,
        "std": std,
        "target_mean": target_mean,
        "target_std": target_std,
        "symbols": decoded.symbols,
        "image_shape": [decoded.symbols or decoded.images.shape[3], *decoded.images.shape[1:3]],
        "counts": np.stack([_counts(decoded, rows) for rows in by_split], axis=1).tolist(),
        "totals": [len(rows) for rows in by_split],
        "groups": [
            sorted(set(decoded.groups[rows].tolist()), key=natural)
            for rows in by_split
            if decoded.groups is not None
        ],
        "account": account_json(account),
    }
    write_meta(place, meta)


def _counts(decoded: Decoded, rows: Indices) -> NDArray[np.int64]:
    """Return how many of these images each output has `(outputs,)`, as `Prepared` counts them."""
    targets, outputs = decoded.targets[rows], len(decoded.outputs)
    if decoded.task == "regression":
        return np.full(outputs, len(rows))
    of_each: NDArray[np.int64] = (
        np.bincount(targets, minlength=outputs)
        if decoded.task == "single-label"
        else np.count_nonzero(targets > 0.5, axis=0)
    )
    return of_each


def _target_statistics(decoded: Decoded, rows: Indices) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each number to predict; nothing for other tasks.

    Raises DataError where a number is the same in all of train.
    """
    if decoded.task != "regression":
        return [], []
    numbers = decoded.targets[rows].astype(np.float64)
    mean, std = numbers.mean(axis=0), numbers.std(axis=0)
    for name, low, high in zip(decoded.outputs, numbers.min(0), numbers.max(0), strict=True):
        if low == high:
            raise DataError(
                f"'{name}' is {low:g} in every image of train; add images, or leave it out"
            )
    return mean.tolist(), std.tolist()


def _copy(path: Path, images: NDArray[np.uint8], rows: Indices, digest: hashlib._Hash) -> None:
    out = allocated(path, (len(rows), *images.shape[1:]))
    at_once = max(1, MOVED_BYTES // images[0].size)
    for start in range(0, len(rows), at_once):
        part = np.ascontiguousarray(images[rows[start : start + at_once]])
        out[start : start + at_once] = part
        digest.update(part.data.cast("B"))
        released(images)
        released(out)
    out.flush()


def _statistics(images: NDArray[np.uint8], rows: Indices) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in grey levels, of the images in `rows`."""
    channels = images.shape[-1]
    total, squares, count = np.zeros(channels), np.zeros(channels), 0
    # Products of matrices: sums along the other axis take 3.7 times as long for three channels.
    # Both are exact, of whole numbers below 2^53.
    at_once = max(1, SUMMED_BYTES // images[0].size)
    for start in range(0, len(rows), at_once):
        part = images[rows[start : start + at_once]].reshape(-1, channels).astype(np.float64)
        total += np.ones(len(part)) @ part
        squares += np.diag(part.T @ part)
        count += len(part)
        released(images)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.tolist(), std.tolist()
