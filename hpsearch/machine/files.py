"""Writing the files of results: each is there whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hpsearch.errors import RunsFolderError
from hpsearch.writing import write_bytes_whole


def check_writable(path: Path) -> None:
    """Raise RunsFolderError where a file could not be written; nothing is left of the trial."""
    if path.is_dir():
        raise RunsFolderError(f"{path}: is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunsFolderError(
            f"{path}: cannot be written: {error.strerror}; free space or choose another folder"
        ) from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all; RunsFolderError where it cannot be."""
    try:
        whole = content.encode() if isinstance(content, str) else content
        write_bytes_whole(path, whole, synced=True)
    except OSError as error:
        raise RunsFolderError(
            f"{path}: cannot be written: {error.strerror}; free space or choose another folder"
        ) from None
