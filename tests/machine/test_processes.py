"""Training processes answer to their parent alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpsearch.machine.children import child_environment, in_child


def wait_a_moment(tell: Callable[[object], None]) -> str:
    tell(os.getpid())
    time.sleep(0.3)
    return "went on"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_does_not_end_a_training_under_its_parent(
    number: signal.Signals,
) -> None:
    def send(pid: int) -> None:
        os.kill(pid, number)

    assert in_child(wait_a_moment, threads=1, hear=send) == "went on"


def test_the_parent_ends_it_when_it_is_interrupted_itself() -> None:
    heard: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        in_child(wait_a_moment, threads=1, hear=heard.append, interrupted=lambda: bool(heard))
    with pytest.raises(ProcessLookupError):
        os.kill(heard[0], 0)


def test_children_that_threads_start_at_once_get_their_own_environment() -> None:
    before = dict(os.environ)

    def start(threads: int) -> str:
        with child_environment(threads):
            time.sleep(0.1)  # in which another thread would enter
            return os.environ["OMP_NUM_THREADS"]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, [1, 2, 3])) == ["1", "2", "3"]
    assert dict(os.environ) == before, "and it is put back"
