"""A study's budget of time, planned: from what its configurations are predicted to cost here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpsearch.data.prepared import Prepared
from hpsearch.machine.children import cores, gpus, in_child, is_processor
from hpsearch.models.speed import Work, fitted
from hpsearch.search.baseline import trained_at_once
from hpsearch.search.epoch_length import PassCosts, with_fair_epochs
from hpsearch.search.plan import Wish, planned
from hpsearch.search.scheduler import scheduler_for
from hpsearch.storage.plan_record import PlanRecord
from hpsearch.study.searching import Search
from hpsearch.study.spec import CONFIRMED_FROM, Confirm, StudySpec

if TYPE_CHECKING:
    from hpsearch.preflight.timing import Timed

MEASURE = "hpsearch.preflight.timing:measure"  # imported by its processes alone, with torch


@dataclass(frozen=True)
class Costs(PassCosts):
    """What epochs take on a device: of configurations all over a space, and of the default one."""

    device: str
    speed: tuple[float, float, float]


def costs_of(
    spec: StudySpec,
    prepared: Prepared,
    workers: int,
    device: str = "auto",
    interrupted: Callable[[], bool] = lambda: False,
) -> Costs:
    """Return what epochs of a study are predicted to take, timed by so many workers at once.

    Takes about five seconds: a few configurations are trained for a few steps each, as many at the
    same time as trials will be, since they share the machine's memory when it counts.
    """
    with ThreadPoolExecutor(workers) as pool:
        asked = (MEASURE, spec.model_dump_json(), prepared.folder, device)
        running = [
            pool.submit(in_child, *asked, number, workers, threads=1, interrupted=interrupted)
            for number in range(workers)
        ]
        return predicted([one.result() for one in running])


def predicted(found: list[Timed]) -> Costs:
    """Return what epochs take by what some processes of one machine have timed."""
    timed = [one for part in found for one in part.timed]
    speed = fitted([Work(*asked) for asked, _ in timed], [took_s for _, took_s in timed])
    first = found[0]
    tests = first.tests or [(0.0, 0.0, 0.0)] * len(first.space)
    both_s = sorted(
        (speed.seconds(Work(*asked)), speed.seconds(Work(*test)))
        for asked, test in zip(first.space, tests, strict=True)
    )
    return Costs(
        [whole_s for whole_s, _ in both_s],
        speed.seconds(Work(*first.default)),
        first.device,
        (speed.per_flop, speed.per_byte, speed.per_call),
        tests_s=[test_s for _, test_s in both_s] if first.tests else [],
        baseline_test_s=speed.seconds(Work(*first.default_test)),
        images=first.images,
    )


def costs_in(plan: PlanRecord) -> Costs:
    """Return what a plan that was made before knows of the costs."""
    return Costs(plan.spread, plan.baseline_s, plan.device, plan.speed, images=plan.images)


def workers_of(spec: StudySpec, workers: int | None, device: str) -> int:
    """Return how many trials run at a time, as `launch` starts them when none is said."""
    count = workers or (cores() if is_processor(device) else max(1, gpus()))
    return max(1, min(count, spec.trial_budget()))


def plan(
    spec: StudySpec,
    costs: Costs,
    workers: int,
    device: str = "auto",
    before: StudySpec | None = None,
    spent_s: float = 0.0,
) -> tuple[StudySpec, PlanRecord]:
    """Return a study with all that its budget left open, and the plan that says so.

    What an earlier launch has decided of the same study, as it stands in the storage, holds
    `before` all else: other epochs would make its scores incomparable. `spent_s` of the budget are
    over by now. Raises StudyFileError where it is too small for anything.
    """
    budget_s = spec.search.planned_s(workers)
    assert budget_s is not None
    search, was = spec.search, None if before is None else before.search
    epochs = (was.epochs if was else None) if search.plans_epochs else search.epochs
    pauses = scheduler_for(search).pauses
    first = was.pruner.warmup_epochs if was else None
    if "warmup_epochs" in search.pruner.model_fields_set:
        first = search.pruner.warmup_epochs
    wish = Wish(
        budget_s=budget_s,
        spent_s=spent_s,
        workers=workers,
        trials=spec.trial_budget(),
        epochs=epochs,
        first_rung=None if first is None or not pauses else max(1, first),
        trainings=spec.candidates() * spec.confirm.seeds,
        halves=pauses,
        at_once=trained_at_once("cpu" if is_processor(device) else "cuda"),
        has_baseline=spec.final.baseline,
    )
    costs = _of_its_epochs(search, was, wish, costs)
    found = planned(wish, costs.spread, costs.baseline_s)
    changed: dict[str, object] = {}
    if spec.confirm.candidates is None and found.configurations < CONFIRMED_FROM:
        changed["confirm"] = Confirm(candidates=0)
        found = planned(replace(wish, trainings=0), costs.spread, costs.baseline_s)
    pruner = search.pruner
    if pauses and first is None:
        pruner = pruner.model_copy(update={"warmup_epochs": found.first_rung})
    elif first is not None:
        pruner = pruner.model_copy(update={"warmup_epochs": first})
    told = {"timeout": budget_s, "epochs": found.epochs, "pruner": pruner}
    if costs.epoch_images is not None:
        told["epoch_images"] = costs.epoch_images
    changed["search"] = search.model_copy(update=told)
    about = {
        "spread": costs.spread,
        "baseline_s": costs.baseline_s,
        "epoch_images": costs.epoch_images,
        "images": costs.images,
        "device": costs.device,
        "speed": costs.speed,
    }
    return spec.model_copy(update=changed), found.model_copy(update=about)


def _of_its_epochs(search: Search, was: Search | None, wish: Wish, costs: Costs) -> Costs:
    """Return the costs of epochs as long as a study says, has had before, or can afford.

    The costs of what its file says were timed so; those that a plan has kept are of its epochs.
    """
    if search.epoch_images is not None or not search.plans_epochs:
        return costs
    if was is None:
        return with_fair_epochs(wish, costs)
    return costs if was.epoch_images is None else costs.shortened(was.epoch_images)
