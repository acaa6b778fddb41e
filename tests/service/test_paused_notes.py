"""In optuna-dashboard a paused trial has a note, for as long as it is paused."""

from __future__ import annotations

import json
from typing import Any
from wsgiref.util import setup_testing_defaults

from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter
from optuna_dashboard import wsgi

from hpsearch.search import outcomes as endings
from hpsearch.service.paused_notes import NotedStore
from hpsearch.storage.storage import Storage


def trials_shown(storage: Storage) -> list[dict[str, Any]]:
    """Return a study's trials as the dashboard's page asks for them."""
    asked: dict[str, Any] = {"PATH_INFO": "/api/studies/1", "QUERY_STRING": "after=0"}
    setup_testing_defaults(asked)
    parts = wsgi(NotedStore(storage))(asked, lambda status, headers, info=None: None)
    found: list[dict[str, Any]] = json.loads(b"".join(parts))["trials"]
    return found


@on_sqlite
def test_a_paused_trial_has_a_note_and_an_attribute_until_it_goes_on(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    begin_trial(storage, spec, claimed(storage, spec))
    trial.report(0.5, 1)
    endings.pause(storage, trial, lease, 3, "it is among the best 1/3 there")
    first, second = trials_shown(storage)
    assert first["note"]["body"].startswith(
        "paused after epoch 3 until it is among the best 1/3 there; nobody is at it"
    )
    assert first["state"] == "Running" and second["note"]["body"] == ""
    assert {"key": "paused", "value": "3"} in first["user_attrs"]
    again = storage.pauses.resume("made", 0, "another")
    assert again is not None
    endings.resume(storage, trial, again)
    assert trials_shown(storage)[0]["note"]["body"] == ""
