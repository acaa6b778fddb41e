"""The split: disjoint, complete, stratified, seeded; and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpsearch.data.split import Assignment, assign
from hpsearch.errors import DataError
from hpsearch.study.data import Split


def targets_of(counts: list[int], seed: int = 0) -> NDArray[np.int64]:
    """Return shuffled class numbers, so many of each class."""
    targets = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(targets)


def names(counts: list[int]) -> tuple[str, ...]:
    return tuple(f"class-{i}" for i in range(len(counts)))


def parts(assignment: Assignment) -> tuple[list[int], list[int], list[int]]:
    return (
        assignment.train.tolist(),
        assignment.test.tolist(),
        assignment.validation.tolist(),
    )


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    """Draw shares in hundredths that add up to 1."""
    test = draw(st.integers(1, 40))
    validation = draw(st.integers(1, 40))
    return {"train": (100 - test - validation) / 100, "test": test / 100} | {
        "validation": validation / 100
    }


@given(st.lists(st.integers(6, 200), min_size=2, max_size=6), shares(), st.integers(0, 2**32))
def test_a_split_is_disjoint_complete_and_stratified(
    counts: list[int], wanted: dict[str, float], seed: int
) -> None:
    targets = targets_of(counts)
    found = assign(targets, names(counts), Split(**wanted, seed=seed))
    train, test, validation = parts(found)
    assert sorted(train + test + validation) == list(range(len(targets)))
    assert (train, test, validation) == (sorted(train), sorted(test), sorted(validation))
    for number, count in enumerate(counts):
        # A share too small for one image gets one all the same, and train goes without it.
        given = sum(count * wanted[share] < 0.5 for share in ("test", "validation"))
        within = {"train": 1 + given / 2, "test": 1, "validation": 1}
        for part, share in zip((found.train, found.test, found.validation), wanted, strict=True):
            of_class = int((targets[part] == number).sum())
            assert of_class >= 1
            assert abs(of_class - count * wanted[share]) <= within[share]


def test_the_same_seed_gives_the_same_split_and_another_seed_another_one() -> None:
    targets, classes = targets_of([50, 50]), names([50, 50])
    first = parts(assign(targets, classes, Split(seed=1)))
    assert parts(assign(targets, classes, Split(seed=1))) == first
    second = parts(assign(targets, classes, Split(seed=2)))
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_three_images_of_a_class_are_one_for_each_part() -> None:
    targets = targets_of([3, 3])
    found = assign(targets, names([3, 3]), Split())
    assert [len(part) for part in parts(found)] == [2, 2, 2]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_with_too_few_images_is_named(count: int) -> None:
    with pytest.raises(DataError) as caught:
        assign(targets_of([10, count, 10]), ("cat", "dog", "owl"), Split())
    assert str(caught.value) == (
        f"class 'dog' has {count} image(s), too few for train, test and validation; "
        "add images, or leave the class out"
    )


@pytest.mark.parametrize("classes", [(), ("cat",)])
def test_one_class_alone_is_nothing_to_classify(classes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="only one class"):
        assign(np.zeros(10 * len(classes), np.int64), classes, Split())


def official_split(**shares: Any) -> Split:
    return Split(**shares, validation="official")


def test_an_official_test_part_is_the_whole_validation_and_nothing_else() -> None:
    targets = targets_of([40, 40])
    official = np.arange(80) >= 60
    found = assign(targets, names([40, 40]), official_split(train=0.8, test=0.2), official)
    train, test, validation = parts(found)
    assert validation == list(range(60, 80))
    assert sorted(train + test) == list(range(60))
    for number in (0, 1):
        left = int((targets[:60] == number).sum())
        assert abs((targets[found.test] == number).sum() - left * 0.2) <= 1


def test_shares_beside_an_official_part_keep_their_ratio() -> None:
    targets = targets_of([90, 90])
    official = np.arange(180) >= 162
    found = assign(targets, names([90, 90]), official_split(train=0.8, test=0.1), official)
    assert len(found.validation) == 18
    assert abs(len(found.test) - 162 / 9) <= 2


def test_an_official_part_does_not_depend_on_the_seed_but_the_rest_does() -> None:
    targets = targets_of([40, 40])
    official = np.arange(80) >= 60
    split = {"train": 0.8, "test": 0.2, "validation": "official"}
    first = assign(targets, names([40, 40]), Split(**split, seed=1), official)
    second = assign(targets, names([40, 40]), Split(**split, seed=2), official)
    assert first.validation.tolist() == second.validation.tolist()
    assert first.test.tolist() != second.test.tolist()


def test_a_class_missing_from_the_official_part_is_named() -> None:
    targets = np.array([0, 1] * 20)
    official = (np.arange(40) >= 30) & (targets == 0)
    with pytest.raises(DataError, match="class 'dog' has 20 image"):
        assign(targets, ("cat", "dog"), official_split(train=0.8, test=0.2), official)
