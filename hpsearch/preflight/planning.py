"""A study's budget of time, planned: from what its configurations are predicted to cost here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpsearch.data.prepared import Prepared
from hpsearch.errors import StudyFileError
from hpsearch.machine.children import cores, gpus, in_child, is_processor
from hpsearch.models.speed import Work, fitted
from hpsearch.search.baseline import trained_at_once
from hpsearch.search.plan import FEWEST, Wish, planned
from hpsearch.search.scheduler import scheduler_for
from hpsearch.storage.plan_record import PlanRecord
from hpsearch.study.searching import Search
from hpsearch.study.spec import CONFIRMED_FROM, Confirm, StudySpec

if TYPE_CHECKING:
    from hpsearch.preflight.timing import Timed

PARTS = (2.0, 4.0, 8.0)  # epochs that a pass may be cut into, so that dear networks can be judged
LEAST_IMAGES = 4000  # in such a part; a score after fewer says little
ENOUGH = 0.75  # of the space, beyond which shorter epochs are not worth their evaluation
EVALUATION = 0.05  # of a pass: forward alone, and one image of test for eight of train
MEASURE = "hpsearch.preflight.timing:measure"  # imported by its processes alone, with torch


@dataclass(frozen=True)
class Costs:
    """What epochs take on a device: of configurations all over a space, and of the default one."""

    spread: list[float]
    baseline_s: float
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
    spread = sorted(speed.seconds(Work(*asked)) for asked in first.space)
    default_s = speed.seconds(Work(*first.default))
    parts = speed.per_flop, speed.per_byte, speed.per_call
    return Costs(spread, default_s, first.device, parts)


def costs_in(plan: PlanRecord) -> Costs:
    """Return what a plan that was made before knows of the costs."""
    return Costs(plan.spread, plan.baseline_s, plan.device, plan.speed)


def workers_of(spec: StudySpec, workers: int | None, device: str) -> int:
    """Return how many trials run at a time, as `launch` starts them when none is said."""
    count = workers or (cores() if is_processor(device) else max(1, gpus()))
    return max(1, min(count, spec.trial_budget()))


def _parts(train: int) -> list[float]:
    """Return into how many epochs a pass over so many images may be cut, one epoch first."""
    return [1.0, *(p for p in PARTS if train / p >= LEAST_IMAGES)]


def _in_parts(wish: Wish, costs: Costs, parts: Sequence[float]) -> PlanRecord:
    """Return the first plan that affords enough of the space, with epochs that are parts of a pass.

    Where none does it is that of the smallest part. StudyFileError where the budget is too small.
    """
    found: PlanRecord | None = None
    for i, part in enumerate(parts):
        # Each of the epochs is evaluated on test, too.
        share = 1.0 if part == 1 else (1 + EVALUATION * (part - 1)) / part
        spread, least = [share * pass_s for pass_s in costs.spread], max(1, round(FEWEST * part))
        last = i == len(parts) - 1
        try:
            found = planned(replace(wish, fewest=least), spread, share * costs.baseline_s)
        except StudyFileError:
            if last:
                raise
            continue
        found = found.model_copy(update={"of_a_pass": 1 / part})
        if found.share >= ENOUGH:
            break
    assert found is not None
    return found


def plan(
    spec: StudySpec,
    costs: Costs,
    workers: int,
    device: str = "auto",
    before: StudySpec | None = None,
    spent_s: float = 0.0,
    final: bool = True,
    train: int = 0,
) -> tuple[StudySpec, PlanRecord]:
    """Return a study with all that its budget left open, and the plan that says so.

    What an earlier launch has decided of the same study, as it stands in the storage, holds
    `before` all else: other epochs would make its scores incomparable. `spent_s` of the budget are
    over by now, and `final` is whether one is to follow. Of so many images of `train` an epoch may
    be a part, where they are known. Raises StudyFileError where the budget is too small for
    anything.
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
        has_baseline=spec.final.baseline and final,
        has_final=final,
    )
    open_part = before is None and epochs is None and search.epoch_images is None and pauses
    images = was.epoch_images if was and search.epoch_images is None else None
    parts = _parts(train) if open_part else [train / images if images and train else 1]
    found = _in_parts(wish, costs, parts)
    changed: dict[str, object] = {}
    if spec.confirm.candidates is None and found.configurations < CONFIRMED_FROM:
        changed["confirm"] = Confirm(candidates=0)
        found = _in_parts(replace(wish, trainings=0), costs, [1 / found.of_a_pass])
    if open_part and found.of_a_pass < 1:
        images = math.ceil(train * found.of_a_pass)
    rung = found.first_rung if pauses and first is None else first
    changed["search"] = _with_plan(search, found, rung, images)
    about = {
        "spread": costs.spread,
        "baseline_s": costs.baseline_s,
        "device": costs.device,
        "speed": costs.speed,
    }
    return spec.model_copy(update=changed), found.model_copy(update=about)


def _with_plan(search: Search, found: PlanRecord, rung: int | None, images: int | None) -> Search:
    """Return how a study searches by its plan; None leaves the first rung, or the images, alone."""
    told: dict[str, object] = {"timeout": found.budget_s, "epochs": found.epochs}
    if rung is not None:
        told["pruner"] = search.pruner.model_copy(update={"warmup_epochs": rung})
    if images is not None:
        told["epoch_images"] = images
    return search.model_copy(update=told)
