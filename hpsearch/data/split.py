"""The three-way split: seeded, stratified, disjoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpsearch.errors import DataError
from hpsearch.study.data import Split

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Assignment:
    """Which images belong to which split: sorted indices, disjoint, together all images."""

    train: Indices
    test: Indices
    validation: Indices


def assign(
    targets: NDArray[np.int64],
    classes: tuple[str, ...],
    split: Split,
    official_test: NDArray[np.bool_] | None = None,
) -> Assignment:
    """Return the split of images with these class numbers; every class stands in every split.

    Each class is shuffled and cut by itself, so that shares hold per class to within one image.
    Raises DataError where a class has too few images.
    """
    if len(classes) < 2:
        raise DataError(
            f"there is only one class ({', '.join(classes)}); a classifier needs two or more"
        )
    rng = np.random.default_rng(split.seed)
    official = split.validation == "official"
    parts: dict[str, list[Indices]] = {"train": [], "test": [], "validation": []}
    for number, name in enumerate(classes):
        of_class = np.flatnonzero(targets == number)
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
            raise DataError(
                f"class '{name}' has {len(of_class)} image(s), too few for train, test and "
                "validation; add images, or leave the class out"
            )
        parts["train"].append(train)
        parts["test"].append(test)
        parts["validation"].append(sealed)
    return Assignment(**{name: np.sort(np.concatenate(found)) for name, found in parts.items()})
