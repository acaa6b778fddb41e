"""Watching over the processes that train a final: the choice, and the baseline beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import connection
from typing import Any

from hpsearch.errors import ProcessDiedError
from hpsearch.evaluation.final_order import Order, beside, has_time
from hpsearch.evaluation.stall import Stall
from hpsearch.machine.children import LISTEN_S, SPAWN, STOP_GRACE_S, Child, is_processor
from hpsearch.search.baseline import trained_at_once
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.storage import Storage

RUN_FINAL = "hpsearch.evaluation.final:run_final"  # imported by its process alone, with torch
RUN_BASELINE = "hpsearch.evaluation.networks:run_baseline"

logger = logging.getLogger(__name__)


def train_and_measure(
    storage: Storage,
    study: OpenStudy,
    order: Order,
    hear: Callable[[dict[str, Any]], None],
    interrupted: Callable[[], bool],
) -> str:
    """Return how the final of an order ended (see `final_order`), run in processes of its own.

    On a CPU with two cores the baseline is trained beside the choice, and both begin at once.
    Raises the errors of the choice's process, ProcessDiedError where it was killed or hung, and
    KeyboardInterrupt.
    """
    trial = beside(study, order.trial)
    at_once = trial is not None and _at_once(order) and has_time(storage, study, trial)
    receiver, sender = SPAWN.Pipe(duplex=False) if at_once else (None, None)
    beats = [SPAWN.Value("L", 0, lock=False) for _ in range(2)]
    limit_s = study.spec.search.stall_timeout
    watched: list[Child] = []
    stalls: list[Stall] = []
    try:
        choice = Child(
            RUN_FINAL, order, beats[0], trial is not None, receiver,
            threads=order.config.threads, deaf=False, hear=hear,
        )  # fmt: skip
        watched.append(choice)
        stalls.append(Stall(beats[0], limit_s))
        if at_once and trial is not None:
            config = study.config(trial)
            of = replace(order, trial=trial.number, config=config, is_baseline=True)
            baseline = Child(
                RUN_BASELINE, of, beats[1], sender, threads=config.threads, deaf=False,
                hear=lambda epoch: hear(epoch | {"baseline": True}),
            )  # fmt: skip
            watched.append(baseline)
            stalls.append(Stall(beats[1], limit_s))
        for end in (receiver, sender):  # theirs alone now: one hears when the other dies
            if end is not None:
                end.close()
        while not choice.over:
            connection.wait([c.receiver for c in watched if not c.over], LISTEN_S)
            for child, stall in zip(watched, stalls, strict=True):
                hung = None if child.listen() else stall.why()
                if hung is not None:
                    _end_hung(child, hung, study.spec.name, is_choice=child is choice)
            if interrupted():
                raise KeyboardInterrupt
        return str(choice.result())
    except KeyboardInterrupt:
        choice.stop(STOP_GRACE_S)
        raise
    finally:
        for child in watched:
            child.kill()


def _end_hung(child: Child, hung: str, study: str, is_choice: bool) -> None:
    """End a process that hangs; raise ProcessDiedError for the choice, which is to begin again."""
    if is_choice:
        raise ProcessDiedError(hung)
    logger.warning("study '%s', its baseline: %s", study, hung)
    child.process.kill()


def _at_once(order: Order) -> bool:
    """Whether choice and baseline are trained at the same time; torch is not loaded for it."""
    return trained_at_once("cpu" if is_processor(order.device) else order.device)
