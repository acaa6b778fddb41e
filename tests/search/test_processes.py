"""Training processes answer to their parent alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from hpsearch.search.processes import in_child


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
