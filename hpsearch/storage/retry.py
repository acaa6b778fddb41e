"""Waiting for a database that does not answer, instead of dying with it."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
REMIND_EVERY_S = 60.0
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError)
PASSING = ("OperationalError", "ReadOnlySqlTransaction")  # the second: a standby, to be promoted
# How a server that is there turns a client away; psycopg gives no code with it.
REFUSALS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|"
    r"(database|role) \".*\" does not exist"
)


def _at_once() -> bool:
    return True


class Retry:
    """How long to wait for a database: until `gives_up()` turns true; by default not at all."""

    def __init__(self, shown: str, gives_up: Callable[[], bool] = _at_once) -> None:
        self.shown = shown  # the storage's URL without its password
        self._gives_up = gives_up

    def call(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt()` returns, tried again after errors that pass by themselves.

        What is tried has to be one transaction that may be repeated: its first try may have been
        carried out without our hearing of it.
        """
        began = reminded = time.monotonic()
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = attempt()
            except DATABASE_ERRORS as error:
                if self._gives_up() or not passes(error):
                    raise
                now = time.monotonic()
                if pause_s == FIRST_PAUSE_S or now - reminded > REMIND_EVERY_S:
                    reminded = now
                    logger.warning("%s: %s; waiting for it", self.shown, first_cause(error))
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                if pause_s != FIRST_PAUSE_S:
                    logger.warning("%s answers after %.0f s", self.shown, time.monotonic() - began)
                return result


class _Retrying(Protocol):
    @property
    def retry(self) -> Retry: ...


Self = TypeVar("Self", bound=_Retrying)


def retried(
    method: Callable[Concatenate[Self, P], T],
) -> Callable[Concatenate[Self, P], T]:
    """Make a method wait as its object's `retry` says."""

    @functools.wraps(method)
    def waiting(self: Self, *arguments: P.args, **named: P.kwargs) -> T:
        return self.retry.call(lambda: method(self, *arguments, **named))

    return waiting  # type: ignore[return-value]  # mypy takes no method for a function of one


class RetryingStorage(RDBStorage):
    """Optuna's storage, waiting out an outage. Creating a trial is left out: see `trials.py`."""

    def __init__(self, url: str, retry: Retry, **options: Any) -> None:
        self.retry = retry
        super().__init__(url, **options)

    def __getstate__(self) -> dict[Any, Any]:
        """A copy in another process cannot ask whether ours gives up; it does not wait."""
        return super().__getstate__() | {"retry": Retry(self.retry.shown)}


# All that a TrialStore asks of its backend; each may be repeated without harm.
for _name in (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "set_trial_state_values",
):
    setattr(RetryingStorage, _name, retried(getattr(RDBStorage, _name)))


def causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it came from, the first cause last."""
    found = [error]
    while (cause := getattr(found[-1], "orig", None) or found[-1].__cause__) is not None:
        found.append(cause)
    return found


def first_cause(error: BaseException) -> str:
    """Return in a line what lies at the bottom of an error."""
    cause = causes(error)[-1]
    said = str(cause).strip().splitlines()
    return said[0] if said else type(cause).__name__


def passes(error: BaseException) -> bool:
    """Whether an error of the database goes away by itself, or with a little help from outside.

    A server that restarts, a connection that was cut, a lock held by another, a full disk.
    """
    for cause in causes(error):
        if getattr(cause, "connection_invalidated", False):
            return True
        kind = type(cause)
        if kind.__module__.startswith("psycopg"):
            return any(k.__name__ in PASSING for k in kind.__mro__)
        if kind.__module__ == "sqlite3":
            return any(word in str(cause) for word in ("locked", "busy", "disk is full"))
    return False


def refuses(error: BaseException) -> bool:
    """Whether a server answers and turns us away, which no waiting mends."""
    return any(REFUSALS.search(str(cause)) for cause in causes(error))
