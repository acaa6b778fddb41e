"""Logs: a line for each event, as text or as JSON, never with a password in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from hpsearch.errors import HpsearchError
from hpsearch.machine.logs import set_up_logging

URL = "postgresql://me:s3cret@db.example/hpsearch"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    ours = logging.getLogger("hpsearch")
    before = ours.handlers[:], ours.level, ours.propagate
    yield
    ours.handlers[:], ours.propagate = before[0], before[2]
    ours.setLevel(before[1])


def log_an_error() -> None:
    try:
        raise ValueError(f"cannot reach {URL}")
    except ValueError:
        logging.getLogger("hpsearch.test").exception("at %s", URL, extra={"study": "digits"})


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_password_is_logged_not_even_in_a_traceback(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_LOG", form)
    set_up_logging(logging.INFO, dated=True)
    log_an_error()
    said = capsys.readouterr().err
    assert "s3cret" not in said
    assert said.count("me:***@db.example") == 2, "message and traceback"
    assert "Traceback" in said


def test_json_is_an_object_a_line_with_the_fields_of_the_event(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_LOG", "json")
    set_up_logging(logging.INFO)
    log_an_error()
    logging.getLogger("hpsearch.test").info("trial %d ended", 7, extra={"trial": 7})
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first["level"] == "ERROR" and first["study"] == "digits"
    assert second["message"] == "trial 7 ended" and second["trial"] == 7


def test_a_name_begins_no_line_and_is_obeyed_by_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_LOG", "text")
    set_up_logging(logging.INFO)
    name = "cat\n2026-01-01 INFO trial 7 ended\x1b[2J\u202e"
    try:
        raise ValueError(f"{name} again")
    except ValueError:
        logging.getLogger("hpsearch.test").exception("class '%s'", name)
    said = capsys.readouterr().err
    assert said.splitlines()[0] == f"class '{name.encode('unicode_escape').decode()}'"
    assert not {"\x1b", "\u202e"} & set(said)
    assert "Traceback" in said.splitlines()[1], "a traceback keeps its lines"


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(logging.WARNING)
    logging.getLogger("hpsearch.test").info("a detail")
    logging.getLogger("hpsearch.test").warning("a matter")
    assert capsys.readouterr().err == "a matter\n"


def test_an_unknown_format_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPSEARCH_LOG", "xml")
    with pytest.raises(HpsearchError, match="unknown format 'xml'; use text or json"):
        set_up_logging(logging.INFO)
