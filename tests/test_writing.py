"""A file is there whole or as it was, and nothing half written stays beside it."""

import errno
import os
import time
from pathlib import Path

import pytest

from hpsearch.writing import LEFT_S, write_bytes_whole


def test_a_file_that_cannot_be_put_in_its_place_is_as_it_was_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes_whole(tmp_path / "in" / "file", b"before")

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_whole(tmp_path / "in" / "file", b"after", synced=True)
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["file"]
    assert (tmp_path / "in" / "file").read_bytes() == b"before"


def test_what_was_half_written_long_ago_by_a_process_that_died_is_removed(tmp_path: Path) -> None:
    long_ago = time.time() - LEFT_S - 1
    for name in (".file.1", ".file.2", ".file.other", ".other.1"):
        (tmp_path / name).write_bytes(b"half")
        if name != ".file.2":
            os.utime(tmp_path / name, (long_ago, long_ago))
    write_bytes_whole(tmp_path / "file", b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {
        "file",
        ".file.2",
        ".file.other",
        ".other.1",
    }
