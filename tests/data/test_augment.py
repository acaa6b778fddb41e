"""Augmentation: pictures are mirrored and moved, and nothing else happens to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch.data.augment import shift_and_flip


def pictures(count: int, height: int = 7, width: int = 9, channels: int = 3) -> Tensor:
    """Return pictures of random bytes, hardly any two pixels of one alike."""
    seeded = torch.Generator().manual_seed(0)
    shape = (count, height, width, channels)
    return torch.randint(0, 256, shape, generator=seeded, dtype=torch.uint8)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moves_between(before: Tensor, after: Tensor, most: int) -> list[tuple[int, int]]:
    """Return the moves (down, right) of up to `most` that turn one picture into the other.

    Where a picture moved away from a border, that border is repeated.
    """
    height, width = before.shape[:2]
    padded = np.pad(before.numpy(), ((most, most), (most, most), (0, 0)), mode="edge")
    return [
        (most - top, most - left)
        for top in range(2 * most + 1)
        for left in range(2 * most + 1)
        if np.array_equal(padded[top : top + height, left : left + width], after.numpy())
    ]


@pytest.mark.parametrize(("shift", "flip"), [(0, True), (2, False), (3, True)])
@pytest.mark.parametrize("shape", [(5, 7, 9, 3), (4, 8, 8, 1), (1, 6, 5, 4)])
def test_shape_and_type_are_kept(shape: tuple[int, ...], shift: int, flip: bool) -> None:
    images = pictures(*shape)
    out = shift_and_flip(images, shift, flip, generator())
    assert out.shape == shape
    assert out.dtype == torch.uint8
    floats = shift_and_flip(images.float(), shift, flip, generator())
    assert torch.equal(floats, out.float())


def test_a_flip_mirrors_a_picture_from_left_to_right_or_leaves_it_alone() -> None:
    images = pictures(200)
    out = shift_and_flip(images, 0, True, generator())
    kept = (out == images).all(dim=(1, 2, 3))
    mirrored = (out == images.flip(2)).all(dim=(1, 2, 3))
    assert (kept | mirrored).all()
    assert 60 < mirrored.sum() < 140


def test_a_shift_moves_by_at_most_so_many_pixels_and_repeats_the_border() -> None:
    images = pictures(300)
    out = shift_and_flip(images, 2, False, generator())
    found = [moves_between(a, b, 2) for a, b in zip(images, out, strict=True)]
    assert all(len(moves) == 1 for moves in found)
    seen = {moves[0] for moves in found}
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_a_mirrored_picture_is_moved_as_well() -> None:
    images = pictures(300)
    out = shift_and_flip(images, 1, True, generator())
    plain = [moves_between(a, b, 1) for a, b in zip(images, out, strict=True)]
    mirrored = [moves_between(a, b, 1) for a, b in zip(images.flip(2), out, strict=True)]
    assert all(bool(a) != bool(b) for a, b in zip(plain, mirrored, strict=True))
    every = {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert {moves[0] for moves in plain if moves} == every
    assert {moves[0] for moves in mirrored if moves} == every


def test_a_shift_beyond_the_picture_leaves_its_border_everywhere() -> None:
    images = pictures(50, height=3, width=3)
    out = shift_and_flip(images, 40, False, generator())
    assert out.shape == images.shape
    far = [i for i in range(50) if len(out[i].reshape(9, 3).unique(dim=0)) == 1]
    assert len(far) > 25


def test_the_same_generator_seed_gives_the_same_pictures_and_another_one_others() -> None:
    images = pictures(20)
    first = shift_and_flip(images, 2, True, generator(1))
    assert torch.equal(first, shift_and_flip(images, 2, True, generator(1)))
    assert not torch.equal(first, shift_and_flip(images, 2, True, generator(2)))


def test_a_generator_goes_on_from_batch_to_batch() -> None:
    images, one = pictures(20), generator()
    first = shift_and_flip(images, 2, True, one)
    assert not torch.equal(first, shift_and_flip(images, 2, True, one))


def test_no_shift_and_no_flip_do_nothing() -> None:
    images, one = pictures(5), generator()
    before = one.get_state()
    assert torch.equal(shift_and_flip(images, 0, False, one), images)
    assert torch.equal(one.get_state(), before)


def test_the_pictures_that_come_in_stay_as_they_are() -> None:
    images = pictures(20)
    before = images.clone()
    shift_and_flip(images, 2, True, generator())
    assert torch.equal(images, before)
