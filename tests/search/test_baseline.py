"""The default configuration, which tuning has to beat, and the time that is kept for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures_storage import on_sqlite
from made_studies import claimed, spec_of, stored
from made_trainings import CPU

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.search.baseline import baseline_of, trained_at_once, whole_training_s
from hpsearch.search.runner import TrialRunner
from hpsearch.search.stored_study import enter_study
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec


@on_sqlite
@pytest.mark.parametrize("asked", [True, False])
def test_time_is_kept_for_the_choice_and_for_the_baseline_beside_it(
    storage: Storage, tmp_path: Path, asked: bool
) -> None:
    spec = spec_of(
        space={"learning_rate": {"low": 1e-3, "high": 1e-2}, "filters": 8, "layers": 1},
        trials=3,
        epochs=2,
        sampler="random",
        pruner="none",
    )
    spec = StudySpec.model_validate(spec.model_dump() | {"final": {"baseline": asked}})
    prepared = prepare(spec.data)
    enter_study(storage, spec, prepared)
    runner = TrialRunner(
        "here", storage, spec, load_search_data(prepared.folder), CPU, "fp32", 1,
        Checkpoints(str(tmp_path)), lambda: False,
    )  # fmt: skip
    kept = []
    for _ in range(3):
        runner.run(claimed(storage, spec))
        study, row = stored(storage, spec), storage.ledger.study(spec.name)
        best, baseline = study.best(), baseline_of(spec, study.trials)
        assert best is not None and baseline is not None and row is not None
        beside = asked and best.number != baseline.number
        wanted_s = best.user_attrs["duration_s"]
        if beside:
            other_s = min(whole_training_s(spec, baseline), 2 * wanted_s)
            at_once = trained_at_once("cpu")
            wanted_s = max(wanted_s, other_s) if at_once else wanted_s + other_s
        kept.append(beside)
        assert row.final_s == pytest.approx(wanted_s * 1.05 + 10, abs=0.01)
    assert any(kept) is asked, "one of the others has to be better for this test"
