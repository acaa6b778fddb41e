"""Entering a study into the storage, finding it again, and rebuilding what its trials were."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from hpsearch.data.account import account_json
from hpsearch.data.prepared import Prepared
from hpsearch.errors import StudyMismatchError, StudyNotFoundError
from hpsearch.search.kinds import EXHAUSTED
from hpsearch.search.lineage import check_continues
from hpsearch.storage.confirmations import Confirmation
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.records import TrialRecord, trial_record
from hpsearch.storage.storage import Storage
from hpsearch.storage.stored_records import readable
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from
from hpsearch.study.tasks import WORDS, direction, rank


@dataclass(frozen=True)
class OpenStudy:
    """A study as it stands in the storage."""

    spec: StudySpec
    fingerprint: str
    data_summary: dict[str, Any]
    trials: list[FrozenTrial]
    held: frozenset[int]  # Optuna's ids of trials that a worker is at
    interrupted: frozenset[int]  # begun, not ended, and at present nobody's
    paused: frozenset[int] = frozenset()  # begun, and waiting for the study's scheduler
    confirmations: tuple[Confirmation, ...] = ()  # of finalists that were trained again
    attrs: Mapping[str, Any] = field(default_factory=dict)  # of the study, in Optuna's tables

    @cached_property
    def records(self) -> dict[int, TrialRecord]:
        """What workers wrote to the trials, by their numbers."""
        return {trial.number: trial_record(trial) for trial in self.trials}

    def record(self, trial: FrozenTrial) -> TrialRecord:
        """Return what workers wrote to one of its trials."""
        return self.records[trial.number]

    def in_state(self, state: TrialState) -> list[FrozenTrial]:
        """Return the trials in one of Optuna's states."""
        return [t for t in self.trials if t.state == state]

    def best(self) -> FrozenTrial | None:
        """Return the complete trial with the best test metric, None without a complete one."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[FrozenTrial]:
        """Return the complete trials, the one with the best test metric first.

        Of equals the one with fewer parameters comes first, then the earlier one.
        """
        return sorted(self.in_state(TrialState.COMPLETE), key=self._place)

    def _place(self, trial: FrozenTrial) -> tuple[float, int, int]:
        """Return what complete trials are ranked by; the least is the best."""
        parameters = self.records[trial.number].parameters or 0
        return rank(self.spec.metric, trial.value or 0.0), parameters, trial.number

    def best_in_turn(self) -> frozenset[int]:
        """Return the numbers of the complete trials that were the best one when they ended."""
        found, best = [], None
        for trial in sorted(self.in_state(TrialState.COMPLETE), key=ended_at):
            place = self._place(trial)
            if best is None or place < best:
                best = place
                found.append(trial.number)
        return frozenset(found)

    def config(self, trial: FrozenTrial) -> TrialConfig:
        """Return the complete configuration of a stored trial.

        Raises StudyNotFoundError where the trial's worker has not sampled it to the end yet.
        """
        try:
            return config_from(self.spec, self.fingerprint, trial)
        except (KeyError, ValueError):  # a parameter, or what a claim writes, is missing
            raise StudyNotFoundError(
                f"trial {trial.number} of '{self.spec.name}' has no configuration yet"
            ) from None

    def sampled(self) -> list[FrozenTrial]:
        """Return the trials whose configuration is complete: they have trained or been judged."""
        return [t for t in self.trials if self.record(t).parameters is not None]


def ended_at(trial: FrozenTrial) -> tuple[float, int]:
    """Return when a trial ended, and its number, for an order in which all have their place."""
    when = trial.datetime_complete
    return 0.0 if when is None else when.timestamp(), trial.number


def read_stored_study(storage: Storage, name: str) -> OpenStudy:
    """Return a study with all its trials; StudyNotFoundError names the studies there are.

    Raises UnreadableStudyError where another version, or another program, wrote any of it.
    """
    row = storage.row(name)
    spec = row.spec
    with readable(name, row.version):
        known = storage.known(name)
        trials, attrs = known.get_trials(deepcopy=False), known.user_attrs
        confirmations = tuple(storage.confirmations.of(name))
    begun = {id_of(t) for t in trials if not t.state.is_finished()}
    found = {b.trial_id: b for b in storage.pauses.begun(name) if b.trial_id in begun}
    held = frozenset(number for number, b in found.items() if b.is_held)
    paused = frozenset(n for n, b in found.items() if b.paused is not None) - held
    study = OpenStudy(
        spec=spec,
        fingerprint=row.fingerprint,
        data_summary=row.data_summary,
        trials=trials,
        held=held,
        interrupted=frozenset(found) - held - paused,
        paused=paused,
        confirmations=confirmations,
        attrs=attrs,
    )
    with readable(name, row.version):
        _ = study.records  # each is read: what is wrong with one is said here
    return study


def is_exhausted(storage: Storage, spec: StudySpec) -> bool:
    """Whether all configurations of a stored study's space were tried, under the same limits."""
    before = storage.row(spec.name).spec.search
    now = spec.search
    same = (before.limits(), before.trial_timeout) == (now.limits(), now.trial_timeout)
    return same and EXHAUSTED in storage.known(spec.name).user_attrs


def enter_study(
    storage: Storage,
    spec: StudySpec,
    prepared: Prepared,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Create a study, or make sure that the stored one of its name is the same study.

    `keep` is called for a new one, before any worker can see it, to store what belongs to it.

    Raises StudyMismatchError with every difference where it is another one, or where it continues
    a study on other data.
    """
    parts = _kept(storage, prepared)
    check_continues(storage, spec, prepared)
    row = storage.ledger.study(spec.name)
    if row is None:
        _enter_in_optuna(storage, spec)
        keep()
        entered = {
            "name": spec.name,
            "spec": spec.model_dump_json(),
            "identity": json.dumps(spec.identity()),
            "fingerprint": prepared.fingerprint,
            "data_summary": json.dumps(_summary(prepared)),
            "trials": spec.trial_budget(),
            "timeout_s": spec.search.timeout,
            "continues": spec.continues,
            **parts,
        }
        if storage.ledger.enter(entered):
            return
        row = storage.ledger.study(spec.name)
    if row is None:
        raise StudyNotFoundError(f"study '{spec.name}' was deleted while it was entered")
    # Read with today's defaults: what an earlier version could not yet ask for, it did not.
    differences = _differences(row.spec.identity(), spec.identity())
    if row.fingerprint != prepared.fingerprint and not any(
        d.startswith("data.") for d in differences
    ):
        differences.append(
            f"data: the content differs (fingerprint {row.fingerprint[:12]}, now "
            f"{prepared.fingerprint[:12]})"
        )
    if differences:
        raise StudyMismatchError(
            f"study '{spec.name}' exists in {storage.shown} with other settings, and scores of the "
            "two cannot be compared:\n  " + "\n  ".join(differences) + "\nGive the study a new "
            "name, or put these back as they were"
        )
    if parts:
        storage.ledger.set_examples(spec.name, parts["searched_examples"], parts["sealed_examples"])
    if spec.continues is not None:
        storage.ledger.set_continues(spec.name, spec.continues)
    stored = row.spec
    if stored.final != spec.final:  # of a search that is over, too
        asked = stored.model_copy(update={"final": spec.final})
        storage.ledger.set_spec(spec.name, asked.model_dump_json())


def _kept(storage: Storage, prepared: Prepared) -> dict[str, str]:
    """Keep which examples the parts of prepared data hold; return the digests for a study's row."""
    if prepared.contents is None:
        return {}
    return {
        "searched_examples": storage.examples.keep(prepared.contents.searched),
        "sealed_examples": storage.examples.keep(prepared.contents.sealed),
    }


def _summary(prepared: Prepared) -> dict[str, Any]:
    """Return what reports tell of the data, from wherever they are made."""
    return {
        "task": prepared.task,
        "outputs": prepared.outputs,
        "counts": prepared.counts,
        "totals": prepared.totals,
        "groups": [len(names) for names in prepared.groups],
        "account": account_json(prepared.account.shortened()),
    }


def _enter_in_optuna(storage: Storage, spec: StudySpec) -> None:
    """Create Optuna's study, or take what a crash in the middle of entering left of it.

    Trials of ours without a study of ours are what a deletion that was cut short has left.
    """
    way = direction(spec.metric)
    study = optuna.create_study(
        storage=storage.optuna, study_name=spec.name, direction=way, load_if_exists=True
    )
    trials = study.get_trials(deepcopy=False)
    foreign = any("slot" not in trial.user_attrs for trial in trials)
    if trials and not foreign and storage.ledger.study(spec.name) is None:
        storage.delete_leftover(spec.name)
        _enter_in_optuna(storage, spec)
        return
    if foreign or [d.name.lower() for d in study.directions] != [way]:
        raise StudyMismatchError(
            f"{storage.shown} holds a study '{spec.name}' that hpsearch did not make; give yours "
            "another name"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(
            [f"test {WORDS[spec.metric]}"]
        )  # the dashboard then says what it plots


def _differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{key}: was {json.dumps(was.get(key))}, now {json.dumps(now.get(key))}"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]
