"""Asking a study's scheduler, and doing at a claim what it decides."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, Trial, TrialState

from hpsearch.errors import StudyNotFoundError
from hpsearch.search import outcomes as endings
from hpsearch.search.baseline import BASELINE_SLOT, trained_at_once
from hpsearch.search.decisions import (
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
from hpsearch.search.front import by_both, no_larger, size_of
from hpsearch.search.kinds import ENDED, KNOWN, RESUMED, Kind, kind_of
from hpsearch.search.promotion import Promote
from hpsearch.search.reserve import confirm_time_s, final_time_s
from hpsearch.storage.leases import Lease, LeaseLostError
from hpsearch.storage.optuna_private import as_stored, id_of, seen_as
from hpsearch.storage.pauses import Allowance
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import Metric, rank

Shown = dict[int, tuple[FrozenTrial, FrozenTrial]]  # paused trials, and as they are shown, by ids
TRIES = 100  # to be as quick as other workers, before this one looks again later


@dataclass(frozen=True)
class Read:
    """How a study stands, the slots of its paused trials by their numbers, and whether a trial of
    it is free to be taken over."""

    standing: Standing
    slots: dict[int, int]
    lost: bool


@dataclass(frozen=True)
class Scheduling:
    """A study's scheduler and the study that it decides about."""

    storage: Storage
    spec: StudySpec
    scheduler: Scheduler
    device_type: str = "cpu"  # of this worker, which may train the final one day
    _curves: dict[int, tuple[FrozenTrial, Curve]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # by the ids of their trials

    _shown: Shown = field(default_factory=dict, init=False, repr=False, compare=False)

    def seen_by_samplers(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return trials as the study's samplers are to see them; see the function."""
        return seen_by_samplers(trials, self._shown)

    @property
    def pauses(self) -> bool:
        """Whether trials are ever paused."""
        return self.scheduler.pauses

    def after_epoch(self, trial: Trial) -> GoOn | Stop | Pause:
        """Return what becomes of a live trial after the epoch that it reported last."""
        stored = trial.storage.get_trial(id_of(trial))

        def stopped_by(pruner: BasePruner) -> bool:
            also = self.spec.search.also
            study = as_stored(trial.study)  # what samplers do not see changes no pruning
            if also is not None:
                study = seen_as(study, no_larger(stored, also))
            return pruner.prune(study, stored)

        curve, standing = curve_of(stored, self.spec.metric, "running"), self.standing
        if len(curve.scores) in self._weighed_at:
            now = self.standing()
            curve, standing = next(c for c in now.curves if c.number == curve.number), lambda: now
        epochs = self.spec.search.epochs
        return self.scheduler.after_epoch(TrialSoFar(curve, epochs, standing, stopped_by))

    @property
    def _weighed_at(self) -> tuple[int, ...]:
        """After which epochs a policy compares trials by score and size together."""
        if self.spec.search.also is None or not isinstance(self.scheduler, Promote):
            return ()
        return self.scheduler.rungs

    @cached_property
    def _study_id(self) -> int:
        """Optuna's id of the study; in one that is made anew, a worker schedules anew."""
        return self.storage.optuna.get_study_id_from_name(self.spec.name)

    def standing(self) -> Standing:
        """Return how the study stands now."""
        return self._read().standing

    def _read(self) -> Read:
        """Return how the study stands, and where its trials are in the ledger."""
        allowance, begun = self.storage.pauses.allowance(self.spec.name)
        if allowance is None:
            raise StudyNotFoundError(f"study '{self.spec.name}' was deleted")
        trials = self.storage.optuna.get_all_trials(self._study_id, deepcopy=False)
        waiting = [b for b in begun if b.paused is not None and not b.is_held]
        paused = {b.trial_id: b.slot for b in waiting}
        curves = tuple(self._curve(trial, id_of(trial) in paused) for trial in trials)
        at_work = sum(b.is_held for b in begun)
        also, seen = self.spec.search.also, curves
        if also is not None and self._weighed_at:
            sizes = {trial.number: size_of(trial, also) for trial in trials}
            seen = by_both(curves, sizes, self._weighed_at)
        unclaimed = max(0, allowance.trials - allowance.claimed)
        standing = Standing(
            seen,
            Budget(allowance.trials, unclaimed, self.spec.search.epochs),
            starting=sum(b.trial_id is None for b in begun),
            time_left_s=self._time_left_s(allowance, curves, at_work),
        )
        slots = {t.number: paused[id_of(t)] for t in trials if id_of(t) in paused}
        return Read(standing, slots, lost=len(begun) > at_work + len(waiting))

    def _curve(self, trial: FrozenTrial, is_paused: bool) -> Curve:
        """Return a trial as policies see it; one that has not changed is not looked at again."""
        ended, kept = trial.state.is_finished(), self._curves.get(id_of(trial))
        if kept is not None and kept[0] is trial and (ended or is_paused):
            return kept[1]
        kind: Kind = "paused" if is_paused else "running"
        curve = curve_of(trial, self.spec.metric, kind_of(trial) if ended else kind)
        if ended or is_paused:
            self._curves[id_of(trial)] = trial, curve
        return curve

    def _time_left_s(self, row: Allowance, curves: Sequence[Curve], at_work: int) -> float | None:
        """Return what is left for the search; None where it has no end.

        What confirm and final take, a worker reckons once a trial is complete. Before that it is
        taken for what the trial that came furthest would need, of equals the best.
        """
        if row.time_left_s is None or row.timeout_s is None:
            return None
        final_s, confirm_s = row.final_s, row.confirm_s
        known = [c for c in curves if c.epoch_s is not None]
        if not final_s and known:
            first = max(known, key=lambda c: (len(c.scores), c.scores[-1], -c.number))
            assert first.epoch_s is not None
            whole_s = first.epoch_s * self.spec.search.epochs
            beside_s = whole_s if self.spec.final.baseline else None
            final_s = final_time_s(whole_s, beside_s, trained_at_once(self.device_type))
            trainings = self.spec.candidates() * self.spec.confirm.seeds
            if trainings and not confirm_s:
                confirm_s = confirm_time_s(whole_s, trainings, at_work, row.timeout_s)
        return max(0.0, row.time_left_s - final_s - confirm_s)

    def claim(self, worker: str, edition: float) -> Lease | None:
        """Return a lease on what a worker is to do; None where that is nothing for now.

        Once the budget is spent and nobody is at a trial, those that are still paused are ended.
        """
        leases, name = self.storage.leases, self.spec.name
        if not self.pauses:
            return leases.claim(name, worker, edition)
        lease, takes_over = None, True
        for _ in range(TRIES):
            if lease is not None:
                break
            read = self._read()
            if read.lost and takes_over:  # once: it may be no worker's in a study that is paused
                lease, takes_over = leases.claim(name, worker, edition, begins=False), False
                continue
            standing, slots = read.standing, read.slots
            decision = self.scheduler.next(standing)
            waits, finishes = isinstance(decision, Wait | Finish), isinstance(decision, Finish)
            if isinstance(decision, Resume):
                lease = self.storage.pauses.resume(name, slots[decision.number], worker, edition)
            elif standing.is_at_work and (waits or not standing.budget.unclaimed):
                break
            elif standing.budget.unclaimed and not finishes:
                lease = leases.claim(name, worker, edition)
            elif not self._end_paused(worker, edition, finishes):
                if finishes:
                    self.storage.pauses.end_search(name)
                break
        return lease

    def _end_paused(self, worker: str, edition: float, finishes: bool) -> bool:
        """End a trial that nothing will resume any more; False where there is none for us."""
        lease = self.storage.pauses.claim_left(self.spec.name, worker, edition, finishes)
        if lease is None:
            return False
        trial = endings.live_trial(self.storage, lease)
        if trial is None:  # whoever ended it died before it could say so here
            self.storage.leases.finish(lease)
            return True
        with (
            suppress(UpdateFinishedTrialError, LeaseLostError),  # or another has ended it
            self.storage.optuna.held(id_of(trial), lease),
        ):
            endings.never_resumed(self.storage, trial, lease)
        return True


def curve_of(trial: FrozenTrial, metric: Metric, kind: Kind) -> Curve:
    """Return a trial as policies see it."""
    reported = sorted(trial.intermediate_values.items())
    scores = tuple(_score(metric, value) for _, value in reported)
    trained, took_s = len(trial.user_attrs.get("curve", ())), trial.user_attrs.get("duration_s")
    epoch_s = took_s / trained if trained and took_s is not None else None
    resumed = trial.user_attrs.get(RESUMED) is not None
    is_baseline = trial.user_attrs.get("slot") == BASELINE_SLOT
    return Curve(trial.number, kind, scores, epoch_s, resumed, is_baseline)


def _score(metric: Metric, value: float) -> float:
    """Return a metric so that the highest is the best; one that is no number is the worst."""
    return -math.inf if math.isnan(value) else -rank(metric, value)


def seen_by_samplers(
    trials: Sequence[FrozenTrial], shown: Shown | None = None
) -> list[FrozenTrial]:
    """Return trials as samplers are to see them: paused ones as pruned, with what they reported.

    Known ones are left out, for they would teach the same a second time. A running trial counts as
    a poor one to a sampler that proposes for several workers, which a paused one need not be, and a
    paused one may stand there for long. With `shown`, a paused trial is the same object each time.
    """
    kept = {} if shown is None else shown
    return [
        t if t.state.is_finished() or kind_of(t) != "paused" else _as_pruned(t, kept)
        for t in trials
        if t.user_attrs.get(ENDED) != KNOWN
    ]


def _as_pruned(trial: FrozenTrial, kept: Shown) -> FrozenTrial:
    before = kept.get(id_of(trial))
    if before is not None and before[0] is trial:
        return before[1]
    shown = copy.copy(trial)
    shown.state = TrialState.PRUNED
    kept[id_of(trial)] = trial, shown
    return shown
