"""Whether the order of positions matters is found by training, and predicted rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.preflight.locality import locality, shuffled
from hpsearch.study.spec import StudySpec

SIDE, IMAGES, DOTS = 20, 1500, 15


def bars(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lying or standing bars among dots: their pixels say nothing one by one."""
    images = rng.integers(0, 60, (IMAGES, SIDE, SIDE), np.uint8)
    targets = np.arange(IMAGES) % 2
    for image, standing in zip(images, targets, strict=True):
        image[tuple(rng.integers(0, SIDE, (2, DOTS)))] = 255
        row, column = rng.integers(0, SIDE - 4, 2)
        (image.T if standing else image)[row, column : column + 5] = 255
    return images, targets


def features(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Columns of a table, written as pixels: each is a little brighter in one of the classes."""
    targets = np.arange(IMAGES) % 2
    brighter = rng.random((SIDE, SIDE)) < 0.5
    images = rng.integers(0, 200, (IMAGES, SIDE, SIDE))
    images += 12 * (brighter[None] == targets[:, None, None])
    return images.astype(np.uint8), targets


def study_of(place: Path, made: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> StudySpec:
    images, targets = made
    np.savez(place / "made.npz", images=images, targets=targets)
    return StudySpec.model_validate(
        {
            "name": "made",
            "data": {"source": "arrays", "root": str(place / "made.npz"), "duplicates": "allow"},
            "space": {"filters": 16, "layers": 2, "batch_size": 32},
            "search": {"epochs": 6, "precision": "fp32"},
        }
    )


def test_positions_matter_where_neighbours_make_a_shape(tmp_path: Path) -> None:
    spec = study_of(tmp_path, bars(np.random.default_rng(0)))
    found = locality(spec, prepare(spec.data))
    assert found.matters
    assert found.as_it_is > 0.9
    assert found.gain == pytest.approx(found.as_it_is - found.shuffled)
    assert found.images == IMAGES // 10


def test_positions_do_not_matter_where_columns_stand_for_themselves(tmp_path: Path) -> None:
    spec = study_of(tmp_path, features(np.random.default_rng(0)))
    found = locality(spec, prepare(spec.data))
    assert not found.matters
    assert found.shuffled > 0.6


def test_every_image_is_shuffled_alike_and_nothing_is_lost(tmp_path: Path) -> None:
    spec = study_of(tmp_path, bars(np.random.default_rng(0)))
    data = load_search_data(prepare(spec.data).folder)
    mixed = shuffled(data)
    assert mixed.train.images.shape == data.train.images.shape
    moved = np.flatnonzero((mixed.train.images != data.train.images).any(axis=(0, 3)))
    assert len(moved) > SIDE * SIDE / 2
    for before, after in zip(data.test.images[:20], mixed.test.images[:20], strict=True):
        assert sorted(before.ravel()) == sorted(after.ravel())
