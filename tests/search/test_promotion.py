"""Promotion and median pruning with a second chance: decided over made curves, in made time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from made_searches import Made, Search, best_complete, made
from made_studies import spec_of

from hpsearch.search.decisions import (
    Begin,
    Budget,
    Curve,
    Finish,
    GoOn,
    Pause,
    Resume,
    Scheduler,
    Standing,
    Stop,
    TrialSoFar,
    Wait,
)
from hpsearch.search.median_resume import MedianResume
from hpsearch.search.promotion import Promote, rungs_of
from hpsearch.search.scheduler import scheduler_for

PROMOTE = Promote((1, 3, 9), 3)
WORKERS = pytest.mark.parametrize("workers", [1, 2, 8])


class Untimed(Promote):
    """Promotion that does not know how much time is left."""

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        standing = trial.standing()
        return super().after_epoch(
            replace(trial, standing=lambda: replace(standing, time_left_s=None))
        )

    def next(self, standing: Standing) -> Begin | Resume | Wait | Finish:
        return super().next(replace(standing, time_left_s=None))


def standing(
    *curves: Curve, unclaimed: int = 10, left_s: float | None = None, starting: int = 0
) -> Standing:
    return Standing(curves, Budget(len(curves) + unclaimed, unclaimed, 9), starting, left_s)


def asked(policy: Scheduler, number: int, at: Standing) -> GoOn | Stop | Pause:
    """Return what a policy makes of a running trial."""
    curve = at.curves[number]
    return policy.after_epoch(TrialSoFar(curve, 9, lambda: at, lambda pruner: False))


def curves(*scores: float, kind: str = "paused", epochs: int = 1) -> list[Curve]:
    return [Curve(i, kind, (0.0,) * (epochs - 1) + (s,), 1.0) for i, s in enumerate(scores)]  # type: ignore[arg-type]


# Rungs


@pytest.mark.parametrize(("epochs", "knobs", "rungs"), [
    (9, {}, (1, 3, 9)),
    (27, {}, (1, 3, 9, 27)),
    (10, {}, (1, 3, 10)),  # one more epoch than 9 is no step
    (20, {}, (1, 3, 9, 20)),
    (1, {}, (1,)),
    (8, {"warmup_epochs": 2, "reduction_factor": 2}, (2, 4, 8)),
    (9, {"warmup_epochs": 0}, (1, 3, 9)),
    (3, {"warmup_epochs": 5}, (3,)),
])  # fmt: skip
def test_rungs_are_powers_of_the_factor_and_the_last_is_all_epochs(
    epochs: int, knobs: dict[str, int], rungs: tuple[int, ...]
) -> None:
    spec = spec_of(epochs=epochs, scheduler={"name": "promote"} | knobs)
    assert rungs_of(spec.search) == rungs
    assert scheduler_for(spec.search).pauses


# Decisions


def test_of_three_at_a_rung_the_best_goes_on_and_the_others_wait() -> None:
    three = curves(0.3, 0.5, 0.4)
    assert PROMOTE.next(standing(*three[:2])) == Begin()
    assert PROMOTE.next(standing(*three)) == Resume(1)
    best = replace(three[1], kind="running")
    assert asked(PROMOTE, 1, standing(three[0], best, three[2])) == GoOn()
    weak = replace(three[2], kind="running")
    decided = asked(PROMOTE, 2, standing(*three[:2], weak))
    assert decided == Pause("it is among the best 1/3 there")
    between = replace(best, scores=(0.5, 0.1))
    assert asked(PROMOTE, 1, standing(three[0], between, three[2])) == GoOn(), "no rung"


def test_the_highest_rung_is_promoted_first() -> None:
    low = curves(0.9, 0.5, 0.4)
    high = [replace(c, number=c.number + 3) for c in curves(0.7, 0.6, 0.5, epochs=3)]
    assert PROMOTE.next(standing(*low, *high)) == Resume(3)


def test_one_that_could_not_be_promoted_any_more_ends_at_once() -> None:
    many = curves(*np.linspace(0.1, 0.9, 40))
    worst = replace(many[0], kind="running")
    decided = asked(PROMOTE, 0, standing(worst, *many[1:]))
    assert isinstance(decided, Stop) and "it was 40 of 40" in decided.judge
    middle = replace(many[20], kind="running")
    at = standing(*many[:20], middle, *many[21:])
    assert isinstance(asked(PROMOTE, 20, at), Pause)


def test_a_trial_that_failed_takes_no_place() -> None:
    three = curves(0.3, 0.5, 0.4, 0.2)
    dead = replace(three[1], kind="diverged")
    at = standing(three[0], dead, *three[2:], unclaimed=0)
    assert PROMOTE.next(at) == Resume(2)


def test_nothing_is_begun_or_resumed_that_cannot_end_in_time() -> None:
    fast, slow = Curve(0, "paused", (0.2,), 1.0), Curve(1, "paused", (0.9,), 10.0)
    done = Curve(2, "complete", (0.1,) * 9, 1.0)
    assert PROMOTE.next(standing(fast, slow, done, left_s=1000)) == Resume(1)
    assert PROMOTE.next(standing(fast, slow, done, left_s=20)) == Resume(0)
    assert PROMOTE.next(standing(fast, slow, done, left_s=8)) == Finish()
    at_work = replace(done, kind="running", scores=(0.1,) * 8)
    assert isinstance(PROMOTE.next(standing(slow, at_work, left_s=8)), Finish | Wait)
    running = replace(slow, kind="running")
    assert isinstance(asked(PROMOTE, 1, standing(fast, running, done, left_s=20)), Pause)


def test_where_no_end_is_in_reach_the_next_rung_is() -> None:
    one = Curve(0, "paused", (0.2,), 10.0)
    assert PROMOTE.next(standing(one, left_s=30)) == Begin()
    assert PROMOTE.next(standing(one, left_s=5)) == Finish()


# Searches


@WORKERS
@pytest.mark.parametrize("trials", [1, 2, 3, 4, 5, 9, 20])
def test_some_trial_is_complete_wherever_one_can_be_and_the_budget_is_exact(
    trials: int, workers: int
) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        of = made(rng, trials, 9, dying=0.4)
        ended = Search(PROMOTE, of, workers, trials, seed=seed).run()
        assert len(ended) == trials
        assert not [c for c in ended if c.kind == "running"]
        complete = [c for c in ended if c.kind == "complete"]
        could = [c for c in ended if of.dies_at[c.number] == 0]
        assert bool(complete) == bool(could)


@WORKERS
def test_most_epochs_go_to_the_best(workers: int) -> None:
    of = made(np.random.default_rng(0), 81, 9, dying=0.0)
    ended = Search(PROMOTE, of, workers, 81).run()
    complete = [c.number for c in ended if c.kind == "complete"]
    assert 9 <= len(complete) <= 20
    assert sum(len(c.scores) for c in ended) < 0.4 * 81 * 9
    ranked = list(np.argsort(-of.scores[:, -1]))
    assert ranked.index(complete[0]) < 27
    assert best_complete(ended) >= of.scores[ranked[5], -1]


@WORKERS
@pytest.mark.parametrize("epochs", [9, 10, 27])
def test_within_a_time_some_trial_is_complete_and_none_is_cut_short(
    workers: int, epochs: int
) -> None:
    policy = Promote(rungs_of(spec_of(epochs=epochs, pruner="promote").search), 3)
    for seed in range(2 if workers == 8 else 4):
        rng = np.random.default_rng(seed)
        of = made(rng, 40 * workers, epochs, dying=0.0)
        of = replace(of, epoch_s=np.minimum(of.epoch_s, 2.0))
        time_s = rng.uniform(1.2, 3) * 2 * epochs + 5
        ended = Search(policy, of, workers, 1000, time_s, seed).run()
        kinds = [c.kind for c in ended]
        assert "complete" in kinds and "running" not in kinds


@pytest.mark.parametrize("workers", [1, 2])
def test_with_little_time_the_best_complete_trial_beats_that_of_simpler_rules(
    workers: int,
) -> None:
    reached: dict[str, list[float]] = {"promote": [], "untimed": [], "to the end": []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        of = made(rng, 60 * workers, 9)
        for name, policy in (
            ("promote", PROMOTE),
            ("untimed", Untimed(PROMOTE.rungs, 3)),
            ("to the end", Scheduler()),
        ):
            ended = Search(policy, of, workers, 1000, 2 * 9 * 1.4, seed).run()
            reached[name].append(best_complete(ended))
    means = {name: float(np.mean(scores)) for name, scores in reached.items()}
    assert means["promote"] > max(means["untimed"], means["to the end"]) + 0.005, means


# Median pruning with a second chance


def second_chance() -> MedianResume:
    policy = scheduler_for(spec_of(epochs=9, pruner={"name": "median", "resume": True}).search)
    assert isinstance(policy, MedianResume)
    return policy


def test_what_the_median_would_stop_waits_and_is_not_judged_twice() -> None:
    policy, curve = second_chance(), Curve(0, "running", (0.1, 0.2))

    def so_far(curve: Curve) -> TrialSoFar:
        return TrialSoFar(curve, 9, lambda: standing(curve), lambda pruner: True)

    assert isinstance(policy.pruner, optuna.pruners.MedianPruner)
    assert isinstance(policy.after_epoch(so_far(curve)), Pause)
    assert policy.after_epoch(so_far(replace(curve, resumed=True))) == GoOn()


def test_the_most_promising_tenth_goes_on_when_no_trial_is_left_to_begin() -> None:
    policy = second_chance()
    good = [Curve(i, "complete", (0.5, 0.6, 0.7), 1.0) for i in range(5)]
    weak = [Curve(5 + i, "paused", (0.1 + i / 100, 0.2), 1.0) for i in range(15)]
    late = Curve(20, "paused", (0.4, 0.65), 1.0)
    all_of_them = (*good, *weak, late)
    assert policy.next(standing(*all_of_them)) == Begin()
    assert policy.next(standing(*all_of_them, unclaimed=0)) == Resume(20)
    resumed = replace(late, kind="running", resumed=True)
    second = policy.next(standing(*good, *weak, resumed, unclaimed=0))
    assert isinstance(second, Resume) and second.number != 20
    both = [replace(weak[-1], kind="complete", resumed=True), resumed]
    assert policy.next(standing(*good, *weak[:-1], *both, unclaimed=0)) == Wait()


def test_with_the_time_for_no_other_whole_trial_paused_ones_go_on() -> None:
    policy = second_chance()
    good = [Curve(i, "complete", (0.5,) * 9, 2.0) for i in range(3)]
    weak, weaker = Curve(3, "paused", (0.4,) * 5, 2.0), Curve(4, "paused", (0.3,) * 5, 1.0)
    at = (*good, weak, weaker)
    assert policy.next(standing(*at, left_s=100)) == Begin()
    assert policy.next(standing(*at, left_s=12)) == Resume(3)
    assert policy.next(standing(*at, left_s=7)) == Resume(4)
    assert policy.next(standing(*at, left_s=3)) == Finish()


def test_a_search_with_a_second_chance_ends() -> None:
    rng = np.random.default_rng(0)
    of: Made = made(rng, 20, 9)
    ended = Search(second_chance(), of, 2, 20).run()
    assert {c.kind for c in ended} <= {"complete", "diverged", "paused"}


def test_the_baseline_comes_to_its_end_at_once_where_there_is_time_for_that() -> None:
    better = tuple(Curve(n, "paused", (0.9,), 1.0) for n in range(1, 9))
    baseline = Curve(0, "running", (0.1,), 1.0, is_baseline=True)
    other = replace(baseline, is_baseline=False)

    def judged(curve: Curve, policy: Promote = PROMOTE, left_s: float = 100.0) -> type[object]:
        standing = Standing((curve, *better), Budget(20, 11, 9), time_left_s=left_s)
        told = TrialSoFar(curve, 9, lambda: standing, lambda pruner: False)
        return type(policy.after_epoch(told))

    assert judged(baseline) is GoOn
    assert judged(baseline, left_s=2.0) is not GoOn, "the next rung is out of reach"
    assert judged(other) is not GoOn
    assert judged(baseline, replace(PROMOTE, spares_baseline=False)) is not GoOn, "of a grid"
