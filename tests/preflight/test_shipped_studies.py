"""The shipped studies that make their own data train as they are launched, precision included."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.service.launch import launch
from hpsearch.study.file import read_study
from hpsearch.study.spec import StudySpec

STUDIES = Path(__file__).resolve().parents[2] / "studies"


@pytest.mark.parametrize("study", ["digit-pairs", "turned-digits", "library-functions"])
def test_a_trial_of_it_is_trained_and_scored(study: str, made: Path, tmp_path: Path) -> None:
    spec = read_study(STUDIES / f"{study}.yaml")
    written = spec.model_dump()
    written["search"] |= {"trials": 1, "epochs": 1, "early_stopping": None}
    written["confirm"] = {"candidates": 0}
    spec = StudySpec.model_validate(written)
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    outcome = launch(spec, url, data_root=made, runs=tmp_path / "runs", workers=1, final=False)
    best = outcome.report.progress.best
    assert best is not None and best.value is not None
