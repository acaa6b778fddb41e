"""Whether prepared data is still what was written: digests of its files, kept beside them.

What is small is checked at every load, as are the sizes of files, of the part that is loaded: a
search needs nothing of what is sealed, not even that it is there. Images are read from end to end
by `verify` alone. Nothing of what is read here is handed out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from hpsearch.errors import DataError
from hpsearch.writing import write_bytes_whole

FORMAT = 7  # of the files of prepared data; another number leaves older caches alone
META, MARK = "meta.json", "damaged.txt"
IMAGES = "images.npy"
ARRAYS = (".npy", ".npz")  # what the digests are of


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write what is known of prepared data, the digests of its files and its own among it."""
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": _digest(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.suffix in ARRAYS and path.name != "decoded.npy"
    }
    whole = {"format": FORMAT} | meta | {"files": files}
    whole["sha256"] = _own_digest(whole)
    (folder / META).write_text(json.dumps(whole, indent=1), encoding="utf-8")


def read_meta(folder: Path, below: str = "") -> dict[str, Any]:
    """Return what is known of prepared data, by which files have the sizes they were written with.

    That is looked at of all files, or of those `below`. Raises DataError where it is not so.
    """
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise damaged(folder, f"{META} is gone") from None
    except ValueError:
        raise damaged(folder, f"{META} is not what was written") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise damaged(folder, f"{META} is not of this version of hpsearch, or not what was written")
    if meta.get("sha256") != _own_digest(meta):
        raise damaged(folder, f"{META} is not what was written")
    if (folder / MARK).exists():
        raise DataError((folder / MARK).read_text(encoding="utf-8"))
    for name, kept in meta["files"].items():
        if not name.startswith(below):
            continue
        try:
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            raise damaged(folder, f"{name} is gone") from None
        if size != kept["bytes"]:
            raise damaged(folder, f"{name} has {size} bytes, and {kept['bytes']} were written")
    return meta


def check_quickly(folder: Path, meta: dict[str, Any], below: str = "") -> None:
    """Raise DataError where a file below a folder, other than images, is not what was written."""
    for name in meta["files"]:
        if name.startswith(below) and not name.endswith(IMAGES):
            _check(folder, meta, name)


def looks_whole(folder: Path, below: str = "") -> bool:
    """Whether prepared data of this version lies in a folder, as far as that is seen at once.

    All of it, or what is `below`.
    """
    try:
        read_meta(folder, below)
    except DataError:
        return False
    return True


def verify(folder: Path) -> None:
    """Read all prepared data from end to end; DataError where any of it is not what was written."""
    meta = read_meta(folder)
    for name in meta["files"]:
        _check(folder, meta, name)


def _mark(folder: Path, why: str) -> None:
    """Leave word of damage that not everybody looks for, where the folder allows it.

    So nobody finds this data any more, and whoever prepares it next makes it anew.
    """
    with contextlib.suppress(OSError):
        write_bytes_whole(folder / MARK, why.encode())


def damaged(folder: Path, what: str) -> DataError:
    """Return the error that says what is wrong with prepared data, and what to do."""
    return DataError(
        f"prepared data in {folder} is damaged: {what}. 'hpsearch check STUDY.yaml' and 'hpsearch "
        "launch STUDY.yaml' make it anew"
    )


def _check(folder: Path, meta: dict[str, Any], name: str) -> None:
    try:
        found = _digest(folder / name)
    except FileNotFoundError:
        raise damaged(folder, f"{name} is gone") from None
    if found != meta["files"][name]["sha256"]:
        error = damaged(folder, f"{name} is not what was written")
        _mark(folder, str(error))
        raise error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_digest(meta: dict[str, Any]) -> str:
    """Return the digest of what is known, but for itself."""
    rest = {key: value for key, value in meta.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
