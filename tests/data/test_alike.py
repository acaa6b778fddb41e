"""Vectors that point nearly the same way are found among many, as by comparing every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpsearch.data import alike
from hpsearch.data.alike import pairs_alike


def vectors(count: int, values: int, kinds: int, seed: int) -> NDArray[np.float16]:
    """Return vectors of length 1 around a few directions, each thrice nearly the same."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(kinds, values))
    some = centres[rng.integers(kinds, size=count)] + rng.normal(size=(count, values))
    some = np.repeat(some, 3, axis=0) + rng.normal(0, 0.1, (3 * count, values))
    some[::50] = 0
    length = np.linalg.norm(some, axis=1, keepdims=True)
    ones: NDArray[np.float64] = np.divide(some, length, out=np.zeros_like(some), where=length > 0)
    return ones.astype(np.float16)


def by_hand(some: NDArray[np.float16], least: float) -> set[tuple[int, int]]:
    products = np.triu(some.astype(np.float32) @ some.astype(np.float32).T, 1)
    return {(int(i), int(j)) for i, j in np.argwhere(products >= least)}


@given(st.integers(1, 400), st.sampled_from([3, 40, 200]), st.integers(1, 8), st.integers(0, 2**31))
def test_boxes_rule_out_none_that_is_alike(count: int, values: int, kinds: int, seed: int) -> None:
    some = vectors(count, values, kinds, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "LEAF", 16)
        found = pairs_alike(some, 0.98, 10**9)
    assert found is not None
    pairs = {(min(i, j), max(i, j)) for i, j in found.tolist()}
    assert len(pairs) == len(found)
    sure, likely = by_hand(some, 0.98 + 2e-3), by_hand(some, 0.98 - 1e-4)
    assert sure <= pairs <= likely


def test_too_many_candidates_are_none() -> None:
    some = vectors(100, 40, 1, 0)
    assert pairs_alike(some, 0.5, 100) is None
