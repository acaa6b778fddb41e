"""A worker's memory is watched, given back, and in the end a reason for a fresh process."""

from __future__ import annotations

import sys

import pytest

from hpsearch.machine.memory import MemoryWatch, give_back, memory_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 2**20


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Let what earlier tests have freed be no reserve for these."""
    give_back()


def hoard(megabytes: int) -> list[bytearray]:
    """Take memory in pieces that the allocator does not map one by one."""
    return [bytearray(b"x" * 2**16) for _ in range(megabytes * 16)]


def test_memory_is_what_the_process_holds() -> None:
    before = memory_bytes()
    held = hoard(100)
    assert 90 * MB < memory_bytes() - before < 140 * MB
    del held
    give_back()
    assert memory_bytes() - before < 40 * MB


def test_a_process_that_holds_more_than_at_first_has_grown() -> None:
    watch = MemoryWatch(growth=1.2, settled_after=2)
    assert not watch.has_grown()
    assert not watch.has_grown()
    held = hoard(memory_bytes() // MB)
    assert watch.has_grown()
    del held


def test_what_is_only_kept_for_later_is_given_back_and_is_no_growth() -> None:
    watch = MemoryWatch(growth=1.2, settled_after=1)
    assert not watch.has_grown()
    held = hoard(memory_bytes() // MB)
    keeps_the_top = bytearray(1)
    del held
    assert not watch.has_grown()
    del keeps_the_top


def test_the_first_trials_say_what_is_needed() -> None:
    watch = MemoryWatch(growth=1.2, settled_after=3)
    held = []
    for _ in range(3):
        held += hoard(50)
        assert not watch.has_grown()
    assert not watch.has_grown()
