"""A study of every task, from its data to its report, with an early stop on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_tasks import write_digits
from sklearn.metrics import f1_score, mean_absolute_error

from hpsearch.data.prepare import prepare
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import HpsearchError
from hpsearch.evaluation.exported import read_exported
from hpsearch.evaluation.judged import digest
from hpsearch.evaluation.model_file import TrainedModel, load_model
from hpsearch.evaluation.networks import train_again
from hpsearch.reports.formats import as_json, markdown
from hpsearch.reports.report import Report, make_report
from hpsearch.search.progress import epochs_of
from hpsearch.search.stored_study import enter_study
from hpsearch.search.worker import Worker
from hpsearch.service.conclude import conclude, write_results
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import open_storage
from hpsearch.study.data import Task
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import key_of

METRICS: dict[Task, str] = {"multi-label": "macro-f1", "regression": "mae"}
LOSSES: dict[Task, list[str]] = {
    "multi-label": ["bce-with-logits", "bce"],
    "regression": ["huber", "mse"],
}


@dataclass(frozen=True)
class Finished:
    """A study that was searched and measured in this process."""

    spec: StudySpec
    report: Report
    folder: Path
    prepared: Path

    @property
    def final(self) -> dict[str, Any]:
        assert self.report.final is not None
        return self.report.final.as_json()

    @property
    def key(self) -> str:
        return key_of(self.spec.metric)


def study(task: Task, place: Path) -> StudySpec:
    data = write_digits(place / "digits.npz", task)
    if task == "multi-label":
        data["balance"] = "weights"
    return StudySpec.model_validate(
        {
            "name": task,
            "data": data,
            "space": {"filters": 16, "layers": 1, "units1": 32, "dropout": 0.0,
                      "schedule": "constant", "learning_rate": {"low": 5e-3, "high": 2e-2},
                      "batch_size": 20, "loss": LOSSES[task]},
            "search": {"trials": 2, "epochs": 40, "early_stopping": 2, "metric": METRICS[task],
                       "precision": "fp32", "pruner": "none"},
        }
    )  # fmt: skip


@pytest.fixture(scope="module", params=["multi-label", "regression"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finished]:
    """Search two trials, measure the choice, and write all files."""
    place = tmp_path_factory.mktemp(request.param)
    spec = study(request.param, place)
    prepared = prepare(spec.data)
    storage = open_storage(f"sqlite:///{place}/hpsearch.db")
    enter_study(storage, spec, prepared)
    storage.ledger.begin_launch(spec.name, spec.model_dump_json(), 2, None)
    Worker("here", storage, torch.device("cpu"), 1, Checkpoints(str(place / "checkpoints")),
           lambda: False, only=spec.name).work()  # fmt: skip
    folder = place / "runs"
    assert conclude(storage, spec.name, "me", prepared.folder, "cpu", folder,
                    Checkpoints(str(place / "checkpoints")))  # fmt: skip
    report = make_report(storage, spec.name)
    write_results(report, folder)
    yield Finished(spec, report, folder, prepared.folder)
    storage.close()


def test_the_choice_stopped_early_and_the_final_repeats_it_to_the_last_digit(
    finished: Finished,
) -> None:
    best = finished.report.progress.best
    assert best is not None
    assert epochs_of(best) < 40, "it has to stop early for this test"
    assert finished.final["test"][finished.key] == best.value
    assert finished.final["epoch"] == best.user_attrs["best_epoch"]
    assert len(finished.final["curve"]) == epochs_of(best)


def test_an_exported_file_alone_trains_to_the_same_weights(
    finished: Finished, tmp_path: Path
) -> None:
    exported = read_exported(finished.folder / "best.yaml")
    recorded = exported.recorded.test_score(exported.config.metric)
    again = tmp_path / "again.safetensors"
    scores = train_again(lambda _: None, exported.config, finished.prepared, "cpu", again)
    assert scores["test"][finished.key] == recorded
    assert len(scores["curve"]) == exported.recorded.epochs
    first, second = (
        load_model(path).model.state_dict()
        for path in (finished.folder / "model.safetensors", again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_saved_weights_give_the_reported_validation_score(finished: Finished) -> None:
    trained: TrainedModel = load_model(finished.folder / "model.safetensors")
    sealed = open_sealed(finished.prepared)
    images, targets = torch.tensor(np.asarray(sealed.images)), sealed.targets
    if finished.spec.data.task == "regression":
        got = mean_absolute_error(targets, trained.numbers(images))
        with pytest.raises(HpsearchError, match="use numbers"):
            trained.probabilities(images)
    else:
        got = f1_score(targets, trained.probabilities(images) >= 0.5, average="macro")
        with pytest.raises(HpsearchError, match="use probabilities"):
            trained.numbers(images)
    validation = finished.final["validation"]
    assert validation[finished.key] == pytest.approx(got, rel=1e-4)
    if validation["interval"] is None:
        assert validation[finished.key] == 1, "only where nothing was predicted wrong"
    else:
        low, high = validation["interval"]
        assert low <= validation[finished.key] <= high
    assert digest(trained.outputs_of(images)) == validation["outputs_sha256"], "bit for bit"


def test_the_report_speaks_of_the_metric_that_selected(finished: Finished) -> None:
    text = markdown(finished.report)
    words, table = {
        "multi-label": ("macro F1", "## Labels on validation"),
        "regression": ("MAE", "## Numbers on validation"),
    }[finished.spec.data.task]
    assert f"| split | {words} | 95 % interval | loss | images | role |" in text
    assert f"test {words} " in text and "identical to the search" in text
    assert f"Best 2 trials by test {words}" in text
    default = finished.report.decision.is_default  # which of two is best, processors differ in
    assert ("over the default configuration (trial 0" in text) == (not default)
    assert ("The choice is the default configuration" in text) == default
    assert "Early stopping ended " in text
    assert table in text and "accuracy" not in text
    plot = "](residuals.png)" in text
    assert plot == (finished.folder / "residuals.png").exists() == (words == "MAE")
    assert "Learning curve of trial" in text and "Early stopping: weights and score" in text


def test_files_and_json_name_their_scores_after_the_metric(finished: Finished) -> None:
    best = finished.report.progress.best
    assert best is not None
    header = (finished.folder / "trials.csv").read_text().splitlines()[0].split(",")
    assert f"test_{finished.key}" in header and "test_accuracy" not in header
    chosen = as_json(finished.report)["chosen"]
    assert chosen[f"test_{finished.key}"] == best.value
    written = (finished.folder / "best.yaml").read_text()
    assert f"test_{finished.key}: " in written and f"validation_{finished.key}: " in written
