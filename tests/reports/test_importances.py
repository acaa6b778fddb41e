"""Importances of the dashboard: what never varied has none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import optuna
from fixtures_storage import on_sqlite
from made_studies import enter, run_trial, spec_of
from optuna_dashboard import wsgi

from hpsearch.reports.importances import importances, with_fanova
from hpsearch.storage.storage import Storage


@on_sqlite
def test_the_dashboard_is_answered_with_shares_of_what_varied(storage: Storage) -> None:
    space: dict[str, Any] = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
        "optimizer": ["adam", "sgd"],
    }
    spec = enter(storage, spec_of(space=space, trials=20, sampler="random"))
    rng = np.random.default_rng(0)
    for _ in range(20):
        run_trial(storage, spec, (float(rng.random()),))
    study_id = storage.optuna.get_study_id_from_name(spec.name)
    said: list[str] = []
    app = with_fanova(wsgi(storage.optuna), storage)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/api/studies/{study_id}/param_importances"}
    body = b"".join(app(environ, lambda status, headers: said.append(status)))  # type: ignore
    (found,) = json.loads(body)["param_importances"]
    assert said == ["200 OK"]
    assert {row["name"] for row in found} == set(space)
    assert abs(sum(row["importance"] for row in found) - 1) < 1e-6


def test_a_parameter_that_never_varied_is_not_ranked() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"never": 0.5})
    for _ in range(20):
        study.enqueue_trial({"never": 0.5})
        trial = study.ask()
        rate = trial.suggest_float("rate", 0, 1)
        trial.suggest_float("never", 0, 1)
        study.tell(trial, rate)
    assert [row["name"] for row in importances(study)] == ["rate"]
