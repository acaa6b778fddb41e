"""The three-way split: seeded, stratified, disjoint, and no group stands in two parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.assignment import assigned
from hpsearch.errors import DataError
from hpsearch.study.data import Task
from hpsearch.study.splits import Split

Indices = NDArray[np.int64]
PARTS = ("train", "test", "validation")

BINS = 10  # of a number that is to be predicted: its tenths are shared out as classes are
PER_BIN = 10  # images at least, so that a bin has some for every part


@dataclass(frozen=True)
class Assignment:
    """Which images belong to which split: sorted indices, disjoint, together all images."""

    train: Indices
    test: Indices
    validation: Indices


@dataclass(frozen=True)
class Strata:
    """What has to be spread over all parts: classes, labels, or ranges of a number.

    `members` are the images of each; an image may be of several.
    """

    noun: str
    names: tuple[str, ...]
    members: tuple[Indices, ...]
    everywhere: bool = True  # or spread over the parts as far as groups allow


def assign(
    targets: NDArray[Any],
    outputs: tuple[str, ...],
    split: Split,
    published: Indices | None = None,
    task: Task = "single-label",
    groups: NDArray[Any] | None = None,
) -> Assignment:
    """Return the split of images with these targets; every stratum stands in every part.

    Strata are the classes, the labels, or tenths of each number. Where an image is of one stratum
    and there are no groups, each is shuffled and cut by itself, so that shares hold per stratum to
    within one image; else images or whole groups are shared out as `assigned` says. `published`
    `(N,)` is the part that its authors gave each image: 0 train, 1 test, 2 validation; where none
    is 1, test is cut from train. Raises DataError where a stratum has too few images or groups.
    """
    if task == "single-label" and len(outputs) < 2:
        raise DataError(
            f"there is only one class ({', '.join(outputs)}); a classifier needs two or more"
        )
    rng = np.random.default_rng(split.seed)
    strata = _strata(targets, outputs, task)
    of_one = task == "single-label" or (task == "regression" and len(outputs) == 1)
    alone = groups is None and of_one
    if published is not None:
        return _published(strata, split, published, groups, alone, rng)
    if alone:
        return _cut_each(strata, split, rng)
    shares = (split.train, split.test, float(split.validation))
    part = _shared_out(strata, np.arange(len(targets)), shares, groups, rng)
    return Assignment(*(np.flatnonzero(part == p) for p in range(3)))


def _strata(targets: NDArray[Any], outputs: tuple[str, ...], task: Task) -> Strata:
    if task == "single-label":
        members = [np.flatnonzero(targets == number) for number in range(len(outputs))]
        return Strata("class", outputs, tuple(members))
    if task == "multi-label":
        members = [np.flatnonzero(label > 0.5) for label in targets.T]
        return Strata("label", outputs, tuple(members))
    bins = max(1, min(BINS, len(targets) // PER_BIN))
    names: list[str] = []
    members = []
    for values, output in zip(targets.T, outputs, strict=True):
        ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        for number in range(bins):
            members.append(np.flatnonzero(ranks * bins // len(values) == number))
            inside = values[members[-1]]
            low, high = (float(inside.min()), float(inside.max())) if len(inside) else (0.0, 0.0)
            names.append(f"{output} from {low:g} to {high:g}")
    return Strata("range", tuple(names), tuple(members), everywhere=False)


def _cut_each(strata: Strata, split: Split, rng: np.random.Generator) -> Assignment:
    parts: list[list[Indices]] = [[], [], []]
    for name, of_class in zip(strata.names, strata.members, strict=True):
        shuffled = rng.permutation(of_class)
        count = max(1, round(len(of_class) * float(split.validation)))
        sealed, rest = shuffled[:count], shuffled[count:]
        test_count = max(1, round(len(of_class) * split.test))
        cut = rest[test_count:], rest[:test_count], sealed
        if not all(map(len, cut)):
            raise DataError(_too_few(strata.noun, name, len(of_class)))
        for part, rows in zip(parts, cut, strict=True):
            part.append(rows)
    return Assignment(*(np.sort(np.concatenate(part)) for part in parts))


def _published(
    strata: Strata,
    split: Split,
    published: Indices,
    groups: NDArray[Any] | None,
    alone: bool,
    rng: np.random.Generator,
) -> Assignment:
    """Return the parts as they were published, with test cut from train where there is none."""
    part, taught = published.copy(), np.flatnonzero(published == 0)
    if not (published == 1).any():
        share = split.test_share()
        if alone:
            for of_class in strata.members:
                rest = rng.permutation(of_class[published[of_class] == 0])
                part[rest[: max(1, round(len(rest) * share))]] = 1
        else:
            part[taught] = _shared_out(strata, taught, (1 - share, share), groups, rng)
    if strata.everywhere:
        for name, members in zip(strata.names, strata.members, strict=True):
            missing = {0, 1, 2} - set(part[members].tolist())
            if missing:
                raise DataError(
                    f"{strata.noun} '{name}' has no image in {PARTS[min(missing)]}, as its authors "
                    "split it; add some, leave it out, or split all of it by shares with "
                    "split.parts: pooled"
                )
    return Assignment(*(np.flatnonzero(part == p) for p in range(3)))


def _too_few(noun: str, name: str, images: int) -> str:
    return (
        f"{noun} '{name}' has {images} image(s), too few for train, test and "
        f"validation; add images, or leave the {noun} out"
    )


def _shared_out(
    strata: Strata,
    rows: Indices,
    shares: tuple[float, ...],
    groups: NDArray[Any] | None,
    rng: np.random.Generator,
) -> Indices:
    """Return the part of each of these images, of whole groups, or of images without groups."""
    names, of_group = (
        (None, np.arange(len(rows)))
        if groups is None
        else np.unique(groups[rows], return_inverse=True)
    )
    number = len(rows) if names is None else len(names)
    sizes = np.bincount(of_group, minlength=number)
    of_stratum = [of_group[np.isin(rows, members)] for members in strata.members]
    counts = np.stack([np.bincount(m, minlength=number) for m in of_stratum], axis=1)
    # (groups, strata)
    parts = _listed(PARTS[: len(shares)])
    if names is not None and number < len(shares):
        raise DataError(
            f"data.groups: there are {number} group(s) ({', '.join(map(str, names))}), and {parts} "
            "need one each; add groups, or leave data.groups out"
        )
    if strata.everywhere:
        _check_enough(strata, counts, len(shares))
    part = assigned(counts, sizes, shares, strata.everywhere, rng)
    if strata.everywhere:
        _check_everywhere(strata, counts, part, len(shares))
    found: Indices = part[of_group]
    return found


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _check_enough(strata: Strata, counts: NDArray[np.int64], parts: int) -> None:
    """Raise DataError where a stratum cannot stand in each part, for want of images or groups."""
    for name, column in zip(strata.names, counts.T, strict=True):
        if column.sum() < parts:
            raise DataError(_too_few(strata.noun, name, int(column.sum())))
        if (column > 0).sum() < parts:
            raise DataError(
                f"{strata.noun} '{name}' stands in {(column > 0).sum()} of {len(counts)} groups, "
                f"and {_listed(PARTS[:parts])} need one each, for a group is never divided; add "
                "groups that have it, or leave it out"
            )


def _check_everywhere(
    strata: Strata, counts: NDArray[np.int64], part: NDArray[np.int64], parts: int
) -> None:
    """Raise DataError where a part lacks a stratum all the same: groups may have it together."""
    present = np.stack([(counts[part == p] > 0).any(axis=0) for p in range(parts)])
    if not present.all():
        p, s = np.argwhere(~present)[0]
        raise DataError(
            f"no split of {len(counts)} groups was found in which every part has every "
            f"{strata.noun}: {PARTS[p]} lacks '{strata.names[s]}', which "
            f"stands in {(counts[:, s] > 0).sum()} groups; add groups, or try another split.seed"
        )
