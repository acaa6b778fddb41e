"""The decisions after each epoch: those of Optuna's pruners as ever, and what pausing needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from fixtures_storage import on_sqlite
from made_policies import BestGoOn
from made_studies import begin_trial, enter, launch, rewind, row_of, run_trial, spec_of, stored
from optuna.pruners import BasePruner
from optuna.trial import Trial, TrialState

from hpsearch.search import outcomes as endings
from hpsearch.search.baseline import trained_at_once
from hpsearch.search.decisions import (
    Begin,
    Budget,
    Curve,
    Finish,
    Resume,
    Scheduler,
    Standing,
    Stop,
    Wait,
)
from hpsearch.search.kinds import kind_of
from hpsearch.search.progress import progress_of
from hpsearch.search.reserve import final_time_s
from hpsearch.search.samplers import sampler_for
from hpsearch.search.scheduler import scheduler_for
from hpsearch.search.scheduling import Scheduling, curve_of, seen_by_samplers
from hpsearch.storage import schema as tables
from hpsearch.storage.leases import Lease
from hpsearch.storage.optuna_private import seen_as
from hpsearch.storage.storage import Storage

EPOCHS, TRIALS, AT_ONCE = 9, 40, 3
BEFORE: dict[str, Callable[[], BasePruner]] = {  # what the study's pruner was, by name
    "median": lambda: optuna.pruners.MedianPruner(4, 2, 1, n_min_trials=3),
    "percentile": lambda: optuna.pruners.PercentilePruner(25.0, 4, 2, 1, n_min_trials=3),
    "successive-halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=2, reduction_factor=3
    ),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(
        min_resource=2, max_resource=EPOCHS, reduction_factor=3
    ),
    "none": optuna.pruners.NopPruner,
}


def replayed(study: optuna.Study, stops: Callable[[Trial], bool], seed: int) -> list[int]:
    """Return after how many epochs each trial ended, three of them at a time being at work."""
    rng = np.random.default_rng(seed)
    curves = rng.normal(0, 1, (TRIALS, 1)) - 3 / np.arange(1, EPOCHS + 1)
    curves += rng.normal(0, 0.3, curves.shape)
    ended, at_work, begun = [0] * TRIALS, list[tuple[Trial, int]](), 0
    while begun < TRIALS or at_work:
        if begun < TRIALS and len(at_work) < AT_ONCE:
            at_work.append((study.ask(), 1))
            begun += 1
        trial, epoch = at_work.pop(int(rng.integers(len(at_work))))
        value = float(curves[trial.number, epoch - 1])
        trial.report(value, epoch)
        if epoch == EPOCHS:
            study.tell(trial, value)
        elif stops(trial):
            study.tell(trial, state=TrialState.PRUNED)
        else:
            at_work.append((trial, epoch + 1))
            continue
        ended[trial.number] = epoch
    return ended


@on_sqlite
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", BEFORE)
def test_pruners_decide_as_if_they_were_asked_themselves(
    storage: Storage, name: str, direction: Literal["maximize", "minimize"]
) -> None:
    knobs = {"name": name, "startup_trials": 4, "percentile": 25}
    spec = spec_of(pruner=knobs, epochs=EPOCHS)
    scheduling = Scheduling(storage, spec, scheduler_for(spec.search))

    def study_with(pruner: BasePruner) -> optuna.Study:
        return optuna.create_study(study_name="made", direction=direction, pruner=pruner)

    def decided(trial: Trial) -> bool:
        return isinstance(scheduling.after_epoch(trial), Stop)

    for seed in range(3):
        asked = replayed(study_with(BEFORE[name]()), Trial.should_prune, seed)
        found = replayed(study_with(scheduling.scheduler.pruner), decided, seed)
        assert found == asked
        assert (min(found) < EPOCHS) is (name != "none") and max(found) == EPOCHS


# Pausing


@pytest.fixture
def paused_at_two(storage: Storage) -> Scheduling:
    """A study of four trials whose scheduler is `BestGoOn`."""
    return Scheduling(storage, enter(storage, trials=4), BestGoOn())


def claim(scheduling: Scheduling, worker: str = "worker") -> Lease | None:
    edition = next(s.edition for s in scheduling.storage.ledger.waiting())
    return scheduling.claim(worker, edition)


def to_the_rung(scheduling: Scheduling, score: float) -> Lease:
    """Claim a trial, report two epochs and pause it as a worker does."""
    lease = claim(scheduling)
    assert lease is not None
    trial = begin_trial(scheduling.storage, scheduling.spec, lease)
    trial.report(score / 2, 1)
    trial.report(score, 2)
    endings.pause(scheduling.storage, trial, lease, 2, "it is among the best")
    return lease


def test_paused_trials_are_resumed_by_the_scheduler_alone_and_the_rest_end(
    storage: Storage, paused_at_two: Scheduling
) -> None:
    spec = paused_at_two.spec
    for score in (0.3, 0.9, 0.5, 0.7):
        to_the_rung(paused_at_two, score)
    assert row_of(storage).claimed == 4
    assert storage.leases.claim("made", "worker") is None, "a paused trial is not taken over"
    p = progress_of(storage, "made")
    assert (len(p.paused), p.interrupted, len(p.running), p.finished) == (4, 0, 0, 0)
    assert [kind_of(t) for t in stored(storage, spec).trials] == ["paused"] * 4
    (waiting,) = storage.ledger.waiting()
    assert waiting.has_work and not waiting.search_is_over

    first = claim(paused_at_two)
    assert first is not None and (first.slot, first.paused, first.attempts) == (1, 2, 1)
    assert claim(paused_at_two, "another") is None, "the scheduler waits for its third epoch"
    trial = begin_trial(storage, spec, first)
    endings.resume(storage, trial, first)
    assert kind_of(stored(storage, spec).trials[1]) == "running"
    trial.report(0.95, 3)
    second = claim(paused_at_two, "another")
    assert second is not None and second.slot == 3
    endings.complete(storage, trial, first, 0.95)
    later = begin_trial(storage, spec, second)
    endings.resume(storage, later, second)
    assert claim(paused_at_two) is None, "while a trial is at work, none is given up"
    endings.complete(storage, later, second, 0.8)

    assert claim(paused_at_two) is None
    p = progress_of(storage, "made")
    assert (len(p.paused), p.complete, p.pruned, p.finished) == (0, 2, 2, 4)
    (waiting,) = storage.ledger.waiting()
    assert waiting.search_is_over
    ended = stored(storage, spec).trials[0]
    assert ended.state == TrialState.PRUNED and ended.datetime_complete is not None
    assert ended.user_attrs["reason"] == (
        "paused after epoch 2 until it is among the best, and never resumed"
    )


def test_of_two_workers_one_resumes_a_trial_and_the_other_decides_again(
    storage: Storage, paused_at_two: Scheduling
) -> None:
    slots = [to_the_rung(paused_at_two, score).slot for score in (0.3, 0.9, 0.5, 0.7)]
    assert storage.pauses.resume("made", slots[1], "quick") is not None
    assert storage.pauses.resume("made", slots[1], "slow") is None
    assert storage.pauses.claim_left("made", "slow") is None, "one is at work"


def test_a_worker_that_dies_before_a_trial_goes_on_has_not_resumed_it(
    storage: Storage, paused_at_two: Scheduling
) -> None:
    for score in (0.3, 0.9, 0.5, 0.7):
        to_the_rung(paused_at_two, score)
    lost = claim(paused_at_two)
    assert lost is not None
    storage.leases.expire_worker("worker")
    assert storage.leases.claim("made", "another", begins=False) is None
    again = claim(paused_at_two, "another")
    assert again is not None and (again.slot, again.paused, again.attempts) == (1, 2, 2)
    endings.resume(storage, begin_trial(storage, paused_at_two.spec, again), again)
    storage.leases.expire_worker("another")
    taken = claim(paused_at_two, "third")
    assert taken is not None and (taken.slot, taken.paused) == (1, None), "it was at work by then"


def test_a_worker_that_dies_on_the_end_of_a_paused_trial_leaves_it_to_the_next(
    storage: Storage, paused_at_two: Scheduling
) -> None:
    for score in (0.3, 0.9):
        to_the_rung(paused_at_two, score)
    assert storage.pauses.claim_left("made", "early") is None, "of the budget there is more"
    storage.ledger.close_budget("made")
    assert storage.pauses.claim_left("made", "dies") is not None
    assert storage.pauses.claim_left("made", "other") is None
    storage.leases.expire_worker("dies")
    left = storage.pauses.claim_left("made", "other")
    assert left is not None and left.slot == 0


def test_a_trial_that_pauses_while_the_scheduler_decides_is_not_given_up(
    storage: Storage, paused_at_two: Scheduling
) -> None:
    for score in (0.3, 0.9, 0.5):
        to_the_rung(paused_at_two, score)
    claimed = claim(paused_at_two, "other")
    assert claimed is not None
    last: Lease = claimed
    at_work = begin_trial(storage, paused_at_two.spec, last)

    class Slow(BestGoOn):
        def next(self, standing: Standing) -> Begin | Resume | Wait:
            decision = super().next(standing)
            if standing.is_at_work:
                for epoch, score in ((1, 0.4), (2, 0.8)):
                    at_work.report(score, epoch)
                endings.pause(storage, at_work, last, 2, "it is among the best")
            return decision

    slow = Scheduling(storage, paused_at_two.spec, Slow())
    assert claim(slow) is None
    assert len(progress_of(storage, "made").paused) == 4
    resumed = claim(slow)
    assert resumed is not None and resumed.slot == 1


@on_sqlite
def test_a_scheduler_that_waits_for_nobody_does_not_hold_the_budget_up(storage: Storage) -> None:
    class Idle(BestGoOn):
        def next(self, standing: Standing) -> Wait:
            return Wait()

    scheduling = Scheduling(storage, enter(storage, trials=3), Idle())
    first = claim(scheduling)
    assert first is not None and first.slot == 0
    assert claim(scheduling) is None, "it waits for the first"
    trial = begin_trial(storage, scheduling.spec, first)
    endings.complete(storage, trial, first, 0.5)
    second = claim(scheduling)
    assert second is not None and second.slot == 1


@on_sqlite
def test_paused_trials_of_a_study_whose_time_is_up_stay_paused(storage: Storage) -> None:
    scheduling = Scheduling(storage, enter(storage, trials=1, timeout=60), BestGoOn())
    to_the_rung(scheduling, 0.5)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "spent_s", -100)
    (waiting,) = storage.ledger.waiting()
    assert waiting.time_is_up and waiting.search_is_over and waiting.paused == 1


# Time


def test_the_time_of_a_search_is_without_what_is_kept_for_what_follows(storage: Storage) -> None:
    spec = enter(storage, timeout=600, epochs=10, pruner="promote")
    scheduling = Scheduling(storage, spec, scheduler_for(spec.search))
    launch(storage, 40, 600)

    def left_s() -> float:
        found = scheduling.standing().time_left_s
        assert found is not None
        return found

    assert left_s() == pytest.approx(600)
    lease = claim(scheduling)
    assert lease is not None
    trial = begin_trial(storage, spec, lease)
    trial.set_user_attr("curve", [{}])
    trial.set_user_attr("duration_s", 2.0)
    trial.report(0.5, 1)
    (curve,) = scheduling.standing().curves
    assert curve.epoch_s == 2.0 and not curve.resumed
    assert left_s() == pytest.approx(600 - final_time_s(20, 20, trained_at_once("cpu")), abs=0.5)
    storage.ledger.set_final_s("made", 50, 30)
    assert left_s() == pytest.approx(520, abs=0.5)


def test_a_scheduler_that_finishes_leaves_the_rest_of_the_time_to_what_follows(
    storage: Storage,
) -> None:
    class Over(Scheduler):
        pauses = True

        def next(self, standing: Standing) -> Begin | Finish:
            return Finish() if standing.curves else Begin()

    scheduling = Scheduling(storage, enter(storage, trials=9, timeout=600), Over())
    to_the_rung(scheduling, 0.3)
    another = storage.leases.claim("made", "other")
    assert another is not None
    assert claim(scheduling) is None
    assert len(progress_of(storage, "made").paused) == 1, "one is at work"
    trial = begin_trial(storage, scheduling.spec, another)
    endings.complete(storage, trial, another, 0.5)
    assert claim(scheduling) is None
    p = progress_of(storage, "made")
    assert (len(p.paused), p.pruned, p.complete, p.finished) == (0, 1, 1, 2)
    (waiting,) = storage.ledger.waiting()
    assert waiting.time_is_up and waiting.search_is_over and not waiting.has_work
    assert row_of(storage).confirm_s == pytest.approx(600, abs=5)


# What is seen


def test_a_policy_decides_from_curves_alone() -> None:
    curves = tuple(Curve(n, "paused", (0.0, score)) for n, score in enumerate((0.3, 0.9, 0.5)))
    assert BestGoOn().next(Standing(curves, Budget(3, 0, 5))) == Resume(1)
    assert BestGoOn().next(Standing(curves[:2], Budget(3, 0, 5), starting=1)) == Wait()


@on_sqlite
@pytest.mark.parametrize(("metric", "scores"), [
    ("accuracy", (0.25, 0.5)),
    ("macro-f1", (0.25, 0.5)),
    ("mae", (-0.25, -0.5)),
])  # fmt: skip
def test_the_highest_score_is_the_best_whatever_the_metric(
    storage: Storage, metric: Any, scores: tuple[float, ...]
) -> None:
    trial = run_trial(storage, enter(storage), (0.25, 0.5))
    assert curve_of(trial, metric, "complete").scores == scores
    trial.intermediate_values[2] = float("nan")
    assert curve_of(trial, metric, "complete").scores == (scores[0], float("-inf"))


@on_sqlite
def test_samplers_see_paused_trials_as_pruned_ones(storage: Storage) -> None:
    scheduling = Scheduling(storage, enter(storage, trials=3), BestGoOn())
    to_the_rung(scheduling, 0.5)
    at_work = claim(scheduling)
    assert at_work is not None
    begin_trial(storage, scheduling.spec, at_work)
    study = seen_as(storage.known("made"), seen_by_samplers)
    assert [t.state for t in study.get_trials()] == [TrialState.PRUNED, TrialState.RUNNING]
    again = seen_as(study, lambda trials: [t for t in trials if t.number == 0])
    assert [t.state for t in again.get_trials()] == [TrialState.PRUNED], "a view of a view"
    assert [t.state for t in storage.known("made").get_trials()] == [TrialState.RUNNING] * 2


@on_sqlite
def test_tpe_learns_from_paused_trials_where_they_came_furthest(storage: Storage) -> None:
    spec = enter(storage, trials=100, sampler={"name": "tpe", "startup_trials": 10})
    scheduling = Scheduling(storage, spec, scheduler_for(spec.search))
    for _ in range(30):
        lease = storage.leases.claim("made", "worker")
        assert lease is not None
        trial = begin_trial(storage, spec, lease)
        good = trial.params["learning_rate"] > 3e-3
        trial.report(0.9, 1)  # there, those that come no further are no worse
        if good:
            trial.report(0.6, 3)
        endings.pause(storage, trial, lease, 3 if good else 1, "it is among the best")
    seen = seen_as(storage.known("made"), scheduling.seen_by_samplers)
    again = seen.get_trials(deepcopy=False)
    assert all(a is b for a, b in zip(again, seen.get_trials(deepcopy=False), strict=True))
    proposed = []
    for slot in range(30, 40):
        seen.sampler = sampler_for(spec.search, slot)
        proposed.append(seen.ask().suggest_float("learning_rate", 1e-4, 1e-2, log=True))
    assert sum(rate > 2e-3 for rate in proposed) >= 8, proposed
