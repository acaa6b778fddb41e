"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

LEFT_S = 300.0  # after so long, whoever was writing a file has died of it


def write_bytes_whole(path: Path, content: bytes, synced: bool = False) -> None:
    """Write a file, its folder made where it is missing; OSError, and all as before, where not.

    `synced` is whether it outlives a crash of the machine. What a process left that was killed
    while it wrote the same file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _remove_left(path)


def _remove_left(path: Path) -> None:
    """Remove what others began to write in a file's place long ago."""
    start = f".{path.name}."
    for other in os.scandir(path.parent):
        is_ours = other.name.startswith(start) and other.name[len(start) :].isdigit()
        if is_ours and time.time() - other.stat().st_mtime > LEFT_S:
            Path(other.path).unlink(missing_ok=True)
