"""Paused trials in words: what the ones that came furthest wait for."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from hpsearch.search.progress import Progress, epochs_of
from hpsearch.study.tasks import shown

LISTED = 5


def paused_lines(p: Progress, most: int = LISTED) -> list[str]:
    """Return a line for each of the paused trials that came furthest."""
    lines = [_line(p, trial) for trial in p.paused[:most]]
    more = len(p.paused) - len(lines)
    return [*lines, f"and {more} more that are paused"] if lines and more else lines


def _line(p: Progress, trial: FrozenTrial) -> str:
    epoch, until = epochs_of(trial), p.study.record(trial).until
    score = trial.intermediate_values.get(epoch)
    test = "" if score is None else f", test {shown(p.study.spec.metric, score)}"
    return f"trial {trial.number}: paused after epoch {epoch}{test}, until {until}"


def newly_paused(trials: Sequence[FrozenTrial], seen: dict[int, int]) -> list[FrozenTrial]:
    """Return the paused trials that are not in `seen` after their epoch, and put them there."""
    new = [t for t in trials if seen.get(t.number) != epochs_of(t)]
    seen.update({t.number: epochs_of(t) for t in new})
    return sorted(new, key=lambda t: t.number)
