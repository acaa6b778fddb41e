"""What the audit makes of copies, labels, blank images and groups: findings, and sheets of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.balance import balance_findings
from hpsearch.data.contact_sheet import Tile, write_contact_sheet
from hpsearch.data.contrast import BLANK_LEVELS, contrast_finding
from hpsearch.data.copies import Copies, Near
from hpsearch.data.findings import Audit, Finding
from hpsearch.data.lookalikes import lookalike_finding
from hpsearch.data.sources.decoded import Decoded, released
from hpsearch.study.data import Data

EXAMPLES = 5
SAME_NUMBER = 0.1  # of a target's standard deviation: numbers this close contradict nothing
NAMES = ("train", "test", "validation")
TRAIN, TEST, VALIDATION = range(3)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Audited:
    """What findings are made from: data, copies, and the split of every image `(N,)`, then and now.

    `copied` numbers the sets of images that are copies of each other. Of texts, `alphabet` are the
    characters that their bytes stand for.
    """

    decoded: Decoded
    copies: Copies
    groups: NDArray[Any] | None
    copied: Ints
    before: Ints
    after: Ints
    alphabet: str = ""

    def shown(self, row: int) -> NDArray[np.uint8] | str:
        """Return an image, or the text that it stands for, as it is drawn on a sheet."""
        image: NDArray[np.uint8] = self.decoded.images[row]
        if not self.alphabet:
            return image
        characters = f" {self.alphabet}"  # 0 is one that the alphabet lacks, such as a space
        return "".join(characters[number] for number in image.reshape(-1)).rstrip()

    def name(self, row: int) -> str:
        """Return an image's file, or its number in the source, with its class."""
        decoded = self.decoded
        name = decoded.names[row] if len(decoded.names) else f"image {row}"
        if decoded.task != "single-label":
            return name
        return f"{name} ({decoded.outputs[decoded.targets[row]]})"

    def open_pairs(self, kept: NDArray[np.bool_]) -> Ints:
        """Return the numbers of those pairs in `kept` of which no image is sealed, surest first."""
        sealed = (self.after[self.copies.pairs] == VALIDATION).any(axis=1)
        numbers = np.flatnonzero(kept & ~sealed)
        return numbers[np.argsort(-self.copies.likeness[numbers], kind="stable")]


def sets_of(n: int, pairs: Ints, groups: NDArray[Any] | None = None) -> Ints:
    """Return for every image the number of the set that it belongs to, by copies and by group."""
    from scipy.sparse import coo_array  # imported late, as in `copies`
    from scipy.sparse.csgraph import connected_components

    links = [pairs]
    if groups is not None:
        _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        links.append(np.stack([first[inverse], np.arange(n)], axis=1))
    rows, columns = np.concatenate(links).T
    graph = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def straddles(sets: Ints, split: Ints) -> NDArray[np.bool_]:
    """Return for every image whether its set has images in several splits."""
    seen = np.zeros((sets.max() + 1, 3), np.bool_)
    seen[sets, split] = True
    apart: NDArray[np.bool_] = seen.sum(axis=1) > 1
    return apart[sets]


def across_splits(split: Ints, copies: Copies) -> NDArray[np.bool_]:
    return np.asarray(split[copies.pairs[:, 0]] != split[copies.pairs[:, 1]])


def pair_line(found: Audited, number: int, split: Ints) -> str:
    (one, other), likeness = found.copies.pairs[number], found.copies.likeness[number]
    alike = "exact" if found.copies.exact[number] else f"alike by {likeness:.3f}"
    names = (f"{NAMES[split[row]]} {found.name(row)}" for row in (one, other))
    return f"{' = '.join(names)}, {alike}"


def audit_of(found: Audited, data: Data, place: Path) -> Audit:
    left, has = found.before != found.after, np.zeros(len(found.before), np.bool_)
    has[found.copies.pairs.reshape(-1)] = True
    images = len(found.before)
    findings = [
        lookalike_finding(found.copies, images, data.duplicates),
        across_splits_finding(found, data, place),
        _within_finding(found),
        _contradicting_finding(found, place),
        _blank_finding(found, place),
        None if found.alphabet else contrast_finding(found.decoded.images, data.source),
        _groups_finding(found),
        _unsearched_finding(found),
        *balance_findings(found.decoded, found.after),
        *found.decoded.findings,
    ]
    return Audit(
        images=images,
        with_copy=int(has.sum()),
        moved_from_test=int((left & (found.before == TEST)).sum()),
        moved_from_validation=int((left & (found.before == VALIDATION)).sum()),
        findings=tuple(finding for finding in findings if finding is not None),
    )


def across_splits_finding(found: Audited, data: Data, place: Path) -> Finding | None:
    """Tell of copies that the split had torn apart."""
    across = across_splits(found.before, found.copies)
    if not across.any():
        return None
    shown = found.open_pairs(across)
    sheet = None
    if len(shown):
        sheet = "copies.png"
        write_pairs(found, shown, place / sheet, "Copies across splits, the least alike first")
    apart = straddles(found.copied, found.before)
    counts = [int((apart & (found.before == split)).sum()) for split in (TEST, VALIDATION)]
    published = found.decoded.published is not None
    what = f"{counts[0]} test and {counts[1]} validation images had a copy elsewhere"
    if data.duplicates == "together":
        groups = " with their groups" if found.groups is not None else ""
        says = f"{what}; they were moved into train{groups}"
        if published:
            moved = int((found.before != found.after).sum())
            says = (
                f"{what}; {moved} were moved into train{groups}, and those of parts that their "
                "authors hold out stayed: scores on them are remembered, and too good"
            )
        instead = "data.duplicates: refuse stops here instead, allow leaves them where they were"
    else:
        says = f"{what} and stayed: scores on them are remembered, and too good"
        instead = "data.duplicates: together moves them into train"
        if published:
            instead += ", but for those that the authors hold out"
    examples = tuple(pair_line(found, i, found.before) for i in shown[:EXAMPLES])
    return Finding("copies-across-splits", sum(counts), says, instead, examples, sheet)


def _within_finding(found: Audited) -> Finding | None:
    counts = []
    for split in (TRAIN, TEST, VALIDATION):
        here = found.copied[found.after == split]
        counts.append(len(here) - len(np.unique(here)))
    if not sum(counts):
        return None
    counted = ", ".join(f"{count} in {name}" for name, count in zip(NAMES, counts, strict=True))
    return Finding(
        "copies-within-a-split",
        sum(counts),
        f"{sum(counts)} images repeat another one of their split, and count twice: {counted}",
        "remove them from the data where they are not meant",
    )


def _contradicting_finding(found: Audited, place: Path) -> Finding | None:
    """Tell of copies that have different targets: nothing can learn both."""
    pairs = found.copies.pairs
    targets = found.decoded.targets.reshape(len(found.before), -1)
    one, other = (targets[pairs[:, i]] for i in (0, 1))
    if found.decoded.task == "regression":
        # A number may well tell apart what is nearly alike, such as an angle: exact copies only.
        near = SAME_NUMBER * targets.std(axis=0)
        differ = (np.abs(one - other) > near).any(axis=1) & found.copies.exact
    else:
        differ = (one != other).any(axis=1)
    if not differ.any():
        return None
    shown, sheet = found.open_pairs(differ), None
    if len(shown):
        sheet = "contradictions.png"
        write_pairs(found, shown, place / sheet, "Copies with different targets")
    return Finding(
        "contradicting-targets",
        len(np.unique(pairs[differ])),
        f"{differ.sum()} pairs of copies have different targets",
        "mend the targets, or remove those pairs",
        tuple(pair_line(found, i, found.after) for i in shown[:EXAMPLES]),
        sheet,
    )


def write_pairs(found: Audited, numbers: Ints, sheet: Path, title: str) -> None:
    """Write a contact sheet of pairs, the most doubtful first."""
    numbers = numbers[np.argsort(found.copies.likeness[numbers], kind="stable")]
    tiles = []
    for i in numbers:
        rows = found.copies.pairs[i]
        lines = [f"{NAMES[found.before[row]]} {found.name(row)}" for row in rows]
        alike = "exact" if found.copies.exact[i] else f"alike by {found.copies.likeness[i]:.3f}"
        tiles.append(Tile(tuple(found.shown(row) for row in rows), (*lines, alike)))
    write_contact_sheet(sheet, title, tiles)


def _blank_finding(found: Audited, place: Path) -> Finding | None:
    rows = blank(found.decoded.images, found.decoded.content)
    if not len(rows):
        return None
    shown, sheet = rows[found.after[rows] != VALIDATION], None
    if len(shown):
        sheet = "blank.png"
        tiles = [
            Tile((found.shown(row),), (NAMES[found.after[row]], found.name(row))) for row in shown
        ]
        write_contact_sheet(place / sheet, "Blank images", tiles)
    return Finding(
        "blank",
        len(rows),
        f"{len(rows)} images are blank: one even colour",
        "remove them, or look whether they were read as they should be",
        tuple(f"{NAMES[found.after[row]]} {found.name(row)}" for row in shown[:EXAMPLES]),
        sheet,
    )


def blank(images: NDArray[np.uint8], content: NDArray[np.int32] | None = None) -> Ints:
    """Return the rows of images that are one even colour, whatever they are padded with."""

    def shown(start: int) -> NDArray[np.uint8]:
        some = slice(start, start + 1024)
        if content is None:
            return images[some]
        return Near(images[some], content[some])[np.arange(len(images[some]))]

    def even(some: NDArray[np.uint8]) -> NDArray[np.bool_]:
        levels = some.max(axis=(1, 2)).astype(np.int64) - some.min(axis=(1, 2))
        return np.asarray(levels.max(axis=1) < BLANK_LEVELS)

    found = [np.empty(0, np.int64)]
    for start in range(0, len(images), 1024):
        some = shown(start)
        # Of a few pixels first: nearly all images are ruled out by them.
        likely = np.flatnonzero(even(some[:, ::7, ::7]))
        found.append(start + likely[even(some[likely])])
        released(images)
    return np.concatenate(found)


def _groups_finding(found: Audited) -> Finding | None:
    """Tell of groups with images in several splits, as an official test part may have them."""
    if found.groups is None:
        return None
    names, numbers = np.unique(found.groups, return_inverse=True)
    apart = straddles(numbers, found.after)
    torn = np.unique(numbers[apart])
    if not len(torn):
        return None
    examples = [f"group {names[number]}" for number in torn[:EXAMPLES]]
    return Finding(
        "groups-across-splits",
        int(apart.sum()),
        f"{len(torn)} groups have images in several splits, so scores say less about new groups",
        "split by shares instead: split.parts: pooled, or no official part",
        tuple(examples),
    )


def _unsearched_finding(found: Audited) -> Finding | None:
    """Tell where near copies were not looked for, or not among all images."""
    copies, kind = found.copies, "near-copies-unsearched"
    if copies.unsearched:
        return Finding(kind, 0, f"only exact copies were looked for: {copies.unsearched}", "")
    if not copies.sampled:
        return None
    count = len(found.before)
    says = (
        f"copies that are not exact were looked for among {copies.sampled:,} of {count:,} images, "
        f"drawn at random: {(copies.sampled / count) ** 2:.0%} of all pairs"
    )
    return Finding(kind, 0, says, "")
