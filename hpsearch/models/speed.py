"""How long a device takes for an epoch of a network that it has not trained yet.

What an epoch asks for is known beforehand (`models.work`): arithmetic, numbers moved through
memory, layers called. What a device needs for each of the three is fitted to a few timed
configurations. torch is not loaded for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Work:
    """What an epoch asks of a device, its evaluation on test included.

    `flops` of arithmetic; `moved` bytes of maps, weights and optimizer states, read or written;
    `calls` of layers, forward and back.
    """

    flops: float
    moved: float
    calls: float


@dataclass(frozen=True)
class Speed:
    """Seconds that a device takes for one of each kind of work."""

    per_flop: float
    per_byte: float
    per_call: float

    def seconds(self, work: Work) -> float:
        """Return how long it takes for some work."""
        return self.per_flop * work.flops + self.per_byte * work.moved + self.per_call * work.calls


def fitted(works: Sequence[Work], seconds: Sequence[float]) -> Speed:
    """Return the speed that comes closest to what some work took, in relation to what it took.

    None of its parts is negative, so that no work takes less than less of it.
    """
    from scipy.optimize import nnls  # half a second, of which whoever predicts has no need

    asked = np.array([astuple(work) for work in works], dtype=float)  # (probes, 3)
    took = np.array(seconds, dtype=float)
    shares = asked / took[:, None]
    scale = shares.max(axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(shares / scale, np.ones(len(took)))
    return Speed(*(found / scale).tolist())
