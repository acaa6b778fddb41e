"""How trials end, and when a study has to: said by a worker, or by the supervisor it had."""

from __future__ import annotations

import contextlib
import logging
import re

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from hpsearch.search.kinds import KNOWN, Kind, kind_of, kind_of_pruned
from hpsearch.storage.leases import Lease
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import ConfirmationRecord, TrialNotes
from hpsearch.storage.schema import FINALIST
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import STOPPED

logger = logging.getLogger(__name__)

FAILURES_THAT_STOP = 3  # in a row, from the same cause


def complete(storage: Storage, trial: Trial, lease: Lease, value: float) -> TrialState:
    """End a trial with the test metric of the epoch that counts."""
    return _end(storage, trial, lease, TrialState.COMPLETE, "complete", value)


def prune(
    storage: Storage,
    trial: Trial,
    lease: Lease,
    reason: str,
    infeasible: str | None = None,
    diverged: bool = False,
    over: float = 1.0,
) -> TrialState:
    """End a trial without a score; `infeasible` names what it took too much of, and by how much.

    How it ended is recorded beside Optuna's PRUNED, which is all of them. Pruning teaches the
    sampler, and so does a constraint; a failure would teach it nothing.
    """
    if infeasible is not None and infeasible not in trial.constraints:
        trial.set_constraint(infeasible, over)
    kind = kind_of_pruned(infeasible, diverged)
    note(trial, TrialNotes(reason=reason, ended=kind))
    return _end(storage, trial, lease, TrialState.PRUNED, kind)


def known(storage: Storage, trial: Trial, lease: Lease, equal: FrozenTrial) -> TrialState:
    """End a trial that is not trained, for its configuration is that of another one.

    It is PRUNED to Optuna, without a value or an epoch of its own, so that no figure
    counts a configuration twice; samplers do not see it.
    """
    score = "" if equal.value is None else f", with {equal.value:.4g}"
    reason = f"its configuration is that of trial {equal.number} ({kind_of(equal)}{score})"
    note(trial, TrialNotes(reason=reason, ended=KNOWN, equals=equal.number))
    return _end(storage, trial, lease, TrialState.PRUNED, KNOWN)


def fail(
    storage: Storage, trial: Trial, lease: Lease, reason: str, traceback: str | None = None
) -> TrialState:
    """End a trial that could not be trained, and its study where that is the rule by now."""
    notes = TrialNotes(reason=reason)
    if traceback is not None:
        notes["traceback"] = traceback
    note(trial, notes)
    logger.error(
        "trial %d of '%s' failed: %s",
        trial.number,
        lease.study,
        reason,
        extra=event("trial failed", lease, trial),
    )
    state = _end(storage, trial, lease, TrialState.FAIL, "failed")
    _stop_if_hopeless(storage, lease.study)
    return state


def pause(storage: Storage, trial: Trial, lease: Lease, epoch: int, until: str) -> TrialState:
    """Let a trial wait after an epoch, kept as it is, until the scheduler resumes it."""
    note(trial, TrialNotes(paused=epoch, until=until))
    storage.pauses.pause(lease, epoch)
    logger.info(
        "trial %d of '%s' is paused after epoch %d until %s",
        trial.number,
        lease.study,
        epoch,
        until,
        extra=event("trial paused", lease, trial) | {"epoch": epoch},
    )
    return TrialState.RUNNING


def resume(storage: Storage, trial: Trial, lease: Lease) -> None:
    """Let a paused trial go on under a lease. Until this is done, it is still paused."""
    note(trial, TrialNotes(paused=None, resumed=lease.paused))
    storage.pauses.go_on(lease)
    logger.info(
        "trial %d of '%s' is resumed after epoch %d",
        trial.number,
        lease.study,
        lease.paused,
        extra=event("trial resumed", lease, trial) | {"epoch": lease.paused},
    )


def never_resumed(storage: Storage, trial: Trial, lease: Lease) -> TrialState:
    """End a paused trial of a study whose scheduler resumes none any more."""
    until = trial.user_attrs.get("until", "it is resumed")
    reason = f"paused after epoch {lease.paused} until {until}, and never resumed"
    return prune(storage, trial, lease, reason)


def end_hung(storage: Storage, lease: Lease, reason: str) -> None:
    """End what a killed worker hung on: a trial, or the training of a finalist."""
    trial = live_trial(storage, lease)
    if trial is not None:
        fail(storage, trial, lease, reason)
    elif lease.kind == FINALIST:
        trials = storage.load(lease.study).get_trials(deepcopy=False)
        number = next(t.number for t in trials if t.user_attrs.get("slot") == lease.slot)
        storage.confirmations.write(lease, number, ConfirmationRecord(reason=reason))


def _end(
    storage: Storage,
    trial: Trial,
    lease: Lease,
    state: TrialState,
    kind: Kind,
    value: float | None = None,
) -> TrialState:
    with contextlib.suppress(UpdateFinishedTrialError):  # said before an outage, unheard by us
        trial.study.tell(trial, value, state=state, skip_if_finished=True)
    storage.leases.finish(lease)
    logger.info(
        "trial %d of '%s' ended: %s",
        trial.number,
        lease.study,
        kind,
        extra=event("trial ended", lease, trial)
        | {"state": state.name.lower(), "kind": kind, "value": value},
    )
    return state


def _stop_if_hopeless(storage: Storage, study: str) -> None:
    """Stop a study whose last trials all failed from the same cause: so would the next ones."""
    trials = storage.load(study).get_trials(deepcopy=False)
    ended = [t for t in trials if t.datetime_complete is not None]
    last = sorted(ended, key=_when)[-FAILURES_THAT_STOP:]
    causes = {_cause(t.user_attrs.get("reason", "")) for t in last}
    all_failed = all(t.state == TrialState.FAIL for t in last)
    if len(last) == FAILURES_THAT_STOP and all_failed and len(causes) == 1:
        reason = last[-1].user_attrs.get("reason", "no reason was recorded")
        note = f"{FAILURES_THAT_STOP} trials in a row failed: {reason}"
        logger.error("study '%s' is stopped: %s", study, note, extra={"event": "study stopped"})
        storage.ledger.set_state(study, STOPPED, note)


def _when(trial: FrozenTrial) -> tuple[float, int]:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp(), trial.number


def _cause(reason: str) -> str:
    """Return a reason without the numbers that differ from trial to trial."""
    return re.sub(r"\d+", "#", reason)


def event(name: str, lease: Lease, trial: Trial) -> dict[str, object]:
    """Return the fields of a structured log line about a trial."""
    return {"event": name, "study": lease.study, "trial": trial.number, "worker": lease.worker}


def live_trial(storage: Storage, lease: Lease) -> Trial | None:
    """Return the trial of a lease for its supervisor to end, None where there is none to end."""
    if lease.trial_id is None:
        return None
    study = storage.load(lease.study, optuna.samplers.RandomSampler(seed=0))
    if storage.optuna.get_trial(lease.trial_id).state.is_finished():
        return None
    return Trial(study, lease.trial_id)
