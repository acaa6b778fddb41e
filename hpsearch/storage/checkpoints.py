"""Checkpoints of unfinished trials: in a folder, or in an object store, by URL.

A checkpoint lies under its study's name and is called after its training (a trial's slot, a
finalist's and its repeat, or the final) and a hash of its configuration, so that one of a study
that was deleted and made anew cannot be mistaken for it.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.errors import StorageError
from hpsearch.storage.url import without_secrets
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import is_name
from hpsearch.writing import write_bytes_whole

logger = logging.getLogger(__name__)

EVERY_S = 5.0  # after so long, the end of an epoch is kept; short epochs are not kept one by one
LARGEST_BYTES = 20 * 2**30  # of all checkpoints of a study together; more are not written
KEEP_FREE_BYTES = 256 * 2**20  # of a local disk, for the database and for results
WARN_EVERY_S = 60.0


@dataclass
class Checkpoints:
    """A place for checkpoints. Trouble with it is logged, and never a trial's: it would only have
    to start again where it is taken over."""

    url: str
    every_s: float = EVERY_S
    largest_bytes: int = LARGEST_BYTES
    keep_free_bytes: int = KEEP_FREE_BYTES
    _fs: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)
    _warned_at: float = field(default=float("-inf"), init=False, repr=False)

    def __post_init__(self) -> None:
        import fsspec  # imported late: few commands look at checkpoints

        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise StorageError(
                f"--checkpoints {without_secrets(self.url)}: {error}; s3:// needs 'hpsearch[s3]'"
            ) from None
        except ValueError as error:
            raise StorageError(
                f"--checkpoints {without_secrets(self.url)}: {error}; name a folder or s3://BUCKET/FOLDER"
            ) from None

    @property
    def local(self) -> bool:
        """Whether they lie in a folder."""
        return "file" in self._protocols()

    def save(self, study: str, training: str, config: TrialConfig, content: bytes) -> bool:
        """Write a checkpoint whole or not at all, over the one before; return whether it is there.

        A full disk, or one checkpoint more than the limit allows, is a warning.
        """
        path = self._path(study, training, config)
        try:
            self._check_room(study, len(content), path)
            if self.local:
                write_bytes_whole(Path(path), content)
            else:
                self._fs.pipe_file(path, content)  # object stores replace an object whole
        except Exception as error:  # whatever a remote file system raises
            self._warn(f"no checkpoint of training {training} of '{study}': {_said(error)}")
            return False
        return True

    def load(self, study: str, training: str, config: TrialConfig) -> bytes | None:
        """Return the newest checkpoint of a trial, None where there is none within reach."""
        path = self._path(study, training, config)
        try:
            content: bytes = self._fresh().cat_file(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a remote file system raises
            self._warn(f"the checkpoint of training {training} of '{study}': {_said(error)}")
            return None
        return content

    def drop(self, study: str, training: str, config: TrialConfig) -> None:
        """Remove the checkpoint of a trial that has ended."""
        self._remove(self._path(study, training, config), recursive=False)

    def drop_study(self, study: str) -> None:
        """Remove whatever is left of a study; nothing where its name cannot be one."""
        if is_name(study):
            self._remove(self._folder(study), recursive=True)
        else:
            self._warn(f"nothing is removed: {study!r} is no name of a study")

    def size_bytes(self, study: str) -> int:
        """Return how much the checkpoints of a study occupy."""
        try:
            return int(self._fresh().du(self._folder(study), total=True))
        except Exception:  # none yet, or out of reach
            return 0

    def _fresh(self) -> Any:
        """Return the file system without what it remembers of its listings.

        s3fs answers from a listing that it once made, and what another worker has written since is
        not found; so may any file system of fsspec.
        """
        self._fs.invalidate_cache()
        return self._fs

    def _remove(self, path: str, recursive: bool) -> None:
        """Remove a file or folder of ours, and nothing that a link in the way leads to."""
        try:
            if self.local and Path(path).resolve() != self._unlinked(path):
                raise OSError(errno.ELOOP, "a symbolic link leads elsewhere")
            self._fresh().rm(path, recursive=recursive)
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever a remote file system raises
            self._warn(f"{path}: not removed: {_said(error)}")

    def _check_room(self, study: str, size: int, path: str) -> None:
        """Raise OSError where one more checkpoint would be too much."""
        if self.size_bytes(study) + size > self.largest_bytes and not self._fresh().exists(path):
            raise OSError(
                0, f"checkpoints of a study may take {self.largest_bytes / 2**30:.0f} GiB together"
            )
        if self.local:
            folder = Path(path).parent
            folder.mkdir(parents=True, exist_ok=True)
            room = os.statvfs(folder) if hasattr(os, "statvfs") else None
            if room and room.f_bavail * room.f_frsize < size + self.keep_free_bytes:
                raise OSError(0, "the disk is nearly full")

    def _unlinked(self, path: str) -> Path:
        """Return where a local path leads if nothing below the root is a link."""
        return Path(self._root).resolve() / Path(path).relative_to(self._root)

    def _folder(self, study: str) -> str:
        """Return where a study's checkpoints lie; StorageError for what cannot be a study's name.

        Names come from the database, too: one with '..' in it, or an empty one, would lead to what
        is not that study's.
        """
        if not is_name(study):
            raise StorageError(f"{study!r} is no name of a study; it has no checkpoints")
        return f"{self._root.rstrip('/')}/{study}"

    def _path(self, study: str, training: str, config: TrialConfig) -> str:
        return f"{self._folder(study)}/{training}-{_hash(config)}.ckpt"

    def _protocols(self) -> tuple[str, ...]:
        protocol = self._fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def _warn(self, words: str) -> None:
        """Warn, and not again for a while: a full disk is full at every epoch."""
        now = time.monotonic()
        level = logging.WARNING if now - self._warned_at > WARN_EVERY_S else logging.DEBUG
        self._warned_at = now if level == logging.WARNING else self._warned_at
        logger.log(level, "%s: %s; the trial goes on", without_secrets(self.url), words)


def _hash(config: TrialConfig) -> str:
    """Return what identifies a training: all of its configuration but where its data lies."""
    place = {"root", "roots", "download", "on_broken"}
    decisive = config.model_dump_json(exclude={"data": place})
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def _said(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)
