"""Storage URLs: what they may be, and how they are shown without their password."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hpsearch.errors import StorageError

PASSWORD_FILE_VARIABLE = "HPSEARCH_STORAGE_PASSWORD_FILE"
LONGEST_PASSWORD = 64 * 1024  # bytes; tokens of cloud databases are a few thousand


def shown_url(url: URL | str) -> str:
    """Return a storage URL for people and logs: without its password, wherever it stands."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return "the storage URL"
    safe = {k: "***" if "pass" in k.lower() else v for k, v in parsed.query.items()}
    return parsed.set(query=safe).render_as_string(hide_password=True)


_SECRETS = (
    re.compile(r"(?<=://)([^:/?#@\s]*):([^/?#\s]*)(?=@)"),
    re.compile(
        r"((?:pass|secret|token)\w*\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)", re.IGNORECASE
    ),
)


def without_secrets(text: str) -> str:
    """Return text for people and logs, with the passwords of all URLs in it left out."""
    text = _SECRETS[0].sub(r"\1:***", text)
    return _SECRETS[1].sub(r"\1***", text)


NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "fuse.", "9p")


def network_file_system(path: Path, mounts: str) -> str | None:
    """Return the kind of network file system that a file lies on, None where it is a local one.

    `mounts` is the content of /proc/mounts.
    """
    found = ("/", "")
    for line in mounts.splitlines():
        place, kind = line.split()[1:3]
        place = place.encode().decode("unicode_escape")  # a space is written as \\040
        if path.absolute().is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1] if found[1].startswith(NETWORK_FILE_SYSTEMS) else None


def parse_url(url: str) -> URL:
    """Return a storage URL checked and completed, Postgres through psycopg 3.

    A Postgres URL without a password gets the one in the file that HPSEARCH_STORAGE_PASSWORD_FILE
    names, if it names one: a secret of Docker, Kubernetes or systemd is such a file.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StorageError(
            "the storage URL cannot be read; write sqlite:///runs/hpsearch.db or "
            "postgresql://USER@HOST/DATABASE"
        ) from None
    backend = parsed.drivername.split("+")[0]
    if backend == "sqlite":
        in_memory = ":memory:" in str(parsed.database) or parsed.query.get("mode") == "memory"
        if not parsed.database or in_memory:
            raise StorageError("SQLite needs a file, such as sqlite:///runs/hpsearch.db")
        return parsed.set(database=_at_home(parsed.database))
    if backend in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
        named = os.environ.get(PASSWORD_FILE_VARIABLE)
        if named and parsed.password is None and "password" not in parsed.query:
            return parsed.set(password=_password_in(Path(named)))
        return parsed
    raise StorageError(
        f"'{parsed.drivername}' is not supported; write sqlite:///FILE or postgresql://..."
    )


def _at_home(path: str) -> str:
    """Return a path with its `~` followed, as a shell does only where it begins a word."""
    if not path.startswith("~"):
        return path
    found = os.path.expanduser(path)  # noqa: PTH111 -- Path.expanduser raises RuntimeError
    if found.startswith("~"):
        raise StorageError(f"sqlite:///{path}: nobody of that name has a home here; write the path")
    return found


def _password_in(path: Path) -> str:
    """Return what a file holds but the line ends after it, which the Postgres image drops too."""
    reason = ""
    try:
        password = _beginning_of(path).decode().rstrip("\n")
        if len(password) > LONGEST_PASSWORD:
            reason = f"it is longer than {LONGEST_PASSWORD:,} bytes"
        elif "\0" in password:
            reason = "it is not text"
        elif not password:
            reason = "it is empty"
    except OSError as error:
        reason = str(error.strerror)
    except UnicodeDecodeError:
        reason = "it is not text"
    if reason:
        raise StorageError(
            f"{PASSWORD_FILE_VARIABLE}: {path}: {reason}; it has to be a file with the password in "
            "it"
        )
    return password


def _beginning_of(path: Path) -> bytes:
    """Return as much of a file as may be a password, and a little more; OSError for a device."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(None, "it is a pipe or a device, which may never end")
    with path.open("rb") as file:
        content = file.read(LONGEST_PASSWORD + 4)
    if len(content) <= LONGEST_PASSWORD:
        return content
    return b"x" * len(content)  # where it is cut is no fault of its letters
