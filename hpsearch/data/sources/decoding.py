"""Decoding many files: in parts by several threads, into a mapped file, resumable.

Threads, because Pillow and libsndfile let others run while they decode: on two cores 10,000 JPEGs
of 64 x 64 took 1.65 s with threads, 2.25 s with processes and 4.7 s with neither, 575 photos 0.51,
0.71 and 1.8 s. A part is several files: handed out one by one, those JPEGs took 2.4 s.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.content import hash_of
from hpsearch.data.sources.decoded import JOURNAL, Decoded, Example, Progress, released
from hpsearch.data.sources.files import Listing, without_broken
from hpsearch.data.sources.resize import Span
from hpsearch.data.sources.targets import groups_of, labels_decided, targets_of
from hpsearch.data.threads import in_turn
from hpsearch.study.data import Data

_BY_ROW = ("broken", "notes", "content")
PART = 64  # files that a thread decodes in turn, or fewer where there are not many
PARTS_OF_A_THREAD = 8  # at least, so that all end at about the same time
SAVED_EVERY_S = 5.0  # what a killed preparation loses, and what is too short to be resumed
RELEASED_BYTES = 2**26  # of images that this process keeps mapped while it decodes

# It gets a file and, where a file is read for a later page, that page's number.
Read = Callable[..., Example]


@dataclass
class Part:
    """What became of the files `start` to `stop`: hashes of their content, what is broken, notes.

    `broken` says why by row, `notes` what was done to a row's picture, and `content` where it is no
    padding, if any of it is.
    """

    start: int
    stop: int
    contents: list[int] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    content: dict[int, Span] = field(default_factory=dict)


def decode_files(
    listing: Listing,
    data: Data,
    images: NDArray[np.uint8],
    read: Read,
    broken_as: tuple[type[Exception], ...],
    noun: str,
    progress: Progress,
) -> Decoded:
    """Return all files of a listing, read into `images` by as many threads as there are cores.

    A file is read once, for its picture and its hash. It is broken where `read` raises one of
    `broken_as`: an error, or left out and named. What a preparation that was killed has decoded
    into the same mapped file is not decoded again.
    """
    targets, outputs = targets_of(listing.columns, data)
    groups = groups_of(listing.columns, data)
    journal = Journal(images)
    done = journal.parts()

    def decoded(part: Part) -> Part:
        for row in range(part.start, part.stop):
            path, file = listing.paths[row], BytesIO()
            part.contents.append(0)
            try:
                file = BytesIO(path.read_bytes())
                page = 0 if listing.pages is None else int(listing.pages[row])
                part.contents[-1] = _hash_of_page(file, page)
                found = read(file, page) if page else read(file)
                images[row] = found.image
            except broken_as as error:
                part.broken[row] = f"{path}: {str(error).replace(repr(file), repr(str(path)))}"
            else:
                if found.note:
                    part.notes[row] = found.note
                if found.content is not None:
                    part.content[row] = found.content
        return part

    count = sum(part.stop - part.start for part in done)
    mapped_bytes = 0
    for part in in_turn(decoded, _left(done.copy(), len(images))):
        journal.note(part)
        mapped_bytes += images[part.start : part.stop].nbytes
        if mapped_bytes > RELEASED_BYTES:
            released(images)
            mapped_bytes = 0
        done.append(part)
        count += part.stop - part.start
        progress(count, len(images))
    done.sort(key=lambda part: part.start)
    names = listing.columns.examples
    said = (*_notes(done, listing, noun), *labels_decided(listing.columns, data))
    contents = np.array([number for part in done for number in part.contents], np.uint64)
    found = Decoded(
        images, targets, outputs, contents, task=data.task, groups=groups, names=names,
        account=listing.account.deciding(*said), published=listing.published,
        content=_content(done, images),
    )  # fmt: skip
    broken = [(row, why) for part in done for row, why in part.broken.items()]
    if broken:
        journal.remove()  # rows are moved together below: they would be others'
    return without_broken(found, broken, data, noun)


def _content(done: list[Part], images: NDArray[np.uint8]) -> NDArray[np.int32] | None:
    """Return where each image is no padding, as in `Decoded`; None where none has any."""
    padded = {row: span for part in done for row, span in part.content.items()}
    if not padded:
        return None
    height, width = images.shape[1:3]
    content = np.tile(np.array([0, height, 0, width], np.int32), (len(images), 1))
    content[list(padded)] = list(padded.values())
    return content


def _hash_of_page(file: BytesIO, page: int) -> int:
    """Return the hash of a file, which stands for its first page, or of another page of it."""
    return hash_of(file.getvalue() + page.to_bytes(4, "little") if page else file.getbuffer())


def _left(done: list[Part], count: int) -> Iterator[Part]:
    """Yield parts of what is not decoded yet, in order."""
    size = max(1, min(PART, count // (PARTS_OF_A_THREAD * (os.cpu_count() or 1))))
    start = 0
    for there in sorted([*done, Part(count, count)], key=lambda part: part.start):
        for begin in range(start, there.start, size):
            yield Part(begin, min(begin + size, there.start))
        start = there.stop


def _notes(done: list[Part], listing: Listing, noun: str) -> list[str]:
    """Return sentences on what was done to pictures of some files."""
    by_note: dict[str, list[str]] = {}
    for part in done:
        for row, note in part.notes.items():
            by_note.setdefault(note, []).append(listing.columns.examples[row])
    return [f"{len(names):,} {noun}(s) {note}: {named(names)}" for note, names in by_note.items()]


def named(names: list[str], most: int = 3) -> str:
    """Return the first names, the rest counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


class Journal:
    """Which rows of a mapped array are decoded: a file beside it, a line for each part.

    A line is written when its rows are on the disk, so that it is true after a crash, too.
    """

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images
        name = getattr(images, "filename", None)
        self._path = None if name is None else Path(name).with_suffix(JOURNAL)
        self._unsaved: list[Part] = []
        self._saved_at = time.monotonic()

    def parts(self) -> list[Part]:
        """Return what was decoded before."""
        if self._path is None or not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                kept = json.loads(line)
            except ValueError:  # the end of a line was never written
                break
            by_row = {name: {int(r): s for r, s in kept[name].items()} for name in _BY_ROW}
            found.append(Part(**kept | by_row))
        return found

    def note(self, part: Part) -> None:
        """Note that a part is decoded."""
        self._unsaved.append(part)
        if self._path is None or time.monotonic() - self._saved_at < SAVED_EVERY_S:
            return
        assert isinstance(self._images, np.memmap)
        self._images.flush()
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(asdict(part))}\n" for part in self._unsaved)
            file.flush()
            os.fsync(file.fileno())
        self._unsaved.clear()
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
