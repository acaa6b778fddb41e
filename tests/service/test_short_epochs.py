"""A study whose epochs are parts of a pass, from its file to its model and back."""

from __future__ import annotations

from pathlib import Path

import torch

from hpsearch.evaluation.exported import read_exported
from hpsearch.evaluation.model_file import load_model
from hpsearch.evaluation.retrain_exported import train_exported
from hpsearch.reports.formats import markdown
from hpsearch.service.launch import launch
from hpsearch.study.spec import StudySpec

STUDY = {
    "name": "short",
    "data": {"source": "digits"},
    "space": {"filters": [8, 16], "layers": 1, "units1": 16, "units2": 16},
    "search": {"trials": 2, "epochs": 3, "epoch_images": 500, "pruner": "none"},
    "confirm": {"candidates": 1, "seeds": 1},
}


def test_a_study_of_short_epochs_ends_in_a_model_that_trains_again_to_the_same(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    done = launch(StudySpec.model_validate(STUDY), url, runs=tmp_path / "runs", workers=1)
    best, final = done.report.study.best(), done.report.final
    assert best is not None and final is not None
    assert final.as_json()["test"]["accuracy"] == best.value, "the final repeats the search"
    train = done.report.study.data_summary["totals"][0]
    assert f"3 epochs of 500 of {train:,} images a trial" in markdown(done.report)

    exported = read_exported(done.folder / "best.yaml")
    assert exported.config.epoch_images == 500
    again = tmp_path / "again.safetensors"
    scores = train_exported(
        exported, None, "auto", again, lambda done, of: None, lambda epoch: None
    )
    assert scores["identical"] is True
    first, second = (
        load_model(path).model.state_dict() for path in (done.folder / "model.safetensors", again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
