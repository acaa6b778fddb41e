"""Orders to a study from outside: pause, resume, stop, finish, delete."""

from __future__ import annotations

import socket

from hpsearch.errors import StudyStateError
from hpsearch.machine.children import user_name
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, OPEN, PAUSED, STOPPED
from hpsearch.study.spec import is_name


def pause(storage: Storage, name: str) -> None:
    """Let no trial of a study go on; those at work are kept and given back within seconds."""
    _unless_done(storage, name)
    storage.ledger.set_state(name, PAUSED, f"by {_who()}")


def stop(storage: Storage, name: str) -> None:
    """End a search: as `pause`, but whoever waits for the study stops waiting."""
    _unless_done(storage, name)
    storage.ledger.set_state(name, STOPPED, f"by {_who()}")


def resume(storage: Storage, name: str) -> None:
    """Let a paused or stopped study go on."""
    _unless_done(storage, name)
    storage.ledger.set_state(name, OPEN)


def finish(storage: Storage, name: str) -> None:
    """Begin no more trials of a study; it is over, and concluded, when those begun have ended."""
    _unless_done(storage, name)
    storage.ledger.close_budget(name)
    storage.ledger.set_state(name, OPEN)


def delete(storage: Storage, name: str, checkpoints: Checkpoints) -> None:
    """Delete a study, its trials and its checkpoints. Whoever is at work on it loses the lease.

    A stored name that no study may have came from elsewhere: it has no checkpoints.
    """
    storage.delete_study(name)
    if is_name(name):
        checkpoints.drop_study(name)


def _unless_done(storage: Storage, name: str) -> None:
    if storage.row(name).state == DONE:
        raise StudyStateError(f"study '{name}' is done; launch it with more --trials to search on")


def _who() -> str:
    return f"{user_name()}@{socket.gethostname()}"
