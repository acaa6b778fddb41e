"""Others in the process that draw from the global generators, and seed them, while we train."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def draw(rng: random.Random) -> None:
    """Draw from every global generator, or seed it; which, and how often, `rng` decides."""
    what = rng.randrange(6)
    if what == 0:
        torch.manual_seed(rng.randrange(2**32))
    elif what == 1:
        np.random.seed(rng.randrange(2**32))
        random.seed(rng.randrange(2**32))
    else:
        torch.rand(what)
        torch.nn.functional.dropout(torch.ones(what), 0.5)
        np.random.rand(what)
        random.random()


@contextmanager
def from_a_thread(seed: int = 0) -> Iterator[None]:
    """Draw at random moments, from a thread beside whatever is done meanwhile."""
    rng, over = random.Random(seed), threading.Event()

    def draw_on() -> None:
        while not over.wait(rng.random() * 2e-3):
            draw(rng)

    thread = threading.Thread(target=draw_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def at_every_ask(asked: Callable[[], bool] = lambda: False, seed: int = 0) -> Callable[[], bool]:
    """Return what answers as `asked` does, and draws before it does so."""
    rng = random.Random(seed)

    def answer() -> bool:
        draw(rng)
        return asked()

    return answer


def global_states() -> list[Any]:
    """Return where the global generators stand, to be compared with `==`."""
    numbers = np.random.get_state()
    return [
        torch.get_rng_state().tolist(),
        [part.tolist() if isinstance(part, np.ndarray) else part for part in numbers],
        random.getstate(),
    ]
