"""A worker: takes leases on trials of one study and runs them, one after the other."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import optuna
import torch
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.errors import StudyMismatchError, WorkerError
from hpsearch.search.leases import HeldLease
from hpsearch.search.ledger import MAX_ATTEMPTS, Lease, StudyRow
from hpsearch.search.objective import objective
from hpsearch.search.samplers import given_params, pruner_for, sampler_for, seed_of
from hpsearch.search.storage import Storage
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import Interrupted
from hpsearch.training.precision import faster_precision

logger = logging.getLogger(__name__)

POLL_S = 1.0  # between looks at the ledger while other workers hold what is left
MAX_FAILURES_IN_A_ROW = 3
FINAL_MARGIN = 1.05  # the final training is the best trial's again; saving and measuring are quick
FINAL_START_S = 10.0  # a fresh process imports torch and maps the data


@dataclass(frozen=True)
class Worker:
    """One worker of one study: its name, its device, its data, and what tells it to stop."""

    name: str
    storage: Storage
    spec: StudySpec
    data: SearchData
    device: torch.device
    precision: str
    stopped: Callable[[], bool]

    def work(self) -> None:
        """Run trials until the study's budget or time is spent, or `stopped()` turns true.

        Raises WorkerError where trial after trial fails: going on would spend the budget on
        nothing.
        """
        ledger, study = self.storage.ledger, self.spec.name
        failures = 0
        while not self.stopped() and not time_is_up(ledger.study(study)):
            lease = ledger.claim(study, self.name)
            if lease is None:
                if not ledger.open_leases(study):
                    return
                time.sleep(POLL_S)  # its holder may die, and leave a trial to take over
                continue
            failures = failures + 1 if self.run(lease) == TrialState.FAIL else 0
            if failures == MAX_FAILURES_IN_A_ROW:
                raise WorkerError(
                    f"{failures} trials in a row failed; see 'hpsearch status {study}'"
                )

    def run(self, lease: Lease) -> TrialState:
        """Run the trial of a lease to its end, or give the lease back; return the trial's state."""
        search = self.spec.search
        study = self.storage.load(
            self.spec.name, sampler_for(search, lease.slot), pruner_for(search)
        )
        trial_id = self._trial_id(study, lease)
        state = self.storage.optuna.get_trial(trial_id).state
        if state.is_finished():  # the worker before died between its last two words
            self.storage.ledger.finish(lease)
            return state
        trial = Trial(study, trial_id)
        if lease.attempts > MAX_ATTEMPTS:
            return self._fail(trial, lease, f"{MAX_ATTEMPTS} workers died on this trial")
        trial.set_user_attr("worker", self.name)
        trial.set_user_attr("device", device_name(self.device))
        with HeldLease(self.storage.ledger, lease) as held:
            return self._train(trial, held)

    def _train(self, trial: Trial, held: HeldLease) -> TrialState:
        def interrupted() -> bool:
            return self.stopped() or held.lost or held.time_is_up()

        try:
            value = objective(trial, self.spec, self.data, self.device, interrupted)
        except Interrupted:
            self.storage.ledger.give_back(held.lease)  # does nothing where the lease was lost
            return TrialState.RUNNING
        except optuna.TrialPruned as pruned:
            trial.set_user_attr("reason", str(pruned))
            return self._end(trial, held.lease, TrialState.PRUNED)
        except (SQLAlchemyError, StorageInternalError):
            raise  # the storage's fault, not the trial's: another worker takes the trial over
        except Exception as error:  # whatever it was, it is recorded, and the worker goes on
            trial.set_user_attr("traceback", traceback.format_exc()[-4000:])
            return self._fail(trial, held.lease, f"{type(error).__name__}: {error}"[:1000])
        state = self._end(trial, held.lease, TrialState.COMPLETE, value)
        self._keep_time_for_final(trial)
        return state

    def _fail(self, trial: Trial, lease: Lease, reason: str) -> TrialState:
        trial.set_user_attr("reason", reason)
        logger.error("trial %d failed: %s", trial.number, reason)
        return self._end(trial, lease, TrialState.FAIL)

    def _end(
        self, trial: Trial, lease: Lease, state: TrialState, value: float | None = None
    ) -> TrialState:
        trial.study.tell(trial, value, state=state, skip_if_finished=True)
        self.storage.ledger.finish(lease)
        return state

    def _keep_time_for_final(self, trial: Trial) -> None:
        """Keep as much of the study's time for the final training as the best trial took."""
        if trial.study.best_trial.number == trial.number:
            took_s = trial.user_attrs["duration_s"]
            self.storage.ledger.set_final_s(self.spec.name, took_s * FINAL_MARGIN + FINAL_START_S)

    def _trial_id(self, study: optuna.Study, lease: Lease) -> int:
        """Return Optuna's trial of a lease; it is made knowing its slot, so no slot has two."""
        if lease.trial_id is not None:
            return lease.trial_id
        trial_id = next(
            (
                t._trial_id
                for t in study.get_trials(deepcopy=False)
                if t.user_attrs.get("slot") == lease.slot
            ),
            None,  # else the worker before died between making the trial and noting its id
        )
        if trial_id is None:
            template = create_trial(
                state=TrialState.RUNNING,
                user_attrs={
                    "slot": lease.slot,
                    "seed": seed_of(self.spec.search.seed, lease.slot, stream=1),
                    "precision": self.precision,
                    "threads": torch.get_num_threads(),
                    "torch": version("torch"),
                },
                system_attrs={"fixed_params": given_params(self.spec, lease.slot)},
            )
            study_id = self.storage.optuna.get_study_id_from_name(self.spec.name)
            trial_id = self.storage.optuna.create_new_trial(study_id, template)
        self.storage.ledger.set_trial(lease, trial_id)
        return trial_id


def hire(
    name: str,
    storage: Storage,
    study: str,
    prepared: Path,
    device: torch.device,
    stopped: Callable[[], bool],
) -> Worker:
    """Return a worker for a study; StudyMismatchError where its data is not the study's."""
    row = storage.ledger.study(study)
    assert row is not None
    spec = StudySpec.model_validate(row.spec)
    data = load_search_data(prepared)
    if data.fingerprint != row.fingerprint:
        raise StudyMismatchError(
            f"worker {name} has other data than study '{study}': fingerprint "
            f"{data.fingerprint[:12]}, not {row.fingerprint[:12]}; give it the same files"
        )
    precision = row.precision or storage.ledger.decide_precision(
        study, faster_precision(spec.search.precision, data, device)
    )
    return Worker(name, storage, spec, data, device, precision, stopped)


def time_is_up(row: StudyRow | None) -> bool:
    """Whether what is left of a study's time is needed for its final training."""
    return row is None or (row.time_left_s is not None and row.time_left_s <= row.final_s)


def device_name(device: torch.device) -> str:
    """Return what a trial records of its device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
