"""The three-way split: seeded, stratified, disjoint, and no group stands in two parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.assignment import assigned
from hpsearch.errors import DataError
from hpsearch.study.data import Split, Task

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

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
    official_test: Flags | None = None,
    task: Task = "single-label",
    groups: NDArray[Any] | None = None,
) -> Assignment:
    """Return the split of images with these targets; every stratum stands in every part.

    Strata are the classes, the labels, or tenths of each number. Where an image is of one stratum
    and there are no groups, each is shuffled and cut by itself, so that shares hold per stratum to
    within one image; else images or whole groups are shared out as `assigned` says. Raises
    DataError where a stratum has too few images or groups.
    """
    if task == "single-label" and len(outputs) < 2:
        raise DataError(
            f"there is only one class ({', '.join(outputs)}); a classifier needs two or more"
        )
    rng = np.random.default_rng(split.seed)
    strata = _strata(targets, outputs, task)
    if groups is None and (task == "single-label" or (task == "regression" and len(outputs) == 1)):
        return _cut_each(strata, split, official_test, rng)
    return _shared_out(strata, len(targets), split, groups, rng)


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


def _cut_each(
    strata: Strata, split: Split, official_test: Flags | None, rng: np.random.Generator
) -> Assignment:
    official = split.validation == "official"
    parts: dict[str, list[Indices]] = {"train": [], "test": [], "validation": []}
    for name, of_class in zip(strata.names, strata.members, strict=True):
        if official:
            assert official_test is not None
            sealed = of_class[official_test[of_class]]
            rest = rng.permutation(of_class[~official_test[of_class]])
        else:
            shuffled = rng.permutation(of_class)
            count = max(1, round(len(of_class) * float(split.validation)))
            sealed, rest = shuffled[:count], shuffled[count:]
        test_count = max(1, round((len(rest) if official else len(of_class)) * split.test_share()))
        test, train = rest[:test_count], rest[test_count:]
        if not (len(train) and len(test) and len(sealed)):
            raise DataError(_too_few(strata.noun, name, len(of_class)))
        parts["train"].append(train)
        parts["test"].append(test)
        parts["validation"].append(sealed)
    return Assignment(**{name: np.sort(np.concatenate(found)) for name, found in parts.items()})


def _too_few(noun: str, name: str, images: int) -> str:
    return (
        f"{noun} '{name}' has {images} image(s), too few for train, test and "
        f"validation; add images, or leave the {noun} out"
    )


def _shared_out(
    strata: Strata,
    images: int,
    split: Split,
    groups: NDArray[Any] | None,
    rng: np.random.Generator,
) -> Assignment:
    """Return the split of whole groups, or of images where an image is a group of its own."""
    names, of_group = (
        (None, np.arange(images)) if groups is None else np.unique(groups, return_inverse=True)
    )
    number = images if names is None else len(names)
    sizes = np.bincount(of_group, minlength=number)
    counts = np.stack(
        [np.bincount(of_group[m], minlength=number) for m in strata.members], axis=1
    )  # (groups, strata)
    if names is not None and number < 3:
        raise DataError(
            f"data.groups: there are {number} group(s) ({', '.join(map(str, names))}), and train, "
            "test and validation need one each; add groups, or leave data.groups out"
        )
    if strata.everywhere:
        _check_enough(strata, counts)
    shares = (split.train, split.test, float(split.validation))
    part = assigned(counts, sizes, shares, strata.everywhere, rng)
    if strata.everywhere:
        _check_everywhere(strata, counts, part)
    found = part[of_group]
    return Assignment(*(np.flatnonzero(found == p) for p in range(3)))


def _check_enough(strata: Strata, counts: NDArray[np.int64]) -> None:
    """Raise DataError where a stratum cannot stand in three parts, for want of images or groups."""
    for name, column in zip(strata.names, counts.T, strict=True):
        if column.sum() < 3:
            raise DataError(_too_few(strata.noun, name, int(column.sum())))
        if (column > 0).sum() < 3:
            raise DataError(
                f"{strata.noun} '{name}' stands in {(column > 0).sum()} of {len(counts)} groups, "
                "and train, test and validation need one each, for a group is never divided; add "
                "groups that have it, or leave it out"
            )


def _check_everywhere(strata: Strata, counts: NDArray[np.int64], part: NDArray[np.int64]) -> None:
    """Raise DataError where a part lacks a stratum all the same: groups may have it together."""
    present = np.stack([(counts[part == p] > 0).any(axis=0) for p in range(3)])  # (3, strata)
    if not present.all():
        p, s = np.argwhere(~present)[0]
        raise DataError(
            f"no split of {len(counts)} groups was found in which every part has every "
            f"{strata.noun}: {('train', 'test', 'validation')[p]} lacks '{strata.names[s]}', which "
            f"stands in {(counts[:, s] > 0).sum()} groups; add groups, or try another split.seed"
        )
