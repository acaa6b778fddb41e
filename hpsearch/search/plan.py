"""What a budget of time comes to: how many epochs, which rungs, what is kept for what follows.

The budget holds a start, a search, the training of finalists, and the final. A search is worth its
time where it compares tens of configurations and brings some of them to their end, so:

- each of `AIM` configurations gets a fair share of the search for its first rung; those whose
  first rung takes more are not trained, unless that left less than `LEAST` of the space;
- a whole training of a typical configuration takes at most `TYPICAL_SHARE` of the search, and has
  as many epochs as that allows: from `FEWEST` on, below which a learning rate has no time to fall,
  to `RUNGS_MOST` above the first rung, and `MOST` in all;
- the first rung takes at least `FIRST_RUNG_S`, beside which the overhead of a trial is small, but
  no more than lets half of the space have its share.

Where a file says how many epochs, the rest follows from that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from hpsearch.errors import StudyFileError
from hpsearch.search.promotion import rungs_between
from hpsearch.search.reserve import (
    FINAL_MARGIN,
    FINAL_START_S,
    PLANNED_CONFIRM_SHARE,
    confirm_time_s,
    final_time_s,
)
from hpsearch.storage.plan_record import PlanRecord

AIM = 40
LEAST = 0.25
TYPICAL_SHARE = 1 / 6
FEWEST, MOST = 3, 81
ETA = 3
RUNGS_MOST = 27  # three rungs and the end
FIRST_RUNG_S = 1.5
START_S = 4.0  # of the workers
OVERHEAD_S = 0.15  # of a trial: claim, sampling, reports, checkpoint


@dataclass(frozen=True)
class Wish:
    """What a study says of its budget. What it leaves to the plan is None.

    `spent_s` of it are over before the first worker starts: it was planned meanwhile.
    `trainings` are those of finalists, at most. `halves` is whether weak trials pause at rungs;
    else about half of all epochs are trained. `has_final` is whether one follows the search,
    `has_baseline` whether the default configuration is trained for it, and `at_once` whether that
    is beside the choice. `fewest` are the epochs of a training that is worth its while.
    """

    budget_s: float
    spent_s: float = 0.0
    workers: int = 1
    trials: int = 100_000
    epochs: int | None = None
    first_rung: int | None = None
    trainings: int = 0
    halves: bool = True
    at_once: bool = False
    has_baseline: bool = True
    has_final: bool = True
    fewest: int = FEWEST


def planned(wish: Wish, epochs_s: Sequence[float], baseline_s: float) -> PlanRecord:
    """Return the plan of a budget, by the seconds of an epoch all over the space.

    Raises StudyFileError, with what would be enough, where no training could be brought to its end.
    """
    spread = sorted(epochs_s)
    for epochs in range(MOST, 0, -1) if wish.epochs is None else (wish.epochs,):
        found = _with(wish, spread, baseline_s, epochs)
        if found is None:
            continue
        takes_s = found.epochs * found.typical_s
        short = takes_s <= TYPICAL_SHARE * found.search_s and epochs <= _most(found.first_rung)
        if short or epochs <= wish.fewest or wish.epochs is not None:
            return found
    fewest = wish.epochs or 1
    needed_s = _enough_s(wish, spread[0] * fewest, baseline_s * fewest)
    epochs_words = "an epoch" if fewest == 1 else f"{fewest} epochs"
    raise StudyFileError(
        f"search: {wish.budget_s / 60:.3g} minutes are too little: {epochs_words} of the cheapest "
        f"configuration would take about {spread[0] * fewest:.1f} s here, and start and final need "
        f"their time, too; {math.ceil(needed_s / 6) / 10:g} minutes would be enough for that"
    )


def _most(first_rung: int) -> int:
    return min(MOST, RUNGS_MOST * first_rung)


def _first_rung(typical_s: float, most: float, epochs: int) -> int:
    """Return how many epochs take long enough, but at most so many and a third of all."""
    wanted = math.ceil(FIRST_RUNG_S / max(typical_s, 1e-9))
    return max(1, min(wanted, int(most), epochs // ETA))


def _with(wish: Wish, spread: list[float], baseline_s: float, epochs: int) -> PlanRecord | None:
    """Return a plan with so many epochs and as much of the space as possible, None without one."""
    beside_s = epochs * baseline_s if wish.has_baseline else None
    longest_s = _longest_s(wish, beside_s) / epochs
    for count in range(len(spread), 0, -1):
        trained, dearest_s = spread[:count], spread[count - 1]
        typical_s = median(trained)
        final_s = final_time_s(epochs * typical_s, beside_s, wish.at_once)
        final_s = final_s if wish.has_final else 0.0
        room_s = wish.budget_s - wish.spent_s - START_S - final_s
        confirm_s = confirm_time_s(
            epochs * typical_s, wish.trainings, wish.workers, max(0.0, room_s), planned=True
        )
        search_s = room_s - confirm_s
        if search_s <= 0:
            continue
        fair_s = wish.workers * search_s / min(AIM, wish.trials)  # for a first rung
        first = wish.first_rung or _first_rung(typical_s, fair_s / median(spread), epochs)
        if dearest_s > longest_s or epochs * typical_s > search_s:
            continue
        if first * dearest_s > fair_s and count > LEAST * len(spread):
            continue
        rungs = list(rungs_between(first, epochs, ETA))
        one_s = mean(trained) * _epochs_of_one(wish, rungs) + OVERHEAD_S
        return PlanRecord(
            budget_s=wish.budget_s,
            workers=wish.workers,
            epochs=epochs,
            first_rung=first,
            rungs=rungs,
            typical_s=typical_s,
            longest_s=min(longest_s, max(fair_s / first, dearest_s)),
            share=count / len(spread),
            search_s=search_s,
            confirm_s=confirm_s,
            final_s=final_s,
            configurations=max(1, min(wish.trials, int(wish.workers * search_s / one_s))),
            spread=spread,
            baseline_s=baseline_s,
        )
    return None


def _longest_s(wish: Wish, beside_s: float | None) -> float:
    """Return the longest training after which its final would still fit into the budget."""
    left_s = wish.budget_s - wish.spent_s - START_S - FINAL_START_S
    if not wish.has_final:
        return left_s + FINAL_START_S
    if beside_s is not None and not wish.at_once:
        # A short one is measured beside twice its own time at most: see `final_time_s`.
        alone_s = left_s / (1 + 3 * FINAL_MARGIN)
        return max(alone_s, (left_s - FINAL_MARGIN * beside_s) / (1 + FINAL_MARGIN))
    return left_s / (1 + FINAL_MARGIN)


def _epochs_of_one(wish: Wish, rungs: list[int]) -> float:
    """Return how many epochs a trial trains on average."""
    if not wish.halves:
        return rungs[-1] / 2
    trained, before = 0.0, 0
    for i, rung in enumerate(rungs):
        trained += (rung - before) / ETA**i
        before = rung
    return trained


def _enough_s(wish: Wish, training_s: float, baseline_s: float) -> float:
    """Return a budget in which a training and its final fit."""
    beside_s = baseline_s if wish.has_baseline else None
    final_s = final_time_s(training_s, beside_s, wish.at_once) if wish.has_final else 0.0
    searched_s = training_s / (1 - PLANNED_CONFIRM_SHARE)
    return 1.1 * (wish.spent_s + START_S + final_s + searched_s)


def words(plan: PlanRecord, kept_epochs: bool = False) -> str:
    """Return a plan in two lines for people."""
    rungs = ", ".join(map(str, plan.rungs))
    kept = "as before, " if kept_epochs else ""
    kept_s = {"to confirm": plan.confirm_s, "for the final": plan.final_s}
    after = " and ".join(f"{_time(s)} {what}" for what, s in kept_s.items() if s >= 1)
    lines = (
        f"Plan for {_time(plan.budget_s)} with {plan.workers} worker(s): {kept}trials of "
        f"{plan.epochs} epochs, compared after {rungs}; about {plan.configurations} "
        f"configurations in {_time(plan.search_s)}{', then ' if after else ''}{after}.\n"
        f"An epoch{_part(plan)} takes about {_short(plan.typical_s)}"
    )
    if plan.share < 1:
        lines += (
            f"; configurations of which one takes more than {_short(plan.longest_s)}, about "
            f"{100 * (1 - plan.share):.0f} % of the space, are too dear for this budget"
        )
    return f"{lines}."


def _part(plan: PlanRecord) -> str:
    whole = plan.of_a_pass == 1
    return "" if whole else f", {plan.of_a_pass:.2g} of a pass over the training images,"


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
