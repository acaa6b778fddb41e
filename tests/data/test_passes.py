"""Epochs that are shorter than a pass: every image once in each pass, wherever epochs end."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.data.batches import Resident
from hpsearch.data.passes import rows_of_epoch


def split_of(targets: list[int]) -> Resident:
    images = torch.zeros((len(targets), 1, 1, 1), dtype=torch.uint8)
    return Resident(images, torch.tensor(targets), torch.zeros(1), torch.ones(1))


def rows(split: Resident, images: int, epochs: int, balanced: bool = False) -> list[list[int]]:
    return [
        rows_of_epoch(split, images, number, lambda nth: 100 - nth, balanced).tolist()
        for number in range(1, epochs + 1)
    ]


@given(st.integers(1, 30), st.data())
def test_every_image_comes_once_in_each_pass(count: int, data: st.DataObject) -> None:
    images = data.draw(st.integers(1, count))
    epochs = rows(split_of([0] * count), images, epochs=3 * count)
    assert {len(epoch) for epoch in epochs} == {images}
    shown = [row for epoch in epochs for row in epoch]
    for start in range(0, len(shown), count):
        part = shown[start : start + count]
        assert len(set(part)) == len(part)
    times = Counter(shown)
    assert max(times.values()) - min(times[row] for row in range(count)) <= 1


def test_every_pass_is_shuffled_anew() -> None:
    epochs = rows(split_of([0] * 40), 20, epochs=6)
    passes = [tuple(epochs[i] + epochs[i + 1]) for i in (0, 2, 4)]
    assert len(set(passes)) == 3


def test_a_pass_that_ends_within_an_epoch_is_followed_by_the_next() -> None:
    split = split_of([0] * 10)
    whole = rows(split, 10, epochs=3)
    assert [row for epoch in rows(split, 4, epochs=7) for row in epoch] == list(chain(*whole))[:28]


def test_balanced_passes_show_every_class_equally_often() -> None:
    targets = np.array([0] * 30 + [1] * 6)
    epochs = rows(split_of(targets.tolist()), 9, epochs=4, balanced=True)
    assert np.bincount(targets[list(chain(*epochs))]).tolist() == [18, 18]
