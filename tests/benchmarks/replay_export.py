"""A recorded study as one small file: configurations, test metrics and seconds, parameters.

    python tests/benchmarks/replay_export.py STUDY --storage URL --out FILE.json.gz

Every trial has to be complete, diverged or infeasible: a study that prunes is no recording. Its
first trials, which are defaults and not drawn at random, become no rows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from hpsearch.search.kinds import kind_of
from hpsearch.search.samplers import given_params
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.storage import open_storage
from hpsearch.study.axes import Choice, FloatRange, IntRange, Value

sys.path.insert(0, str(Path(__file__).parent.parent))
from replays.table import Axis, Config, Table

LOST = 0.0  # what a diverged or impossible network scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("study")
    parser.add_argument("--storage", default="sqlite:///runs/hpsearch.db")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    storage = open_storage(given.storage, create=False)
    table = recorded(read_stored_study(storage, given.study))
    storage.close()
    table.write(given.out)
    print(
        f"{given.out}: {table.rows} configurations of {table.epochs} epochs, best "
        f"{table.best:.4f}, {given.out.stat().st_size / 1000:.0f} KB"
    )


def recorded(study: OpenStudy) -> Table:
    """Return the table of a study's ended trials; those given, not drawn, are left out."""
    spec = study.spec
    ended = [trial for trial in study.trials if trial.state.is_finished()]
    pruned = [trial.number for trial in ended if kind_of(trial) in ("pruned", "timed out")]
    if pruned:
        raise SystemExit(f"trial {pruned[0]} was stopped early; record with pruner: none")
    slots = {trial.number: study.record(trial).slot for trial in ended}
    failed = [trial for trial in ended if kind_of(trial) == "failed"]
    drawn = [t for t in ended if t not in failed and not given_params(spec, slots[t.number])]
    axes = tuple(_axis(name, axis) for name, axis in spec.space.searched().items())
    curves = [_curve(trial, spec.search.epochs) for trial in drawn]
    return Table(
        spec.name,
        axes,
        tuple(_config(trial.params) for trial in drawn),
        np.array([scores for scores, _ in curves]),
        np.array([seconds for _, seconds in curves]),
        tuple(int(trial.user_attrs.get("parameters") or 0) for trial in drawn),
        _config(spec.space.default_params(spec.space.families()[0])),
    )


def _axis(name: str, axis: object) -> Axis:
    if isinstance(axis, Choice):
        return Axis(name, tuple(map(_plain, axis.options)))
    if not isinstance(axis, IntRange | FloatRange):
        raise SystemExit(f"space.{name}: replays know lists and ranges, the same for all families")
    whole = isinstance(axis, IntRange)
    return Axis(name, (), axis.low, axis.high, axis.step, axis.log, whole)


def _config(params: dict[str, Value]) -> Config:
    return {name: _plain(value) for name, value in params.items()}


def _plain(value: Value) -> str | int | float:
    return str(value).lower() if isinstance(value, bool) else value


def _curve(trial: FrozenTrial, epochs: int) -> tuple[list[float], list[float]]:
    """Return the scores and seconds of all epochs; those that a lost trial lacks score `LOST`."""
    found: list[dict[str, Any]] = trial.user_attrs.get("curve", [])
    scores = [float(epoch["test_metric"] or LOST) for epoch in found]
    seconds = [float(epoch["duration_s"]) for epoch in found]
    lacking = epochs - len(found)
    last = seconds[-1] if seconds else 0.0
    return scores + [LOST] * lacking, seconds + [last] * lacking


if __name__ == "__main__":
    main()
