"""Logging: one line per event, as text or as JSON, never with a password in it."""

from __future__ import annotations

import logging
import os
import sys

from pythonjsonlogger.json import JsonFormatter

from hpsearch.errors import HpsearchError
from hpsearch.storage.url import without_secrets
from hpsearch.study.names import plain

FORMATS = ("text", "json")
FORMAT_VARIABLE = "HPSEARCH_LOG"


class _Redacted(logging.Filter):
    """Takes passwords out of a record, its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), None
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text, record.exc_info = without_secrets(trace), None
        return True


class _Lines(logging.Formatter):
    """A line for each event: no name in it begins another, or is obeyed by a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name it has there
        return plain(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record), lines=True)


def set_up_logging(level: int, dated: bool = False) -> None:
    """Send what hpsearch logs from `level` on to stderr, in the format that HPSEARCH_LOG names.

    Text lines carry the time where `dated`. Raises HpsearchError for an unknown format.
    """
    wanted = os.environ.get(FORMAT_VARIABLE) or "text"
    if wanted not in FORMATS:
        raise HpsearchError(f"{FORMAT_VARIABLE}: unknown format '{wanted}'; use text or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Redacted())
    if wanted == "json":
        handler.setFormatter(
            JsonFormatter(
                "{asctime}{levelname}{name}{message}{process}",
                style="{",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    else:
        handler.setFormatter(
            _Lines("%(asctime)s %(levelname)-7s %(message)s" if dated else "%(message)s")
        )
    ours = logging.getLogger("hpsearch")
    ours.handlers[:] = [handler]
    ours.setLevel(level)
    ours.propagate = False
