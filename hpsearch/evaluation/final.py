"""The final: the chosen configuration trained again, and the validation split opened for it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from hpsearch.data.digests import verify
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import ProcessDiedError
from hpsearch.evaluation.calibration import temperature
from hpsearch.evaluation.final_order import (
    INTERRUPTED,
    LOST,
    MEASURED,
    MODEL,
    Order,
    beside,
    has_time,
)
from hpsearch.evaluation.judged import compared, judged
from hpsearch.evaluation.model_file import save_model
from hpsearch.evaluation.networks import Trained, read_baseline, run_baseline, train_for_final
from hpsearch.evaluation.places import sha256_of, take_place
from hpsearch.evaluation.seal import seal_of
from hpsearch.evaluation.search_luck import confirmed, search_luck
from hpsearch.evaluation.stall import Stall
from hpsearch.machine.children import LISTEN_S, SPAWN, Tell, in_child, user_name
from hpsearch.machine.stopping import stop_signals
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.final_record import ConfigRecord, FinalRecord
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.leases import MAX_ATTEMPTS, LeaseLostError
from hpsearch.storage.storage import Storage, opened_storage


@dataclass
class _Final:
    """What the process of a final has at hand."""

    tell: Tell
    order: Order
    storage: Storage
    study: OpenStudy
    data: SearchData
    held: HeldLease
    stopped: Callable[[], bool]
    beat: Any

    def interrupted(self) -> bool:
        """Whether this process has to stop; it says by asking that it is alive."""
        self.beat.value += 1
        return self.stopped() or self.held.why_stop() is not None


def run_final(
    tell: Tell, order: Order, beat: Any, with_baseline: bool, answer: Connection | None
) -> str:
    """Train the choice, measure it on validation, write down all that was found; say how it ended.

    With a baseline, two networks are trained before the seal is opened, once for both; `answer`
    tells of the one that another process trains meanwhile. What is written under `order.folder`
    takes its place when the opening is this lease's. Runs in a process of its own, that holds the
    lease: it waits for the database, and gives the lease back when it is asked to stop.
    """
    stopped = stop_signals()

    def alive() -> bool:
        beat.value += 1
        return stopped()

    try:
        with (
            opened_storage(order.storage_url, gives_up=alive, waits_to_open=True) as storage,
            HeldLease(storage.leases, order.lease) as held,
        ):
            verify(order.prepared)  # all of it, before anything is trained or opened
            study = read_stored_study(storage, order.lease.study)
            data = load_search_data(order.prepared)
            final = _Final(tell, order, storage, study, data, held, stopped, beat)
            ended = _trained_and_measured(final, with_baseline, answer)
            if ended == INTERRUPTED:
                storage.leases.give_back(order.lease)
            return LOST if ended == INTERRUPTED and held.lost else ended
    except LeaseLostError:
        return LOST


def _trained_and_measured(final: _Final, with_baseline: bool, answer: Connection | None) -> str:
    order, data = final.order, final.data

    class Held:  # the lease, kept by a thread, and a sign of life for the process that watches
        lost = property(lambda self: final.held.lost)

        def batch_over(self) -> None:
            final.beat.value += 1
            final.held.batch_over()

        def epoch_over(self) -> None:
            final.held.epoch_over()

        def why_stop(self) -> str | None:
            return final.held.why_stop()

    choice = train_for_final(final.tell, order, data, Held(), final.stopped)
    if choice is None:
        return INTERRUPTED
    temperature = _temperature(choice, order, data)
    save_model(order.weights, choice.model, choice.config, data, temperature)
    trial = beside(final.study, order.trial) if with_baseline else None
    found = None if trial is None else _baseline(final, trial, answer)
    if found is None and trial is not None:
        return INTERRUPTED
    baseline: Trained | str | None = found if isinstance(found, str) else None
    if trial is not None and isinstance(found, dict):
        baseline = read_baseline(_beside(order, final.study, trial), found, data)
    return _measured(final, choice, temperature, baseline, trial)


def _measured(
    final: _Final,
    choice: Trained,
    temperature: float | None,
    baseline: Trained | str | None,
    trial: FrozenTrial | None,
) -> str:
    """Open validation and say what it shows; LeaseLostError where it is another's to open."""
    order, data, storage = final.order, final.data, final.storage
    compares = isinstance(baseline, Trained) and trial is not None
    besides = f"; beside it the default configuration, trial {trial.number}" if compares else ""  # type: ignore[union-attr]
    opening_id = _opened(storage, order, data, besides)
    sealed = open_sealed(order.prepared)
    beside_it = None
    if trial is not None:
        parts = final.study.record(trial).micro_batches
        beside_it = compared(baseline, trial.number, parts, choice, sealed, data)
    found = judged(choice, sealed, data, temperature, order.place)
    result = FinalRecord(
        **dict(choice.scores),
        trial=order.trial,
        outputs=list(data.outputs),
        **{name: value for name, value in vars(found).items() if value is not None},
        search=search_luck(final.study, choice.scores.test, len(data.test)),
        confirm=confirmed(final.study, order.trial),
        baseline=beside_it,
        config=ConfigRecord.model_validate(choice.config.model_dump()),
        weights=f"{socket.gethostname()}:{(order.folder / MODEL).absolute()}",
        weights_sha256=sha256_of(order.weights),
    )
    storage.openings.write_result(opening_id, result, order.lease)
    take_place(order.place, order.folder, result)
    return MEASURED


def _temperature(choice: Trained, order: Order, data: SearchData) -> float | None:
    """Return the temperature fitted on **test**, None where none is asked for."""
    if not order.asked.temperature or choice.test_predictions is None:
        return None
    return temperature(choice.test_predictions.cpu().numpy(), np.asarray(data.test.targets))


def _opened(storage: Storage, order: Order, data: SearchData, besides: str) -> int:
    """Return the id of the opening that this lease may measure, written now or begun before.

    Decided again where anybody opened validation between the look and the writing. Raises SealError
    and LeaseLostError.
    """
    study, who = order.lease.study, f"{user_name()}@{socket.gethostname()}"
    made_at = storage.ledger.made_at().get(study)
    while True:
        newest = storage.openings.newest()
        seal = seal_of(storage, study)
        unfinished = seal.to_go_on_with(order.trial, order.open_again)
        if unfinished is not None:
            storage.openings.go_on(order.lease)
            return unfinished.id
        why = "asked for with --open-again" if seal.looks else "final choice"
        purpose = f"{study} {made_at!r} {order.trial} {len(seal.mine)}"
        made = storage.openings.open(
            order.lease,
            hashlib.sha256(purpose.encode()).hexdigest(),
            newest,
            data.fingerprint,
            order.trial,
            who,
            why + besides,
            order.config,
        )
        if made is not None:
            return made


def _beside(order: Order, study: OpenStudy, trial: FrozenTrial) -> Order:
    return replace(order, trial=trial.number, config=study.config(trial), is_baseline=True)


def _heard(final: _Final, answer: Connection | None) -> dict[str, Any] | str | None:
    """Return what the process beside this one says of the baseline, None where it comes to none.

    It died, which its end of the line tells, or its weights could not be written.
    """
    while answer is not None and not final.interrupted():
        try:
            if answer.poll(LISTEN_S):
                found: dict[str, Any] | str | None = answer.recv()
                return found
        except (EOFError, OSError):
            return None
    return None


def _baseline(
    final: _Final, trial: FrozenTrial, answer: Connection | None
) -> dict[str, Any] | str | None:
    """Return what came of the baseline, None where this process has to stop.

    It was trained meanwhile in a process beside this one, which `answer` hears of; or, where that
    died, hung or failed and where networks share a device, it is trained now, in a process of its
    own as well.
    """
    found = _heard(final, answer)
    if found is not None or final.interrupted():
        return found
    if not has_time(final.storage, final.study, trial):
        return "the study's timeout leaves no time for it"
    order = _beside(final.order, final.study, trial)
    for _ in range(MAX_ATTEMPTS):
        try:
            return _trained_in_child(final, order)
        except KeyboardInterrupt:
            return None
        except ProcessDiedError as error:
            last = str(error)
    return f"{MAX_ATTEMPTS} processes died on it, one after the other: {last}"


def _trained_in_child(final: _Final, order: Order) -> dict[str, Any] | str | None:
    """Return what came of the baseline; ProcessDiedError where its process died or hung."""
    beat = SPAWN.Value("L", 0, lock=False)
    stall = Stall(beat, final.study.spec.search.stall_timeout)

    def interrupted() -> bool:
        hung = stall.why()
        if hung is not None:
            raise ProcessDiedError(hung)
        return final.interrupted()

    found: dict[str, Any] | str | None = in_child(
        run_baseline, order, beat, None, threads=order.config.threads,
        hear=lambda epoch: final.tell(epoch | {"baseline": True}), interrupted=interrupted,
    )  # fmt: skip
    return found
