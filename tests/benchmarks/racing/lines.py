"""What a contestant of the race says of itself, one JSON line for each thing that happened.

Peers run in an environment of their own, so that nothing here or beside it that they use may import
hpsearch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGAN = "RACE_BEGAN"  # the environment's name of the moment at which a contestant was started


@dataclass(frozen=True)
class Lines:
    """Appends lines to a file; `began` is the wall clock's time of the start, of every process.

    A line is one write of a file that is open for appending, so that processes may share it.
    """

    path: Path
    began: float

    @classmethod
    def of(cls, folder: Path) -> Lines:
        """Return the lines of the contestant that this process belongs to."""
        return cls(folder / "lines.jsonl", float(os.environ[BEGAN]))

    def begun(self, trial: int, config: Mapping[str, Any]) -> None:
        self.say("begun", trial=trial, config=dict(config))

    def epoch(self, trial: int, epoch: int, test: float) -> None:
        """Say what an epoch came to, as the accuracy on **test**."""
        self.say("epoch", trial=trial, epoch=epoch, test=test)

    def complete(self, trial: int) -> None:
        """Say that a trial has trained all its epochs."""
        self.say("complete", trial=trial)

    def validation(self, accuracy: float, test: float) -> None:
        """Say what the weights with the best score on test come to on **validation**."""
        self.say("validation", accuracy=accuracy, test=test)

    def say(self, event: str, **more: Any) -> None:
        line = {"event": event, "s": round(time.time() - self.began, 2)} | more
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return what a contestant said, in the order of time."""
    said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(said, key=lambda line: float(line["s"]))


def asked() -> tuple[Path, Path, float, int]:
    """Return what the race's runner calls a peer with: folder, splits, seconds, seed."""
    folder, splits, seconds, seed = sys.argv[1:5]
    return Path(folder), Path(splits), float(seconds), int(seed)
