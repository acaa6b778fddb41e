"""A table of recorded learning curves, as one small file; needs numpy alone.

The file is gzipped JSON: the axes of the space as Optuna writes distributions, and for each
configuration its values, the test metric and the seconds of every epoch, and its parameters.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = str | int | float
Config = dict[str, Value]
DECIMALS = {"scores": 5, "seconds": 4}  # what a file keeps of them


@dataclass(frozen=True)
class Axis:
    """One axis of a space: choices of words or numbers, or a range of numbers.

    A list of numbers is a category to Optuna; `choices` holds its values, which stay in order.
    """

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    step: float | None = None
    log: bool = False
    whole: bool = False  # numbers are integers

    def place(self, value: Value) -> float:
        """Return where a value lies between 0 and 1; words are numbered."""
        if self.choices:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        number = float(value)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)

    def is_of_words(self) -> bool:
        """Whether two of its values are either equal or as far apart as can be."""
        return any(isinstance(choice, str) for choice in self.choices)


@dataclass(frozen=True)
class Table:
    """Recorded configurations of one task: row by row what they are and how they learn.

    `scores` and `seconds` are (rows, epochs): the test metric after each epoch, the higher the
    better, and how long it took. A row that diverged or never was a network scores 0 from there on.
    """

    name: str
    axes: tuple[Axis, ...]
    configs: tuple[Config, ...]
    scores: NDArray[np.float64]
    seconds: NDArray[np.float64]
    parameters: tuple[int, ...] = ()
    default: Config = field(default_factory=dict)  # the study's first trial, which is no row

    @property
    def rows(self) -> int:
        return len(self.configs)

    @property
    def epochs(self) -> int:
        return int(self.scores.shape[1])

    @cached_property
    def best(self) -> float:
        """The best score of all, at whatever epoch."""
        return float(self.scores.max())

    @cached_property
    def _words(self) -> NDArray[np.bool_]:
        return np.array([axis.is_of_words() for axis in self.axes])

    @cached_property
    def _places(self) -> NDArray[np.float64]:  # (rows, axes)
        return np.array([self._placed(config) for config in self.configs])

    def _placed(self, config: Mapping[str, Value]) -> list[float]:
        return [axis.place(config[axis.name]) for axis in self.axes]

    def nearest(self, config: Mapping[str, Value], tried: Iterable[int]) -> int:
        """Return the row that is most like a configuration, of those that were not tried.

        Distances are sums over the axes, each from 0 to 1; other words are 1 apart. Raises
        `IndexError` where every row was tried.
        """
        apart = np.abs(self._places - np.array(self._placed(config)))
        apart[:, self._words] = apart[:, self._words] > 0
        distances = apart.sum(axis=1)
        distances[list(tried)] = np.inf
        row = int(distances.argmin())
        if math.isinf(distances[row]):
            raise IndexError("every row of the table was tried")
        return row

    def write(self, path: Path) -> None:
        """Write the table; the same one gives the same bytes."""
        rows = [
            {
                "config": config,
                "parameters": self.parameters[row] if self.parameters else 0,
                **{
                    what: [round(float(v), places) for v in getattr(self, what)[row]]
                    for what, places in DECIMALS.items()
                },
            }
            for row, config in enumerate(self.configs)
        ]
        axes = [vars(axis) | {"choices": list(axis.choices)} for axis in self.axes]
        content = {"name": self.name, "axes": axes, "default": self.default, "rows": rows}
        text = json.dumps(content, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read(path: Path) -> Table:
    """Return the table of a file."""
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    rows = content["rows"]
    return Table(
        content["name"],
        tuple(Axis(**(axis | {"choices": tuple(axis["choices"])})) for axis in content["axes"]),
        tuple(row["config"] for row in rows),
        np.array([row["scores"] for row in rows], np.float64),
        np.array([row["seconds"] for row in rows], np.float64),
        tuple(int(row["parameters"]) for row in rows),
        content["default"],
    )
