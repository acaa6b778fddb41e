"""A worker: takes leases on trials of one study and runs them, one after the other."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import optuna
import torch
from optuna.trial import Trial, TrialState, create_trial

from hpsearch.data.prepare import load_search_data
from hpsearch.data.prepared import SearchData
from hpsearch.errors import StudyMismatchError
from hpsearch.models.head import ImageShape
from hpsearch.search.leases import HeldLease
from hpsearch.search.ledger import MAX_ATTEMPTS, Lease
from hpsearch.search.objective import objective
from hpsearch.search.samplers import given_params, pruner_for, sampler_for, seed_of
from hpsearch.search.storage import Storage
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import Interrupted
from hpsearch.training.precision import faster_precision

logger = logging.getLogger(__name__)

POLL_S = 1.0  # between looks at the ledger while other workers hold what is left
MAX_FAILURES_IN_A_ROW = 3


class TooManyFailures(Exception):
    """Several trials in a row failed in one worker; going on would spend the budget on nothing."""


def work(
    storage: Storage,
    study_name: str,
    prepared: Path,
    worker: str,
    device: torch.device,
    stopped: Callable[[], bool],
) -> None:
    """Run trials of a study until its budget or time is spent, or `stopped()` turns true.

    Raises StudyMismatchError where the prepared data is not the study's, TooManyFailures where
    trial after trial fails.
    """
    row = storage.ledger.study(study_name)
    assert row is not None
    spec = StudySpec.model_validate(row.spec)
    data = load_search_data(prepared)
    if data.fingerprint != row.fingerprint:
        raise StudyMismatchError(
            f"worker {worker} has other data than study '{study_name}': fingerprint "
            f"{data.fingerprint[:12]}, not {row.fingerprint[:12]}; give it the same files"
        )
    precision = row.precision or storage.ledger.decide_precision(
        study_name, faster_precision(spec.search.precision, data, device)
    )
    failures = 0
    while not stopped() and not _time_is_up(storage, study_name):
        lease = storage.ledger.claim(study_name, worker)
        if lease is None:
            if not storage.ledger.open_leases(study_name):
                return
            time.sleep(POLL_S)  # the holders may die, and leave a trial to take over
            continue
        run = _Run(storage, spec, data, device, precision, stopped)
        failures = failures + 1 if run.trial_of(lease) == TrialState.FAIL else 0
        if failures == MAX_FAILURES_IN_A_ROW:
            raise TooManyFailures(f"{failures} trials in a row failed; see 'hpsearch status'")


def _time_is_up(storage: Storage, study_name: str) -> bool:
    row = storage.ledger.study(study_name)
    return row is None or (row.time_left_s is not None and row.time_left_s <= row.final_s)


class _Run:
    """What the trials of one worker have in common."""

    def __init__(
        self,
        storage: Storage,
        spec: StudySpec,
        data: SearchData,
        device: torch.device,
        precision: str,
        stopped: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._spec = spec
        self._data = data
        self._device = device
        self._precision = precision
        self._stopped = stopped

    def trial_of(self, lease: Lease) -> TrialState:
        """Run the trial of a lease to its end, or give the lease back; return the trial's state."""
        study = self._storage.load(
            self._spec.name, sampler_for(self._spec.search, lease.slot), pruner_for(self._spec.search)
        )
        trial_id = self._trial_id(study, lease)
        if study._storage.get_trial(trial_id).state.is_finished():
            self._storage.ledger.finish(lease)  # the worker before died between its last two words
            return TrialState.COMPLETE
        trial = Trial(study, trial_id)
        if lease.attempts > MAX_ATTEMPTS:
            return self._failed(study, trial, lease, f"{MAX_ATTEMPTS} workers died on this trial")
        trial.set_user_attr("worker", lease.worker)
        trial.set_user_attr("device", _device_name(self._device))
        with HeldLease(self._storage.ledger, lease) as held:
            return self._run(study, trial, held)

    def _run(self, study: optuna.Study, trial: Trial, held: HeldLease) -> TrialState:
        lease = held.lease

        def interrupted() -> bool:
            return self._stopped() or held.lost or held.time_is_up()

        try:
            value = objective(trial, self._spec, self._data, self._device, interrupted)
        except Interrupted:
            self._storage.ledger.give_back(lease)  # does nothing where the lease was lost
            return TrialState.RUNNING
        except optuna.TrialPruned as pruned:
            trial.set_user_attr("reason", str(pruned))
            return self._ended(study, trial, lease, TrialState.PRUNED, None)
        except Exception as error:  # whatever it was, it is recorded, and the worker goes on
            trial.set_user_attr("traceback", traceback.format_exc()[-4000:])
            return self._failed(study, trial, lease, f"{type(error).__name__}: {error}"[:1000])
        if held.lost:
            return TrialState.RUNNING
        self._ended(study, trial, lease, TrialState.COMPLETE, value)
        self._note_best(study, trial)
        return TrialState.COMPLETE

    def _failed(self, study: optuna.Study, trial: Trial, lease: Lease, reason: str) -> TrialState:
        trial.set_user_attr("reason", reason)
        logger.error("trial %d failed: %s", trial.number, reason)
        return self._ended(study, trial, lease, TrialState.FAIL, None)

    def _ended(
        self,
        study: optuna.Study,
        trial: Trial,
        lease: Lease,
        state: TrialState,
        value: float | None,
    ) -> TrialState:
        study.tell(trial, value, state=state, skip_if_finished=True)
        self._storage.ledger.finish(lease)
        return state

    def _note_best(self, study: optuna.Study, trial: Trial) -> None:
        """Keep as much of the study's time for the final training as the best trial took."""
        best = study.best_trial
        if best.number == trial.number:
            self._storage.ledger.set_final_s(
                self._spec.name, best.user_attrs["duration_s"] * FINAL_MARGIN + FINAL_START_S
            )

    def _trial_id(self, study: optuna.Study, lease: Lease) -> int:
        """Return the trial of a lease, made together with its slot, so that no slot has two."""
        if lease.trial_id is not None:
            return lease.trial_id
        for frozen in study.get_trials(deepcopy=False):
            if frozen.user_attrs.get("slot") == lease.slot:
                break  # the worker before died between making the trial and noting its id
        else:
            template = create_trial(
                state=TrialState.RUNNING,
                user_attrs={
                    "slot": lease.slot,
                    "seed": seed_of(self._spec.search.seed, lease.slot, stream=1),
                    "precision": self._precision,
                    "threads": torch.get_num_threads(),
                    "torch": version("torch"),
                },
                system_attrs={"fixed_params": given_params(self._spec, lease.slot)},
            )
            trial_id = study._storage.create_new_trial(study._study_id, template)
            self._storage.ledger.set_trial(lease, trial_id)
            return trial_id
        self._storage.ledger.set_trial(lease, frozen._trial_id)
        return frozen._trial_id


FINAL_MARGIN = 1.05  # the final training is the best trial's again; saving and measuring are quick
FINAL_START_S = 10.0  # a fresh process imports torch, and reads the data


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
