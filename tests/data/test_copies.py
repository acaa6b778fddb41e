"""Copies are found, whatever made them; what only looks similar is none."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, scenes
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data import copies
from hpsearch.data.copies import Copies, find_copies
from hpsearch.data.sources.torchvision_sets import read_idx

Images = NDArray[np.uint8]
SHAPES = [(28, 28, 1), (32, 32, 3), (64, 48, 3), (20, 150, 1), (40, 40, 5)]


def found(of: Copies) -> set[tuple[int, int]]:
    return {(int(one), int(other)) for one, other in of.pairs}


def one_pixel(images: Images) -> Images:
    changed = images.copy()
    rng = np.random.default_rng(1)
    for image in changed:
        row, column = (int(rng.integers(size)) for size in image.shape[:2])
        image[row, column] = np.where(image[row, column] > 127, 0, 255)
    return changed


def four_pixels(images: Images) -> Images:
    changed = images.copy()
    changed[:, 3, 5:9] ^= 255
    return changed


def brighter(images: Images) -> Images:
    return (images * 0.7 + 40).astype(np.uint8)


def noisy(images: Images) -> Images:
    moves = np.random.default_rng(2).normal(0, 4, images.shape)
    return np.clip(images + moves, 0, 255).astype(np.uint8)


def through_jpeg(images: Images) -> Images:
    def one(channel: Images) -> Images:
        file = io.BytesIO()
        Image.fromarray(channel).save(file, "JPEG", quality=75)
        return np.asarray(Image.open(file))

    channels = [[one(image[..., i]) for i in range(images.shape[3])] for image in images]
    return np.asarray(channels, np.uint8).transpose(0, 2, 3, 1)


def enlarged_and_back(images: Images) -> Images:
    def one(channel: Images) -> Images:
        large = Image.fromarray(channel).resize((100, 100), Image.Resampling.BILINEAR)
        size = channel.shape[1], channel.shape[0]
        return np.asarray(large.resize(size, Image.Resampling.BILINEAR))

    channels = [[one(image[..., i]) for i in range(images.shape[3])] for image in images]
    return np.asarray(channels, np.uint8).transpose(0, 2, 3, 1)


CHANGES = (one_pixel, four_pixels, brighter, noisy, through_jpeg, enlarged_and_back)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_copies_are_found_in_any_shape_and_paired_with_the_first(
    shape: tuple[int, ...],
) -> None:
    images = scenes(12, *shape)
    images[[5, 9]] = images[2]
    images[11] = images[3]
    copied = find_copies(images)
    assert found(copied) == {(2, 5), (2, 9), (3, 11)}
    assert copied.exact.all() and (copied.likeness == 1).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else_is(
    change: Callable[[Images], Images], shape: tuple[int, ...]
) -> None:
    originals = scenes(40, *shape)
    copied = find_copies(np.concatenate([originals, change(originals)]))
    assert found(copied) == {(i, i + 40) for i in range(40)}
    assert not copied.exact.any()
    assert (copied.likeness < 1).all() and (copied.likeness > 0.8).all()


def test_copies_of_copies_are_joined_to_the_first_of_their_exact_set() -> None:
    images = scenes(6, 24, 24, 3)
    images[3] = images[0]
    images[4] = one_pixel(images[:1])[0]
    assert found(find_copies(images)) == {(0, 3), (0, 4)}


def test_two_dots_on_black_are_no_copies_though_they_differ_in_two_pixels() -> None:
    images = np.zeros((50, 28, 28, 1), np.uint8)
    for i, image in enumerate(images):
        image[i // 7 * 3, i % 7 * 3] = 255
    assert not len(find_copies(images).pairs)


def test_blank_images_are_copies_of_their_like_alone() -> None:
    images = np.concatenate([scenes(5, 20, 20, 1), np.zeros((5, 20, 20, 1), np.uint8)])
    images[[8, 9]] = 90
    assert found(find_copies(images)) == {(5, 6), (5, 7), (8, 9)}


@pytest.mark.parametrize("pictures", [True, False])
def test_where_alikeness_means_nothing_only_exact_copies_are_found(pictures: bool) -> None:
    images = noise(30, 1, 200, 1) if pictures else scenes(30, 28, 28, 1)
    images[20] = images[4]
    images[21] = images[5]
    images[21, 0, 7] ^= 1
    copied = find_copies(images, pictures)
    assert found(copied) == {(4, 20)}
    assert copied.unsearched


def test_frames_of_a_film_are_not_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "CANDIDATES", 5)
    frames = noisy(np.repeat(scenes(1, 28, 28, 1), 60, axis=0))
    frames[7] = frames[3]
    copied = find_copies(frames)
    assert found(copied) == {(3, 7)}
    assert "too many images look alike" in copied.unsearched


def short_sounds(count: int, width: int = 100, seed: int = 0) -> tuple[Images, NDArray[np.int32]]:
    """Return bursts of 6 to 9 columns in the middle of `width`, all but them black, and where."""
    rng = np.random.default_rng(seed)
    images, content = np.zeros((count, 64, width, 1), np.uint8), np.empty((count, 4), np.int32)
    for image, span in zip(images, content, strict=True):
        long = int(rng.integers(6, 10))
        left = (width - long) // 2
        image[:, left : left + long, 0] = rng.normal(190, 20, (64, long)).clip(1, 255)
        span[:] = 0, 64, left, left + long
    return images, content


def test_short_sounds_in_much_silence_are_no_copies_but_of_themselves() -> None:
    images, content = short_sounds(60)
    again = (images * 0.9).astype(np.uint8)
    both, spans = np.concatenate([images, again]), np.concatenate([content, content])
    assert found(find_copies(both, True, spans)) == {(i, i + 60) for i in range(60)}
    # Their outlines alone would make most of them copies of each other.
    assert len(find_copies(images).pairs) > 60


def test_of_too_little_content_only_exact_copies_are_found() -> None:
    images, content = short_sounds(30)
    images[:, :62] = 0
    images[20] = images[4]
    content[:, 0] = 62
    assert found(find_copies(images, True, content)) == {(4, 20)}


def test_padding_is_mirrored_content() -> None:
    images = np.zeros((1, 2, 9, 1), np.uint8)
    images[0, :, 3:6, 0] = [[1, 2, 3], [4, 5, 6]]
    near = copies.Near(images, np.array([[0, 2, 3, 6]], np.int32))
    assert near[np.array([0])][0, :, :, 0].tolist() == [
        [3, 2, 1, 1, 2, 3, 3, 2, 1],
        [6, 5, 4, 4, 5, 6, 6, 5, 4],
    ]


def test_of_very_many_images_near_copies_are_looked_for_among_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copies, "SAMPLE", 50)
    images = scenes(100, 28, 28, 1)
    images = np.concatenate([images, brighter(images)])
    images[7] = images[3]
    copied = find_copies(images)
    assert copied.sampled == 50
    assert (3, 7) in found(copied)
    near = copied.pairs[~copied.exact]
    assert 5 <= len(near) <= 25  # of 100, each found where both were drawn
    assert np.array_equal(find_copies(images).pairs, copied.pairs)


def test_rows_are_compared_across_the_borders_of_blocks() -> None:
    images = scenes(10_000, 16, 16, 1)
    ones, others = np.array([3, 1020, 1030, 9000]), np.array([9999, 1025, 8200, 9001])
    images[others] = brighter(images[ones])
    assert found(find_copies(images)) == set(zip(ones.tolist(), others.tolist(), strict=True))


def test_images_need_not_be_contiguous_or_in_memory(tmp_path: Path) -> None:
    images = scenes(20, 28, 20, 1)
    images[13] = brighter(images[6:7])[0]
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert found(find_copies(mapped)) == {(6, 13)}
    assert found(find_copies(images.transpose(0, 2, 1, 3))) == {(6, 13)}


def test_the_last_word_does_not_hang_on_how_a_machine_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = scenes(60, 28, 28, 1)
    images = np.concatenate([images, noisy(images)])
    exact = find_copies(images)
    edges = copies._edges

    def otherwise(some: Images, number: type[np.floating[Any]]) -> NDArray[Any]:
        right = edges(some, number)
        return right if number is np.float64 else (right * np.float32(1 - 1e-5)).astype(number)

    monkeypatch.setattr(copies, "_edges", otherwise)
    assert np.array_equal(find_copies(images).pairs, exact.pairs)
    assert np.array_equal(find_copies(images).likeness, exact.likeness)


def test_all_planted_copies_in_fashion_mnist_are_found_and_few_others_called_copies(
    shared_data: Path,
) -> None:
    folder = shared_data / "FashionMNIST" / "raw"
    if not folder.is_dir():
        pytest.skip(f"no Fashion-MNIST in {shared_data}")
    parts = [read_idx(folder / f"{name}-images-idx3-ubyte.gz", 3) for name in ("train", "t10k")]
    images = np.concatenate(parts)[..., None]
    rng = np.random.default_rng(0)
    ones, others = rng.choice(60_000, 200, False), 60_000 + rng.choice(10_000, 200, False)
    images[ones] = one_pixel(images[others])
    copied = find_copies(images)
    planted = set(zip(ones.tolist(), others.tolist(), strict=True))
    assert planted <= found(copied)
    touched = np.isin(copied.pairs, [*ones, *others]).any(axis=1)
    assert len(np.unique(copied.pairs[~touched])) < 0.01 * 70_000
