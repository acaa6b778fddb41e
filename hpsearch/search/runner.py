"""Running the trials of one study: each from its lease to its end, whatever happens to it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hpsearch.data.prepared import SearchData
from hpsearch.models.cost import Cost, cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import Infeasible, device_memory_bytes, infeasible
from hpsearch.search import outcomes as endings
from hpsearch.search.affordable import Affordable, OutOfTime
from hpsearch.search.attempt import Attempt, Ended, device_name, in_parts
from hpsearch.search.baseline import (
    BASELINE_SLOT,
    baseline_of,
    trained_at_once,
    whole_training_s,
)
from hpsearch.search.decisions import Pause, Stop
from hpsearch.search.keys import key_of
from hpsearch.search.kinds import PAUSED
from hpsearch.search.known import Known, end_if_exhausted
from hpsearch.search.latencies import slow
from hpsearch.search.objective import Objective, too_weak
from hpsearch.search.reserve import confirm_time_s, final_time_s
from hpsearch.search.samplers import given_params, sampler_for, seed_of
from hpsearch.search.scheduler import scheduler_for
from hpsearch.search.scheduling import Scheduling
from hpsearch.search.starts import Start, starts_in
from hpsearch.search.warm_start import TaughtSampler, imported
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.leases import MAX_ATTEMPTS, Lease, LeaseLostError
from hpsearch.storage.optuna_private import id_of, seen_as, study_id_of
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from

logger = logging.getLogger(__name__)

LONGEST_REASON, LONGEST_TRACEBACK = 1000, 4000  # characters


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials of one study on one device, as the worker of a name."""

    worker: str
    storage: Storage
    spec: StudySpec
    data: SearchData
    device: torch.device
    precision: str
    threads: int
    checkpoints: Checkpoints
    stopped: Callable[[], bool]
    epoch_over: Callable[[], None] = lambda: None

    @cached_property
    def scheduling(self) -> Scheduling:
        """The study's scheduler."""
        scheduler = scheduler_for(self.spec.search)
        return Scheduling(self.storage, self.spec, scheduler, self.device.type)

    @cached_property
    def affordable(self) -> Affordable:
        """What the study can afford on this device."""
        pauses = self.scheduling.pauses
        return Affordable.of(self.storage, self.spec, self.data, self.device, pauses)

    @cached_property
    def starts(self) -> list[Start] | None:
        """What the study tries first; None where an earlier version entered it."""
        return starts_in(self.storage, self.spec.name)

    @cached_property
    def taught(self) -> list[FrozenTrial]:
        """An earlier study's trials that teach the sampler."""
        return imported(self.storage, self.spec)

    @cached_property
    def known(self) -> Known:
        """What the study's trials have tried."""
        return Known(self.spec, self.data.fingerprint)

    def claim(self, edition: float) -> Lease | None:
        """Return a lease on what is to be done; None where that is nothing for now.

        Where all configurations of the space are tried or at work, none begins any more.
        """
        if self.known.ends:
            end_if_exhausted(self.storage, self.known)
        return self.scheduling.claim(self.worker, edition)

    def run(self, lease: Lease) -> TrialState:
        """Run the trial of a lease until it ends or waits, or give the lease back.

        Returns the trial's state, RUNNING for one that has not ended.
        """
        pruner = self.scheduling.scheduler.pruner
        sampler = sampler_for(self.spec.search, lease.slot)
        if self.taught:
            sampler = TaughtSampler(sampler, self.taught)
        study = self.storage.known(self.spec.name, sampler, pruner)
        study = seen_as(study, self.scheduling.seen_by_samplers)
        trial_id = self._trial_id(study, lease)
        with self.storage.optuna.held(trial_id, lease):
            return self._run(study, trial_id, lease)

    def _run(self, study: optuna.Study, trial_id: int, lease: Lease) -> TrialState:
        state = self.storage.optuna.get_trial(trial_id).state
        if state.is_finished():  # the worker before died between its last two words
            self.storage.leases.finish(lease)
            return state
        trial = Trial(study, trial_id)
        if lease.attempts > MAX_ATTEMPTS:
            reason = f"{MAX_ATTEMPTS} workers died on this trial, one after the other"
            return endings.fail(self.storage, trial, lease, reason)
        if lease.paused is not None:
            endings.resume(self.storage, trial, lease)
        elif trial.user_attrs.get(PAUSED) is not None:  # its worker died while it paused it
            note(trial, TrialNotes(paused=None))
        logger.info(
            "trial %d of '%s' begins",
            trial.number,
            self.spec.name,
            extra=endings.event("trial begins", lease, trial),
        )
        self._note_worker(trial)
        with HeldLease(self.storage.leases, lease) as held:
            return self._train(trial, held)

    def _train(self, trial: Trial, held: HeldLease) -> TrialState:
        attempt: Attempt | None = None
        try:
            trial, equal = self.known.asked(trial)
            if equal is not None:
                return endings.known(self.storage, trial, held.lease, equal)
            config = config_from(self.spec, self.data.fingerprint, trial)
            found = self._misfit(trial, config)
            if found is not None and found.in_parts:
                config = self._in_parts(trial, config)
                found = self._misfit(trial, config)
            if found is not None:
                why, what, over = found.reason, found.what, found.over
                return endings.prune(self.storage, trial, held.lease, why, what, over=over)
            objective = Objective(trial, config, self.scheduling)
            attempt = self._attempt(trial, held, objective)
            ended = attempt.train(config)
            whole = None if ended is None else ended.training
            value = None if whole is None else objective.value(whole)
        except UpdateFinishedTrialError:  # the lease ran out in an outage, and another was quicker
            logger.info(
                "trial %d of '%s' was ended by another worker", trial.number, self.spec.name
            )
            return self.storage.optuna.get_trial(id_of(trial)).state
        except (*DATABASE_ERRORS, LeaseLostError):
            raise  # not the trial's fault: another worker takes it over, or has
        except Exception as error:  # whatever it was, it is recorded, and the worker goes on
            state = self._failed(trial, held, error)
            if attempt is not None:
                attempt.drop(config)
            return state
        return self._ended(trial, held, ended, value)

    def _attempt(self, trial: Trial, held: HeldLease, objective: Objective) -> Attempt:
        return Attempt(
            self.data,
            self.device,
            held,
            self.checkpoints,
            self.spec.name,
            held.lease.training,
            self.stopped,
            self.spec.search.trial_timeout,
            self.epoch_over,
            objective.hear,
            known=objective.known,
            after_epoch=lambda epoch: self.affordable.in_time(trial, objective.after_epoch(epoch)),
            cut=lambda config: note(trial, TrialNotes(micro_batches=config.micro_batches)),
            called=f"trial {trial.number} of '{self.spec.name}'",
            event=endings.event("trial given back", held.lease, trial),
        )

    def _misfit(self, trial: Trial, config: TrialConfig) -> Infeasible | None:
        """Return why a trial is known not to fit, None where it is to be trained."""
        network_cost = self._note_cost(trial, config)
        memory = device_memory_bytes(self.device, config.threads)
        search = self.spec.search
        found = infeasible(network_cost, config, search, memory)
        found = found or slow(trial, search, config, self.data, self.device)
        return found or self.affordable.misfit(trial, config, network_cost)

    def _in_parts(self, trial: Trial, config: TrialConfig) -> TrialConfig:
        """Return a configuration with a batch in parts, for one that is too large as a whole."""
        smaller = in_parts(config)
        assert smaller is not None
        logger.warning(
            "trial %d of '%s' needs too much memory; a batch in %d parts",
            trial.number,
            self.spec.name,
            smaller.micro_batches,
        )
        note(trial, TrialNotes(micro_batches=smaller.micro_batches))
        return smaller

    def _ended(
        self, trial: Trial, held: HeldLease, ended: Ended | None, value: float | None
    ) -> TrialState:
        """Say how the training of a trial ended, or give it back; return the trial's state."""
        lease, decision = held.lease, None if ended is None else ended.decision
        if ended is None:
            self.storage.leases.give_back(lease)  # does nothing where the lease was lost
            return TrialState.RUNNING
        if isinstance(decision, Pause):
            epoch = len(ended.epochs)
            return endings.pause(self.storage, trial, lease, epoch, decision.until)
        if value is not None:
            self._note_memory(trial)
            state = endings.complete(self.storage, trial, lease, value)
            self._keep_time(trial)
        elif isinstance(decision, Stop):
            reason = too_weak(ended.config, ended.epochs[-1], decision.judge)
            reason = decision.reason if isinstance(decision, OutOfTime) else reason
            state = endings.prune(self.storage, trial, lease, reason)
        else:
            assert ended.reason is not None
            lacks, diverged = ended.infeasible, ended.infeasible is None
            state = endings.prune(self.storage, trial, lease, ended.reason, lacks, diverged)
        self.checkpoints.drop(self.spec.name, lease.training, ended.config)
        return state

    def _failed(self, trial: Trial, held: HeldLease, error: Exception) -> TrialState:
        reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        trace = traceback.format_exc()[-LONGEST_TRACEBACK:]
        return endings.fail(self.storage, trial, held.lease, reason, trace)

    def _note_worker(self, trial: Trial) -> None:
        """Record who runs a trial that another worker began."""
        ours = self._about_worker()
        if trial.user_attrs["torch"] != ours["torch"]:
            ours["torch_later"] = ours["torch"]
        del ours["torch"]
        if any(trial.user_attrs.get(key) != value for key, value in ours.items()):
            note(trial, ours)

    def _about_worker(self) -> TrialNotes:
        device = device_name(self.device)
        return TrialNotes(worker=self.worker, device=device, torch=version("torch"))

    def _note_cost(self, trial: Trial, config: TrialConfig) -> Cost:
        network_cost = cost(config, ImageShape(*self.data.image_shape), len(self.data.outputs))
        note(
            trial,
            TrialNotes(
                parameters=network_cost.parameters,
                forward_flops=network_cost.forward_flops,
                key=key_of(config),
            ),
        )
        return network_cost

    def _note_memory(self, trial: Trial) -> None:
        """Record what a trial took of a GPU, for whoever decides how many workers it holds."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_reserved(self.device)
            total = torch.cuda.get_device_properties(self.device).total_memory
            note(trial, TrialNotes(peak_memory_bytes=peak, device_memory_bytes=total))

    def _keep_time(self, trial: Trial) -> None:
        """Keep of the study's time what follows the search: the best trial's training once more,
        the baseline's beside it, and all trainings of finalists, as many at a time as trials are
        at work now."""
        study, spec = trial.study, self.spec
        best = study.best_trial
        if trial.number != best.number and trial.user_attrs["slot"] != BASELINE_SLOT:
            return
        took_s, confirm_s = best.user_attrs["duration_s"], 0.0
        if spec.search.timeout is not None and spec.candidates():
            held, _ = self.storage.leases.unfinished(spec.name)
            trainings = spec.candidates() * spec.confirm.seeds
            at_work = 1 + len(held - {id_of(trial)})
            timeout_s, is_planned = spec.search.timeout, spec.search.is_planned
            confirm_s = confirm_time_s(took_s, trainings, at_work, timeout_s, is_planned)
        beside_s, baseline = None, baseline_of(spec, study.get_trials(deepcopy=False))
        if spec.final.baseline and baseline is not None and baseline.number != best.number:
            beside_s = whole_training_s(spec, baseline)
        final_s = final_time_s(took_s, beside_s, trained_at_once(self.device.type))
        self.storage.ledger.set_final_s(spec.name, final_s, confirm_s)

    def _trial_id(self, study: optuna.Study, lease: Lease) -> int:
        """Return Optuna's trial of a lease; it is made knowing its slot, so no slot has two."""
        if lease.trial_id is not None:
            study.get_trials(deepcopy=False)  # Optuna's cache knows no trial that it has not read
            return lease.trial_id

        def find_or_make() -> int:  # as a whole, for the first try may have made it unheard
            if lease.attempts > 1 or tries:
                for trial in study.get_trials(deepcopy=False):
                    if trial.user_attrs.get("slot") == lease.slot:
                        return id_of(trial)
            tries.append(True)
            return self.storage.optuna.create_new_trial(study_id_of(study), self._template(lease))

        tries: list[bool] = []
        trial_id = self.storage.retry.call(find_or_make)
        self.storage.leases.set_trial(lease, trial_id)
        return trial_id

    def _template(self, lease: Lease) -> optuna.trial.FrozenTrial:
        notes = TrialNotes(
            slot=lease.slot,
            seed=seed_of(self.spec.search.seed, lease.slot, stream=1),
            precision=self.precision,
            threads=self.threads,
            **self._about_worker(),
        )
        given = given_params(self.spec, lease.slot, with_idle=self.starts is None)
        if self.starts is not None and self.spec.search.sampler.name != "grid":
            start = next(iter(self.starts[lease.slot : lease.slot + 1]), None)
            given = {} if start is None else start.params
            if start is not None:
                notes["start"] = start.origin
        return create_trial(
            state=TrialState.RUNNING,
            user_attrs=dict(notes),
            system_attrs={"fixed_params": given},
        )
