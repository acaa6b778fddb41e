"""Which hyperparameters mattered, as the dashboard asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from hpsearch.storage.storage import Storage

PATH = re.compile(r"/api/studies/(\d+)/param_importances")


def with_fanova(app: WSGIApplication, storage: Storage) -> WSGIApplication:
    """Return the dashboard answering questions for importances by fANOVA.

    Its own answer is PED-ANOVA's, which gives a parameter that never varied a third of the weight
    where there are 20 trials.
    """

    def answering(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = PATH.fullmatch(str(environ.get("PATH_INFO", "")))
        if asked is None:
            return app(environ, start_response)
        try:
            name = storage.optuna.get_study_name_from_id(int(asked[1]))
        except KeyError:
            return app(environ, start_response)  # which says that there is no such study
        body = json.dumps({"param_importances": [importances(storage.load(name))]}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return answering


def importances(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the share of each parameter in what moves the score, the largest first.

    Of parameters that every complete trial has and that varied; none with fewer than two trials.
    F. Hutter and others, "An efficient approach for assessing hyperparameter importance", 2014.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < 2:
        return []
    shared = [name for name in trials[0].params if all(name in t.params for t in trials)]
    varied = [name for name in shared if len({repr(t.params[name]) for t in trials}) > 1]
    if not varied or len({t.value for t in trials}) < 2:
        return []
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied)
    return [
        {
            "name": name,
            "importance": share,
            "distribution": type(trials[0].distributions[name]).__name__,
        }
        for name, share in found.items()
    ]
