"""The front of metric against size: for the report, and as plain data."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from hpsearch.reports.sections import Section, Table
from hpsearch.search.front import fronts, size_of
from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.goals import RECORDED_AS, Quantity
from hpsearch.study.tasks import WORDS, key_of, shown

ROWS = 10  # at most; all are in --json and trials.csv
HEADERS: dict[Quantity, str] = {
    "parameters": "parameters",
    "flops": "MFLOP",
    "latency": "ms",
}


def front_section(study: OpenStudy, chosen: FrozenTrial | None) -> Section | None:
    """Return which trials no other beats in both metric and a size; None where that is one alone.

    Those of the quantity that the study wants to be small stand first.
    """
    found = fronts(study)
    listed = {t.number: t for front in found.values() for t in _spread(front)}
    of_all = {t.number for front in found.values() for t in front}
    if len(of_all) < 2:
        return None
    metric, rows = study.spec.metric, []
    for trial in list(listed.values())[:ROWS]:
        on = [quantity for quantity, front in found.items() if trial in front]
        rows.append(
            (
                str(trial.number),
                shown(metric, trial.value or 0.0),
                *(_size(trial, quantity) for quantity in found),
                ", ".join(on),
                "chosen" if chosen is not None and trial.number == chosen.number else "",
            )
        )
    names = (HEADERS[quantity] for quantity in found)
    header = ("trial", f"test {WORDS[metric]}", *names, "no other beats it in", "")
    title = f"Test {WORDS[metric]} against size: the best trials of their size"
    return Section(title, _lines(study, found, len(rows), len(of_all)), Table(header, rows))


def front_json(study: OpenStudy) -> dict[str, list[dict[str, Any]]]:
    """Return the same as plain data, whole: of each quantity its trials, the best metric first."""
    key = f"test_{key_of(study.spec.metric)}"
    return {
        quantity: [
            {"trial": t.number, key: t.value, RECORDED_AS[quantity]: size_of(t, quantity)}
            for t in front
        ]
        for quantity, front in fronts(study).items()
    }


def on_fronts(study: OpenStudy) -> dict[int, str]:
    """Return on the fronts of which quantities trials are, by their numbers, in words."""
    found: dict[int, list[str]] = {}
    for quantity, front in fronts(study).items():
        for trial in front:
            found.setdefault(trial.number, []).append(quantity)
    return {number: ", ".join(quantities) for number, quantities in found.items()}


def _lines(
    study: OpenStudy, found: dict[Quantity, list[FrozenTrial]], shown_rows: int, count: int
) -> list[str]:
    lines = [
        "Each is one training, scored on test, which selected it. Another than the choice: "
        f"'hpsearch export {study.spec.name} --trial N -o FILE', then 'hpsearch train FILE'."
    ]
    machines = {study.record(t).latency_on for t in found.get("latency", [])}
    if machines:
        on = " and ".join(sorted(machine or "an unknown machine" for machine in machines))
        several = "; these do not compare" if len(machines) > 1 else ""
        lines.append(f"ms: of one image, measured before training on {on}{several}")
    if shown_rows < count:
        lines.append(f"{shown_rows} of {count} are shown; all are in trials.csv and --json")
    return lines


def _spread(front: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return a front, or so many of it as there is room for, both of its ends among them."""
    if len(front) <= ROWS:
        return front
    return [front[round(i * (len(front) - 1) / (ROWS - 1))] for i in range(ROWS)]


def _size(trial: FrozenTrial, quantity: Quantity) -> str:
    size = size_of(trial, quantity)
    if size is None:
        return ""
    if quantity == "parameters":
        return f"{size:,}"
    return f"{size / 1e6:,.2f}" if quantity == "flops" else f"{size:.3g}"
