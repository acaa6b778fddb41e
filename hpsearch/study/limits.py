"""The most that a study may ask for: what is above it is a slip of the pen, or an attack.

A number in a study ends in a database (of 32 bits in Postgres), in an allocation or in a loop. The
limits hold where a file is read and where a study is made in Python; a study that is stored already
is read without them (`STORED`), so that one of an earlier version stays readable.
"""

from __future__ import annotations

from typing import Any

from pydantic import AfterValidator, ValidationInfo

STORED: dict[str, Any] = {"stored": True}  # the pydantic context of what a storage holds

EPOCHS = 100_000
IMAGES = 10**9  # of an epoch
TRIALS = 1_000_000
SEED = 2**32 - 1  # NumPy's global one has 32 bits; the seeds of epochs are multiples of it
DURATION_S = 366 * 86400.0  # a year; Python's locks wait for 292 at most
MINUTES, CORE_HOURS = DURATION_S / 60, 1e9
PARAMETERS = 10**12
FLOPS = 10**18
LATENCY_MS = 3_600_000
WORKER_THREADS = 4096
GRID_POINTS = 100_000  # on one axis
PATH_LENGTH, NAME_LENGTH, PATTERN_LENGTH = 4096, 1000, 1000

# The same in the space, for each of its axes, and in the configuration of a trial.
HIGHEST: dict[str, int] = {
    "filters": 2048,
    "layers": 8,
    "kernel_size": 15,
    "units1": 8192,
    "units2": 8192,
    "convolutions": 8,
    "reduction": 64,
    "blocks": 48,
    "squeeze": 256,
    "learning_rate": 10,
    "weight_decay": 10,
    "batch_size": 65536,
    "patience": 1000,
    "shift": 64,
}


def at_most(limit: float, in_stored: bool = False) -> AfterValidator:
    """Return a rule of a field that refuses numbers above a limit, but in what is stored.

    `in_stored` says that nothing stored can be above it, for it was never allowed.
    """

    def checked(value: Any, info: ValidationInfo) -> Any:
        exempt = not in_stored and bool((info.context or {}).get("stored"))
        if value is not None and not exempt and not value <= limit:
            given = str(value) if len(str(value)) < 40 else f"{str(value)[:36]}..."
            raise ValueError(f"{given} is above {limit:,.0f}, the most that can be asked for")
        return value

    return AfterValidator(checked)


def at_most_of(axis: str) -> AfterValidator:
    """Return the rule for a hyperparameter, whose limit is that of its axis in the space."""
    return at_most(HIGHEST[axis], in_stored=True)


def no_longer_than(limit: int) -> AfterValidator:
    """Return a rule of a text that refuses longer ones, but in what is stored."""

    def checked(value: Any, info: ValidationInfo) -> Any:
        stored = bool((info.context or {}).get("stored"))
        if value is not None and not stored and len(value) > limit:
            raise ValueError(f"{len(value):,} characters are more than {limit:,}, the most allowed")
        return value

    return AfterValidator(checked)
