"""How far a study has come, in numbers that a person at the terminal wants to see."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hpsearch.search.finalists import plan
from hpsearch.search.kinds import EXHAUSTED, kind_of, why_none_completes
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.plan_record import PlanRecord, plan_of
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, OPEN, PAUSED, STOPPED, StudyRow
from hpsearch.study.budget import PLENTY
from hpsearch.study.tasks import rank

SUPERVISOR = "supervisor"  # stands in the list of workers in place of a device


@dataclass(frozen=True)
class Confirming:
    """How far the training of finalists has come. `of` shrinks when one cannot win any more."""

    ended: int
    of: int
    running: list[tuple[int, int]]  # number of the trial, and which seed, from 1
    is_due: bool  # whether more are to be trained, once the search is over

    @property
    def has_begun(self) -> bool:
        return self.ended > 0 or bool(self.running)


@dataclass(frozen=True)
class Progress:
    """A study at one moment. Times in seconds; `time_left_s` is an estimate, None while unknown."""

    study: OpenStudy
    state: str  # open, paused, stopped, done
    note: str  # why it is paused or stopped
    priority: int
    wants_final: bool
    budget: int
    running: list[FrozenTrial]
    interrupted: int
    paused: list[FrozenTrial]  # that wait for the study's scheduler, those that came furthest first
    resumed: int  # that waited, and went on
    complete: int
    pruned: int  # by the pruner
    failed: int
    infeasible: int
    diverged: int
    timed_out: int
    known: int  # not trained: equal to another one
    epochs_run: int
    epochs_saved: int
    best: FrozenTrial | None
    pruner_waits_for: int  # complete trials until the pruner begins
    time_left_s: float | None
    search_left_s: float | None  # of it for trials; None without a time
    confirm: Confirming | None = None  # None where finalists are not trained again
    timeout_s: float | None = None  # of the whole study, None without one
    plan: PlanRecord | None = None  # of a budget that is planned

    @property
    def counts_trials(self) -> bool:
        """Whether the budget is a number of trials, not as many as fit into a time."""
        spec = self.study.spec
        return not (spec.search.is_planned and spec.trial_budget() == PLENTY)

    @property
    def final_is_due(self) -> bool:
        """Whether nothing but the final is still to come."""
        left = self.finished < self.budget and not self._time_is_up
        searched = not left and not self.running
        confirmed = self.confirm is None or not (self.confirm.is_due or self.confirm.running)
        return self.wants_final and self.state != DONE and searched and confirmed

    @property
    def exhausted(self) -> int | None:
        """How many configurations the space has, where that is why no trial begins any more."""
        found: int | None = self.study.attrs.get(EXHAUSTED)
        return found if self.finished >= self.budget < self.study.spec.trial_budget() else None

    @property
    def ended_words(self) -> str:
        """How many trials have ended, of how many where that is the budget."""
        of = f" of {self.budget}" if self.counts_trials else ""
        return f"{self.finished}{of} trials ended"

    @property
    def _time_is_up(self) -> bool:
        """Whether a planned search has come to its end without its budget's last trial."""
        left_s = None if self.counts_trials else self.search_left_s
        return left_s is not None and left_s <= 0

    @property
    def finished(self) -> int:
        """Trials that have ended, however they ended."""
        return sum(self.ended.values())

    @property
    def ended(self) -> dict[str, int]:
        """Ended trials by how they ended, as `kind_of` says."""
        return {
            "complete": self.complete,
            "pruned": self.pruned,
            "infeasible": self.infeasible,
            "diverged": self.diverged,
            "timed out": self.timed_out,
            "known": self.known,
            "failed": self.failed,
        }

    @property
    def pausing(self) -> str:
        """How many trials are paused and how many went on, in words; nothing where none was."""
        if not self.paused and not self.resumed:
            return ""
        return f"{len(self.paused)} paused by the scheduler, {self.resumed} resumed"


def progress_of(storage: Storage, name: str) -> Progress:
    """Return the progress of a stored study."""
    row = storage.ledger.study(name)
    study = read_stored_study(storage, name)
    assert row is not None
    epochs = study.spec.search.epochs
    kinds = Counter(kind_of(t) for t in study.trials)
    complete = study.in_state(TrialState.COMPLETE)
    running = [t for t in study.trials if id_of(t) in study.held]
    confirm = _confirming(storage, study, row)
    left_s = _time_left_s(
        study, row, confirm, len(running) + (len(confirm.running) if confirm else 0)
    )
    return Progress(
        study=study,
        state=row.state,
        note=row.note,
        priority=row.priority,
        wants_final=row.wants_final,
        budget=row.trials,
        running=running,
        interrupted=len(study.interrupted),
        paused=_furthest_first(study),
        resumed=sum(r.resumed is not None for r in study.records.values()),
        complete=len(complete),
        pruned=kinds["pruned"],
        failed=kinds["failed"],
        infeasible=kinds["infeasible"],
        diverged=kinds["diverged"],
        timed_out=kinds["timed out"],
        known=kinds["known"],
        epochs_run=sum(epochs_of(t) for t in study.trials),
        epochs_saved=sum(epochs - epochs_of(t) for t in study.trials if kind_of(t) == "pruned"),
        best=study.best(),
        pruner_waits_for=_pruner_waits_for(study, len(complete)),
        time_left_s=None if row.state == DONE else left_s,
        search_left_s=(
            None if row.time_left_s is None else row.time_left_s - row.final_s - row.confirm_s
        ),
        timeout_s=row.timeout_s,
        plan=plan_of(storage, name) if study.spec.search.is_planned else None,
        confirm=confirm,
    )


def _furthest_first(study: OpenStudy) -> list[FrozenTrial]:
    """Return the paused trials: those of the most epochs first, of equals the best."""
    metric = study.spec.metric

    def place(trial: FrozenTrial) -> tuple[int, float, int]:
        epoch = epochs_of(trial)
        return -epoch, rank(metric, trial.intermediate_values.get(epoch, math.nan)), trial.number

    return sorted((t for t in study.trials if id_of(t) in study.paused), key=place)


def _confirming(storage: Storage, study: OpenStudy, row: StudyRow) -> Confirming | None:
    if not study.spec.candidates():
        return None
    found = plan(study)
    numbers = {record.slot: number for number, record in study.records.items()}
    running = [(numbers[s], r + 1) for s, r in storage.confirmations.running(study.spec.name)]
    return Confirming(found.ended, found.of, running, row.confirm_due)


def epochs_of(trial: FrozenTrial) -> int:
    """Return how many epochs a trial has trained; one that stopped early reports on after that."""
    return len(trial.user_attrs.get("curve", trial.intermediate_values))


def _pruner_waits_for(study: OpenStudy, complete: int) -> int:
    pruner = study.spec.search.pruner
    if pruner.name not in ("median", "percentile"):
        return 0
    return max(0, max(pruner.startup_trials, pruner.min_trials) - complete)


def _time_left_s(
    study: OpenStudy, row: StudyRow, confirm: Confirming | None, workers: int
) -> float | None:
    """Return the mean duration of ended trials for all that are left, at most to the deadline.

    A finalist that is to be trained again takes as long as the best trial; what the final is
    expected to take, a worker has reckoned.
    """
    took = {n: r.duration_s for n, r in study.records.items() if r.duration_s is not None}
    ended = [t for t in study.trials if t.number in took and _is_over(study, t)]
    bounds = [] if row.time_left_s is None else [row.time_left_s]
    if ended:
        mean_s = sum(took[t.number] for t in ended) / len(ended)
        begun = [t for t in study.trials if not _is_over(study, t)]
        done_s = sum(took.get(t.number, 0.0) for t in begun)
        left = row.trials - sum(_is_over(study, t) for t in study.trials)
        if study.paused:  # so few go on that each that does may come to its end
            left -= len(begun)
            done_s = -sum(_to_its_end_s(study, t) for t in begun)
        again_s, best = 0.0, study.best()
        if confirm is not None and confirm.is_due and best is not None:
            again_s = (confirm.of - confirm.ended) * took.get(best.number, mean_s)
        final_s = row.final_s if row.wants_final else 0.0
        bounds.append((left * mean_s - done_s + again_s) / max(1, workers) + final_s)
    return max(0.0, min(bounds)) if bounds else None


def _to_its_end_s(study: OpenStudy, trial: FrozenTrial) -> float:
    """Return what the epochs of a trial that are left would take; 0 before its first is over."""
    epochs, took_s = epochs_of(trial), study.record(trial).duration_s
    return (
        0.0
        if took_s is None or not epochs
        else took_s / epochs * (study.spec.search.epochs - epochs)
    )


def _is_over(study: OpenStudy, trial: FrozenTrial) -> bool:
    """Whether a trial has ended, or waits as most paused ones do until the search is over."""
    return trial.state.is_finished() or id_of(trial) in study.paused


def why_waiting(storage: Storage, p: Progress) -> str | None:
    """Return why nobody is at work on a study that is not over, None where there is no such."""
    name = p.study.spec.name
    if p.state == PAUSED:
        return f"it is paused ({p.note or 'no reason given'}); 'hpsearch resume {name}' goes on"
    if p.state == STOPPED:
        return f"it is stopped ({p.note or 'no reason given'}); 'hpsearch resume {name}' goes on"
    if p.state != OPEN or p.running or (p.confirm is not None and p.confirm.running):
        return None
    why = why_none_completes(p.study.trials) if p.finished >= p.budget else None
    if why is not None:  # no worker would change it
        return f"its budget is spent, and {why}; then launch it again"
    listed = storage.workers.present()
    workers = [worker for worker in listed if worker.device != SUPERVISOR]
    if not workers:
        return (
            "no worker serves this storage; start some with 'hpsearch worker', or launch the "
            "study again"
        )
    notes = {
        f"{worker.host}: {part}"
        for worker in listed
        for part in worker.note.split("; ")
        if part.startswith(f"{name}: ")
    }
    if notes:
        return "; ".join(sorted(notes))
    return f"its turn comes: {len(workers)} worker(s) are starting, or at studies before it"
