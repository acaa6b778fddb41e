"""Others draw from the global generators in every process of a study, and no number changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures_storage import on_sqlite
from foreign_draws import at_every_ask, from_a_thread
from made_finals import assert_concluded_once, measure
from made_trainings import after
from made_workers import work_here
from undisturbed import assert_undisturbed, digits_spec

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.evaluation import supervised
from hpsearch.search.stored_study import OpenStudy, enter_study, read_stored_study
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import train

# The first trial has the first values, and is the baseline: an alexnet that learns next to nothing.
SPACE: dict[str, Any] = {
    "family": ["alexnet", "resnet"],
    "filters": 4,
    "layers": 1,
    "learning_rate": [1e-5, 1e-2],
    "dropout": 0.4,
}
CONFIRM = {"candidates": 1, "seeds": 1}


def assert_confirmed_in_peace(study: OpenStudy, prepared: Path) -> None:
    """The finalist has exactly the curve that its training in peace has."""
    (found,) = study.confirmations
    trial = next(t for t in study.trials if t.number == found.trial_number)
    config = study.config(trial).model_copy(update={"seed": found.result.seed})
    epochs = train(config, load_search_data(prepared), torch.device("cpu"))
    assert [(e.train_loss, e.test_loss, e.test_metric) for e in found.result.curve] == [
        (e.train_loss, e.test_loss, e.test_metric) for e, _ in epochs
    ]


@on_sqlite
def test_search_resume_confirmation_and_final_are_the_trainings_that_they_are_in_peace(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = digits_spec("small", SPACE, trials=3, epochs=2, seed=3).model_dump(mode="json")
    spec = StudySpec.model_validate(written | {"confirm": CONFIRM})
    prepared = prepare(spec.data).folder
    enter_study(storage, spec, prepare(spec.data))
    storage.ledger.begin_launch("small", spec.model_dump_json(), 3, None, confirm=True)
    with from_a_thread():
        for seed, asks in enumerate((25, 35, 45)):  # each worker stops within a trial
            work_here(storage, "small", tmp_path, stopped=at_every_ask(after(asks), seed))
        work_here(storage, "small", tmp_path, stopped=at_every_ask(seed=9))
    assert_undisturbed(storage, "small", prepared)
    study = read_stored_study(storage, "small")
    best = study.best()
    assert best is not None
    assert {study.config(t).family for t in study.trials} == {"alexnet", "resnet"}
    assert study.config(best).family == "resnet", "another family than the baseline's"
    assert_confirmed_in_peace(study, prepared)
    monkeypatch.setattr(supervised, "RUN_FINAL", "made_finals:final_beside_draws")
    monkeypatch.setattr(supervised, "RUN_BASELINE", "made_finals:baseline_beside_draws")
    assert measure(storage, tmp_path, prepared)
    final = assert_concluded_once(storage, tmp_path)  # scores and curves are the search's
    assert final["trial"] == best.number != final["baseline"]["trial"]
