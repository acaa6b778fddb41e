"""The split: disjoint, complete, stratified, seeded; and its errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpsearch.data.split import Assignment, assign
from hpsearch.errors import DataError
from hpsearch.study.splits import Split


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
    official = np.where(np.arange(80) >= 60, 2, 0)
    found = assign(targets, names([40, 40]), official_split(train=0.8, test=0.2), official)
    train, test, validation = parts(found)
    assert validation == list(range(60, 80))
    assert sorted(train + test) == list(range(60))
    for number in (0, 1):
        left = int((targets[:60] == number).sum())
        assert abs((targets[found.test] == number).sum() - left * 0.2) <= 1


def test_shares_beside_an_official_part_keep_their_ratio() -> None:
    targets = targets_of([90, 90])
    official = np.where(np.arange(180) >= 162, 2, 0)
    found = assign(targets, names([90, 90]), official_split(train=0.8, test=0.1), official)
    assert len(found.validation) == 18
    assert abs(len(found.test) - 162 / 9) <= 2


def test_an_official_part_does_not_depend_on_the_seed_but_the_rest_does() -> None:
    targets = targets_of([40, 40])
    official = np.where(np.arange(80) >= 60, 2, 0)
    split = {"train": 0.8, "test": 0.2, "validation": "official"}
    first = assign(targets, names([40, 40]), Split(**split, seed=1), official)
    second = assign(targets, names([40, 40]), Split(**split, seed=2), official)
    assert first.validation.tolist() == second.validation.tolist()
    assert first.test.tolist() != second.test.tolist()


def test_a_class_missing_from_the_official_part_is_named() -> None:
    targets = np.array([0, 1] * 20)
    official = np.where((np.arange(40) >= 30) & (targets == 0), 2, 0)
    with pytest.raises(DataError, match="class 'dog' has no image in validation"):
        assign(targets, ("cat", "dog"), official_split(train=0.8, test=0.2), official)


def test_three_published_parts_are_the_split() -> None:
    targets = targets_of([30, 30])
    published = np.arange(60) % 3
    found = assign(targets, names([30, 30]), Split(), published)
    assert parts(found) == tuple(np.flatnonzero(published == p).tolist() for p in range(3))


def test_test_is_cut_from_a_published_train_by_whole_groups() -> None:
    targets = targets_of([40, 40])
    published, groups = np.where(np.arange(80) % 4 == 3, 2, 0), np.arange(80) // 4
    found = assign(targets, names([40, 40]), Split(), published, groups=groups)
    assert found.validation.tolist() == np.flatnonzero(published == 2).tolist()
    assert not set(groups[found.train]) & set(groups[found.test])
    assert len(found.test) in (6, 9)  # a ninth of 60, in groups of 3: those of train


# Labels and numbers


def some_labels(count: int, shares: list[float], seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.random((count, len(shares))) < shares).astype(np.float32)


@given(st.integers(60, 400), st.integers(1, 6), shares(), st.integers(0, 2**32))
def test_every_label_stands_in_every_part_near_its_share(
    count: int, labels: int, wanted: dict[str, float], seed: int
) -> None:
    targets = some_labels(count, np.linspace(0.05, 0.7, labels).tolist(), seed)
    targets[:4] = 1  # so that no label is too rare
    split = Split(**wanted, seed=seed)
    found = assign(targets, names([1] * labels), split, task="multi-label")
    assert sorted(itertools.chain(*parts(found))) == list(range(count))
    for part, share in zip((found.train, found.test, found.validation), wanted, strict=True):
        # A part too small for one image of each label gets one of each all the same.
        assert abs(len(part) - count * wanted[share]) <= labels + 1
        positives = targets[part].sum(axis=0)
        assert (positives >= 1).all()
        assert (np.abs(positives - targets.sum(axis=0) * wanted[share]) <= 3).all()


def test_labels_of_many_images_are_shared_out_to_within_a_percent() -> None:
    targets = some_labels(20_000, [0.01, 0.1, 0.3, 0.8])
    found = assign(targets, names([1] * 4), Split(), task="multi-label")
    for part, share in ((found.train, 0.8), (found.test, 0.1), (found.validation, 0.1)):
        assert np.abs(targets[part].sum(0) / targets.sum(0) - share).max() < 0.01 * share + 0.005


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_label_that_too_few_images_have_is_named(count: int) -> None:
    targets = some_labels(100, [0.5, 0.0])
    targets[:count, 1] = 1
    with pytest.raises(DataError) as caught:
        assign(targets, ("cat", "dog"), Split(), task="multi-label")
    assert str(caught.value) == (
        f"label 'dog' has {count} image(s), too few for train, test and validation; add images, "
        "or leave the label out"
    )


def test_a_label_of_three_images_stands_once_in_each_part() -> None:
    targets = some_labels(100, [0.5, 0.0])
    targets[:3, 1] = 1
    found = assign(targets, ("cat", "dog"), Split(), task="multi-label")
    assert [int(targets[part][:, 1].sum()) for part in parts(found)] == [1, 1, 1]


def test_one_label_alone_is_something_to_tell() -> None:
    found = assign(some_labels(50, [0.4]), ("ill",), Split(), task="multi-label")
    assert [len(part) for part in parts(found)] == [40, 5, 5]


@pytest.mark.parametrize("numbers", [1, 3])
def test_numbers_are_spread_alike_over_all_parts(numbers: int) -> None:
    targets = np.random.default_rng(0).lognormal(size=(1000, numbers)).astype(np.float32)
    found = assign(targets, names([1] * numbers), Split(), task="regression")
    assert [len(part) for part in parts(found)] == pytest.approx([800, 100, 100], abs=1)
    for number in targets.T:
        tenths = np.quantile(number, np.linspace(0, 1, 11)[1:-1])
        for part in parts(found):
            shares = np.bincount(np.digitize(number[part], tenths), minlength=10) / len(part)
            assert np.abs(shares - 0.1).max() < 0.025


def test_numbers_of_which_most_are_alike_are_split_all_the_same() -> None:
    targets = np.zeros((100, 1), np.float32)
    targets[:10, 0] = range(10)
    found = assign(targets, ("rain",), Split(), task="regression")
    assert [len(part) for part in parts(found)] == [80, 10, 10]


def test_a_handful_of_numbers_is_split_one_for_each_part_and_two_are_too_few() -> None:
    targets = np.arange(3, dtype=np.float32)[:, None]
    assert [len(p) for p in parts(assign(targets, ("a",), Split(), task="regression"))] == [1, 1, 1]
    with pytest.raises(DataError, match=r"range 'a from 0 to 1' has 2 image\(s\), too few"):
        assign(targets[:2], ("a",), Split(), task="regression")


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_labels_and_numbers_are_split_by_the_seed(task: Any) -> None:
    targets = some_labels(200, [0.3, 0.6])
    first, again, other = (
        parts(assign(targets, ("a", "b"), Split(seed=seed), task=task)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first[1] != other[1] and first[2] != other[2]


# Groups


def grouped(
    targets: NDArray[Any], groups: NDArray[Any], split: Split | None = None, **options: Any
) -> Assignment:
    classes = names([1] * (int(targets.max()) + 1))
    return assign(targets, classes, split or Split(), groups=groups, **options)


@given(st.integers(8, 40), st.integers(2, 4), shares(), st.integers(0, 2**32))
def test_groups_never_straddle_and_every_class_is_everywhere(
    count: int, classes: int, wanted: dict[str, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(count), rng.integers(10, 30, count)))
    targets = rng.integers(0, classes, len(groups))
    found = grouped(targets, groups, Split(**wanted, seed=seed))
    assert sorted(itertools.chain(*parts(found))) == list(range(len(groups)))
    sets = [set(groups[part].tolist()) for part in parts(found)]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    for part, share in zip(parts(found), wanted, strict=True):
        assert set(targets[part].tolist()) == set(range(classes))
        assert abs(len(part) - len(groups) * wanted[share]) <= 32  # about the largest group


def test_six_speakers_are_four_and_one_and_one() -> None:
    speakers = np.repeat(np.array(list("abcdef"), object), 50)
    digits = np.tile(np.arange(10), 30)
    found = grouped(digits, speakers)
    assert [len(part) for part in parts(found)] == [200, 50, 50]
    assert [len(set(speakers[part])) for part in parts(found)] == [4, 1, 1]


def test_the_seed_says_who_is_held_out() -> None:
    speakers, digits = np.repeat(np.arange(6), 50), np.tile(np.arange(10), 30)
    held_out = {
        tuple(set(speakers[part].tolist()).pop() for part in parts(found)[1:])
        for found in (grouped(digits, speakers, Split(seed=seed)) for seed in range(12))
    }
    assert len(held_out) > 6
    again = [parts(grouped(digits, speakers, Split(seed=3))) for _ in range(2)]
    assert again[0] == again[1]


def least_skew(counts: NDArray[np.int64]) -> float:
    """Return the least skew that any assignment of a few groups has, by trying all of them."""
    weights = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    wanted = np.stack([weights.sum(0) * share for share in (0.8, 0.1, 0.1)])
    least = np.inf
    for parts in itertools.product(range(3), repeat=len(counts)):
        have = np.stack([weights[np.array(parts) == p].sum(0) for p in range(3)])
        if have.min() > 0:
            least = min(least, ((have - wanted) ** 2 / wanted).sum())
    return float(least)


@pytest.mark.parametrize("seed", range(12))
def test_a_few_groups_are_shared_out_about_as_well_as_can_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (7, 3)) * (rng.random((7, 3)) < 0.8)
    best = least_skew(counts)
    cells = [(g, c) for g, row in enumerate(counts) for c, n in enumerate(row) for _ in range(n)]
    groups, targets = np.array(cells).T
    if not np.isfinite(best):
        with pytest.raises(DataError):
            grouped(targets, groups)
        return
    found = grouped(targets, groups)
    have = np.stack([np.bincount(targets[part], minlength=3) for part in parts(found)])
    have = np.concatenate([have, have.sum(axis=1, keepdims=True)], axis=1)
    wanted = have.sum(axis=0) * np.array([[0.8], [0.1], [0.1]])
    assert have.min() > 0
    assert ((have - wanted) ** 2 / wanted).sum() <= 1.25 * best + 3


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError) as caught:
        grouped(np.array([0, 1] * 10), np.array(["ann"] * 10 + ["bob"] * 10, object))
    assert str(caught.value) == (
        "data.groups: there are 2 group(s) (ann, bob), and train, test and validation need one "
        "each; add groups, or leave data.groups out"
    )


def test_a_class_that_stands_in_two_groups_alone_is_named() -> None:
    groups = np.repeat(np.arange(5), 10)
    with pytest.raises(DataError) as caught:
        grouped((groups > 2).astype(np.int64), groups)
    assert str(caught.value) == (
        "class 'class-1' stands in 2 of 5 groups, and train, test and validation need one each, "
        "for a group is never divided; add groups that have it, or leave it out"
    )


def test_classes_that_get_in_each_other_s_way_are_named() -> None:
    # a: groups 0 1 2; b: 0 1 3; c: 0 2 3; d: 1 2 3; four groups in three parts: two share one,
    # and the class that stands in both of them and in one other lacks a part.
    pairs = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 3), (2, 0), (2, 2), (2, 3), (3, 1)]
    targets, groups = np.repeat(np.array([*pairs, (3, 2), (3, 3)]), 5, axis=0).T
    with pytest.raises(DataError, match="no split of 4 groups was found in which every part has"):
        grouped(targets, groups)


def test_groups_of_labels_and_of_numbers_stay_together_too() -> None:
    groups = np.repeat(np.arange(50), 4)
    for task, targets in (
        ("multi-label", some_labels(200, [0.3, 0.6])),
        ("regression", np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)),
    ):
        found = assign(targets, ("a", "b"), Split(), task=task, groups=groups)  # type: ignore[arg-type]
        assert [len(part) for part in parts(found)] == [160, 20, 20]
        assert all((np.bincount(groups[part]) % 4 == 0).all() for part in parts(found))


def test_numbers_that_go_with_their_group_are_split_by_group() -> None:
    groups = np.repeat(np.arange(6), 20)
    found = assign(
        groups[:, None].astype(np.float32), ("pitch",), Split(), task="regression", groups=groups
    )
    assert [len(part) for part in parts(found)] == [80, 20, 20]
