"""Batches: which images they hold, how often, and in which form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpsearch.data.batches import Resident, batches_in_epoch, has_room, resident
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Labelled, SearchData, load_search_data
from hpsearch.study.data import Data

CPU = torch.device("cpu")


def split_of(count: int, height: int = 4, width: int = 5, channels: int = 3) -> Labelled:
    """Return images of which image i is grey level i throughout, and has the target i."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(levels, (count, height, width, channels)).copy()
    return Labelled(images, np.arange(count))


def on_device(split: Labelled, mean: float = 0.0, std: float = 1.0) -> Resident:
    """Return a split that is resident on the CPU, normalised with the same numbers throughout."""
    channels = split.images.shape[-1]
    data = SearchData(
        split, split, "single-label", ("a", "b"), (mean,) * channels, (std,) * channels, "abc"
    )
    return resident(split, data, CPU)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> SearchData:
    return load_search_data(prepare(Data(source="digits")).folder)


@given(st.integers(1, 40), st.integers(1, 50))
def test_ordered_batches_hold_every_image_once_and_in_order(count: int, batch_size: int) -> None:
    batches = list(on_device(split_of(count)).ordered_batches(batch_size))
    assert torch.cat([targets for _, targets in batches]).tolist() == list(range(count))
    levels = torch.cat([images[:, 0, 0, 0] for images, _ in batches])
    assert levels.tolist() == list(range(count))
    assert all(len(targets) == batch_size for _, targets in batches[:-1])
    assert 1 <= len(batches[-1][1]) <= batch_size


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**31))
def test_training_batches_are_full_and_hold_no_image_twice(
    count: int, batch_size: int, seed: int
) -> None:
    batches = list(on_device(split_of(count)).training_batches(batch_size, 0, False, seed))
    size = min(batch_size, count)
    assert [len(targets) for _, targets in batches] == [size] * (count // size)
    assert len(batches) == batches_in_epoch(count, batch_size)
    seen = torch.cat([targets for _, targets in batches]).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(count))
    for images, targets in batches:
        assert torch.equal(images[:, 0, 0, 0], targets.float())


def test_the_last_partial_training_batch_is_dropped() -> None:
    batches = list(on_device(split_of(10)).training_batches(4, 0, False, seed=0))
    assert [len(targets) for _, targets in batches] == [4, 4]
    assert batches_in_epoch(10, 4) == 2


def test_a_batch_larger_than_the_split_is_the_split() -> None:
    batches = list(on_device(split_of(10)).training_batches(64, 0, False, seed=0))
    assert [sorted(targets.tolist()) for _, targets in batches] == [list(range(10))]
    assert batches_in_epoch(10, 64) == 1


def test_training_images_are_shuffled_by_the_seed() -> None:
    train = on_device(split_of(40))

    def order(seed: int) -> list[int]:
        batches = train.training_batches(8, 0, False, seed)
        return torch.cat([targets for _, targets in batches]).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != list(range(40))


def test_an_epoch_of_augmented_batches_repeats_itself_exactly(digits: SearchData) -> None:
    train = resident(digits.train, digits, CPU)

    def epoch(seed: int) -> torch.Tensor:
        return torch.cat([images for images, _ in train.training_batches(256, 1, True, seed)])

    assert torch.equal(epoch(5), epoch(5))
    assert not torch.equal(epoch(5), epoch(6))


def test_only_training_batches_are_augmented() -> None:
    count = 32
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    split = on_device(Labelled(images, np.arange(count)))
    original = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    ordered, _ = next(split.ordered_batches(count))
    assert torch.equal(ordered, original)
    moved, targets = next(split.training_batches(count, 2, True, seed=0))
    assert not torch.equal(moved, original[targets])


def test_the_training_split_is_normalised_to_mean_0_and_deviation_1(digits: SearchData) -> None:
    train = resident(digits.train, digits, CPU)
    images = torch.cat([images for images, _ in train.ordered_batches(500)])
    assert images.dtype == torch.float32
    assert abs(images.mean()) < 1e-4
    assert abs(images.std(correction=0) - 1) < 1e-4


def test_each_channel_is_normalised_by_its_own_statistics(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = np.stack(
        [rng.integers(0, 50, (60, 8, 8)), rng.integers(200, 256, (60, 8, 8))], axis=-1
    ).astype(np.uint8)
    mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    split = Labelled(images, np.zeros(60, np.int64))
    data = SearchData(split, split, "single-label", ("a", "b"), tuple(mean), tuple(std), "abc")
    ((batch, _),) = resident(split, data, CPU).ordered_batches(60)
    torch.testing.assert_close(batch.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        batch.std(dim=(0, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0
    )


def test_the_test_split_is_normalised_with_training_statistics(digits: SearchData) -> None:
    test = resident(digits.test, digits, CPU)
    ((images, _),) = test.ordered_batches(len(test))
    by_hand = (digits.test.images.astype(np.float32) - digits.mean[0]) / digits.std[0]
    np.testing.assert_allclose(images.numpy(), by_hand.transpose(0, 3, 1, 2), atol=1e-5)


def test_a_constant_channel_stays_finite() -> None:
    split = on_device(split_of(1), mean=0.0, std=0.0)
    ((images, _),) = split.ordered_batches(1)
    assert torch.isfinite(images).all()


def test_batches_are_channels_last_in_memory() -> None:
    split = on_device(split_of(8))
    for batches in (split.ordered_batches(4), split.training_batches(4, 1, True, seed=0)):
        for images, _ in batches:
            assert images.shape == (4, 3, 4, 5)
            assert images.is_contiguous(memory_format=torch.channels_last)


def test_prepared_images_are_used_in_place_on_a_cpu(digits: SearchData) -> None:
    train = resident(digits.train, digits, CPU)
    assert train.images.data_ptr() == digits.train.images.ctypes.data
    assert len(train) == len(digits.train)
    assert torch.equal(train.targets, torch.from_numpy(digits.train.targets))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**31))
def test_images_that_stay_mapped_come_in_the_same_batches(
    count: int, batch_size: int, seed: int
) -> None:
    held = on_device(split_of(count))
    mapped = replace(held, mapped=True)
    for one, other in (
        (s.training_batches(batch_size, 1, True, seed) for s in (held, mapped)),
        (s.ordered_batches(batch_size) for s in (held, mapped)),
    ):
        for (images, targets), (again, answers) in zip(one, other, strict=True):
            assert torch.equal(images, again) and torch.equal(targets, answers)


def test_images_stay_mapped_where_they_would_take_most_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda", 0)
    assert has_room(gpu, 500) and not has_room(gpu, 501)
    assert has_room(CPU, 10**15)  # used in place


# Balanced


def drawn(targets: NDArray[np.int64], batch_size: int, seed: int) -> list[int]:
    """Return the numbers of the images of one balanced epoch, in the order in which they came."""
    images = split_of(len(targets)).images
    found = []
    split = on_device(Labelled(images, targets))
    for batch, answers in split.training_batches(batch_size, 0, False, seed, balanced=True):
        numbers = batch[:, 0, 0, 0].int().tolist()
        assert answers.tolist() == targets[numbers].tolist()
        found += numbers
    return found


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 2**31))
def test_a_balanced_epoch_holds_as_many_images_and_every_class_equally_often(
    counts: list[int], seed: int
) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    found = drawn(targets, len(targets), seed)
    assert len(found) == len(targets)
    of_class = np.bincount(targets[found], minlength=len(counts))
    assert of_class.max() - of_class.min() <= 1
    times = np.bincount(found, minlength=len(targets))
    for number in range(len(counts)):
        of_each = times[targets == number]  # images of a class take turns
        assert of_each.max() - of_each.min() <= 1


def test_balanced_batches_are_mixed_and_as_many_as_others() -> None:
    targets = np.repeat([0, 1], [90, 10])
    found = drawn(targets, 20, seed=0)
    assert len(found) == 100
    share = targets[found].reshape(5, 20).mean(axis=1)
    assert (share > 0.15).all() and (share < 0.85).all()
    assert len(set(found[:20])) > 15


def test_a_balanced_epoch_repeats_itself_by_its_seed_and_differs_from_the_next() -> None:
    targets = np.repeat([0, 1], [90, 10])
    assert drawn(targets, 10, seed=1) == drawn(targets, 10, seed=1)
    assert drawn(targets, 10, seed=1) != drawn(targets, 10, seed=2)
    frequent = {i for seed in range(12) for i in drawn(targets, 10, seed) if targets[i] == 0}
    assert len(frequent) == 90  # what one epoch leaves out, others show


def test_a_class_that_train_lacks_is_not_drawn() -> None:
    found = drawn(np.array([0, 2, 2, 2]), 4, seed=0)
    assert sorted(found).count(0) == 2


# Any shape


@pytest.mark.parametrize("shape", [(1, 40, 7), (1, 1, 1), (40, 1, 2), (5, 17, 1)], ids=str)
@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_images_of_any_shape_are_batched_and_augmented(
    shape: tuple[int, int, int], shift: int, flip: bool
) -> None:
    height, width, channels = shape
    split = on_device(split_of(12, height, width, channels))
    for images, targets in split.training_batches(4, shift, flip, seed=0):
        assert images.shape == (4, channels, height, width)
        # Every image is one grey level throughout, wherever it was moved.
        assert (images == targets[:, None, None, None].float()).all()


def test_targets_of_labels_and_numbers_go_with_their_images() -> None:
    numbers = np.arange(12, dtype=np.float32)[:, None] * [1, -1]
    split = on_device(Labelled(split_of(12).images, numbers.astype(np.float32)))
    for batches in (split.ordered_batches(5), split.training_batches(5, 1, True, seed=0)):
        for images, targets in batches:
            assert targets.dtype == torch.float32
            assert torch.equal(targets[:, 0], images[:, 0, 0, 0])
            assert torch.equal(targets[:, 1], -targets[:, 0])
