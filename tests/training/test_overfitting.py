"""Where test loss turns away from train loss."""

from __future__ import annotations

import pytest

from hpsearch.training.overfitting import turning_point

FALLING = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3)


@pytest.mark.parametrize(
    ("train", "test", "patience", "turn"),
    [
        (FALLING, (1.0, 0.9, 0.8, 0.9, 1.0, 1.1), 3, 3),
        (FALLING, (1.0, 0.9, 0.8, 0.9, 1.0, 1.1), 4, None),  # too early to tell
        (FALLING, FALLING, 1, None),  # both fall
        (FALLING, (1.0, 0.9, 0.8, 0.9, 0.85, 0.79), 2, None),  # it was chance
        (FALLING, (1.0, 0.9, 0.8, 0.8, 0.8, 0.8), 3, 3),  # no lower, and the first such epoch
        ((1.0, 0.8, 0.6, 0.7, 0.8, 0.9), (1.0, 0.9, 0.8, 0.9, 1.0, 1.1), 3, None),  # a high rate
        ((1.0, 0.8, 0.6, 0.7, 0.5, 0.59), (1.0, 0.9, 0.8, 0.9, 1.0, 1.1), 3, 3),
        ((0.5, 0.4), (0.9, float("inf")), 1, 1),
        ((0.5,), (0.9,), 1, None),
        ((), (), 1, None),
    ],
)
def test_the_turning_point_is_the_lowest_test_loss_that_train_loss_leaves_behind(
    train: tuple[float, ...], test: tuple[float, ...], patience: int, turn: int | None
) -> None:
    assert turning_point(train, test, patience) == turn
