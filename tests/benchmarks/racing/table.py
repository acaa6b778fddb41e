"""The race's table, from the lines of its contestants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from racing.lines import read_lines

MINUTES = (1, 2, 2.5, 4, 8, 12, 16, 20)


@dataclass(frozen=True)
class Ran:
    """What one contestant came to within its minutes."""

    name: str
    minutes: float
    best: tuple[tuple[float, float], ...]  # (seconds, best test score so far), where it rose
    begun: int
    complete: int
    validation: float | None
    ended_s: float | None

    def at(self, seconds: float) -> float | None:
        """Return the best test score by then; None where there was none, or it did not run on."""
        reached = [test for s, test in self.best if s <= seconds]
        return reached[-1] if reached and seconds <= 60 * self.minutes else None

    def time_to(self, test: float) -> float | None:
        """Return the seconds to a test score, None where it was not reached."""
        return next((s for s, found in self.best if found >= test), None)

    @property
    def final(self) -> float | None:
        """The best test score of all."""
        return self.best[-1][1] if self.best else None


def read(path: Path) -> Ran:
    """Return what a contestant came to; what it said after its minutes does not count."""
    lines = read_lines(path)
    (start,) = (line for line in lines if line["event"] == "start")
    within = [line for line in lines if line["s"] <= 60 * start["minutes"]]
    best: list[tuple[float, float]] = []
    for line in _of(within, "epoch"):
        if line["test"] is not None and line["test"] > (best[-1][1] if best else 0.0):
            best.append((line["s"], line["test"]))
    judged = max(_of(lines, "validation"), key=lambda line: float(line["test"]), default=None)
    ended = _of(lines, "ended")
    return Ran(
        name=path.parent.name,
        minutes=start["minutes"],
        best=tuple(best),
        begun=len({line["trial"] for line in _of(within, "begun")}),
        complete=len({line["trial"] for line in _of(within, "complete")}),
        validation=None if judged is None else judged["accuracy"],
        ended_s=ended[-1]["s"] if ended else None,
    )


def _of(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


def tables(folder: Path) -> str:
    """Return the race as Markdown: scores over time, and the time to each one's last score."""
    ran = [read(path) for path in sorted(folder.glob("*/lines.jsonl"))]
    over_time = _markdown(
        ["contestant", *(f"{m:g} min" for m in MINUTES), "validation", "trials begun", "complete"],
        [
            [
                r.name,
                *(_score(r.at(60 * m)) for m in MINUTES),
                _score(r.validation),
                str(r.begun),
                str(r.complete),
            ]
            for r in ran
        ],
    )
    times = _markdown(
        ["its best test score", "", *(r.name for r in ran)],
        [
            [peer.name, _score(peer.final), *(_time(r.time_to(peer.final)) for r in ran)]
            for peer in ran
            if peer.final is not None
        ],
    )
    return f"Best test score so far\n\n{over_time}\n\nTime to each one's best score\n\n{times}"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _score(found: float | None) -> str:
    return "-" if found is None else f"{found:.4f}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
