"""The final: what is trained before the seal is opened, once, and what is measured then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_configs import config_with
from PIL import Image

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import StudyFileError
from hpsearch.evaluation.exported import Exported, Recorded, read_exported
from hpsearch.evaluation.judged import digest
from hpsearch.evaluation.model_file import load_model
from hpsearch.evaluation.retrain_exported import train_exported, verdict
from hpsearch.reports.formats import markdown
from hpsearch.reports.report import make_report
from hpsearch.search.stored_study import enter_study
from hpsearch.search.worker import Worker
from hpsearch.service.conclude import conclude, write_results
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.study.spec import StudySpec


def spec_with(**final: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "small",
            "data": {"source": "digits"},
            # The first trial takes the first values, and a rate of 1e-5 learns next to nothing.
            "space": {"filters": [16, 24], "layers": [2, 1], "units1": 32, "units2": 32,
                      "learning_rate": [1e-5, 1e-2], "batch_size": 64},
            "search": {"trials": 3, "epochs": 3, "pruner": "none", "precision": "fp32",
                       "sampler": "random", "seed": 1},
            "final": final,
        }
    )  # fmt: skip


@dataclasses.dataclass
class Searched:
    """A study whose search is over, without its validation files until they are put back."""

    storage: Storage
    prepared: Prepared
    place: Path

    def conclude(self, **final: Any) -> dict[str, Any]:
        """Return what the final finds with these settings, opening the seal again if need be."""
        enter_study(self.storage, spec_with(**final), self.prepared)
        conclude(
            self.storage, "small", "me", self.prepared.folder, "cpu", self.place / "runs",
            Checkpoints(str(self.place / "checkpoints")), open_again=True,
        )  # fmt: skip
        report = make_report(self.storage, "small")
        write_results(report, self.place / "runs")
        assert report.final is not None
        return report.final.as_json()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    """Search while the validation files are not there: nothing of the search may miss them."""
    place = tmp_path_factory.mktemp("final")
    spec = spec_with()
    prepared = prepare(spec.data)
    sealed, away = prepared.folder / "validation", place / "away"
    sealed.rename(away)
    try:
        storage = open_storage(f"sqlite:///{place}/hpsearch.db")
        enter_study(storage, spec, prepared)
        storage.ledger.begin_launch("small", spec.model_dump_json(), 3, None)
        Worker("here", storage, torch.device("cpu"), 1, Checkpoints(str(place / "checkpoints")),
               lambda: False, only="small").work()  # fmt: skip
        assert "still sealed" in markdown(make_report(storage, "small"))
    finally:
        away.rename(sealed)
    (place / "runs").mkdir()
    yield Searched(storage, prepared, place)
    storage.close()


@pytest.fixture(scope="module")
def final(searched: Searched) -> dict[str, Any]:
    return searched.conclude(temperature=True)


def test_everything_up_to_the_final_works_without_the_validation_files(searched: Searched) -> None:
    progress = make_report(searched.storage, "small").progress
    assert progress.complete == 3 and progress.failed == 0


def test_the_default_configuration_is_measured_in_the_same_opening(
    searched: Searched, final: dict[str, Any]
) -> None:
    report = make_report(searched.storage, "small")
    assert report.openings == 1
    beside = final["baseline"]
    assert beside["trial"] == 0 != final["trial"]
    gain = final["validation"]["accuracy"] - beside["validation"]["accuracy"]
    assert beside["gain"] == pytest.approx(gain)
    assert "beside it the default configuration, trial 0" in report.seal.mine[0].why
    kept = report.seal.mine[0].config
    assert kept is not None and kept.as_json() == final["config"]
    assert "Tuning changed validation accuracy by +" in markdown(report)


def test_the_search_is_told_with_the_luck_that_is_expected_in_it(final: dict[str, Any]) -> None:
    assert final["search"]["complete"] == 3
    assert final["search"]["trial"] == final["trial"]
    assert 0 <= final["search"]["optimism"] < 0.1


def test_saved_weights_give_the_same_predictions_bit_for_bit_and_softened_probabilities(
    searched: Searched, final: dict[str, Any]
) -> None:
    trained = load_model(searched.place / "runs" / "model.safetensors")
    images = torch.tensor(np.asarray(open_sealed(searched.prepared.folder).images))
    outputs = trained.outputs_of(images)
    assert digest(outputs) == final["validation"]["outputs_sha256"]
    assert digest(torch.nextafter(outputs, outputs + 1)) != final["validation"]["outputs_sha256"]
    assert trained.temperature == final["calibration"]["temperature"] != 1
    softened = (outputs / trained.temperature).softmax(1)
    assert torch.equal(trained.probabilities(images), softened)


def test_the_worst_mistakes_are_listed_and_drawn(searched: Searched, final: dict[str, Any]) -> None:
    sealed = open_sealed(searched.prepared.folder)
    trained = load_model(searched.place / "runs" / "model.safetensors")
    sure = trained.probabilities(torch.tensor(np.asarray(sealed.images)))
    wrong = sure.argmax(1).numpy() != sealed.targets
    listed = final["mistakes"]
    assert 0 < len(listed) == min(24, wrong.sum())
    first = listed[0]
    assert first["confidence"] == pytest.approx(float(sure.max(1).values[wrong].max()), rel=1e-5)
    assert first["is"] == str(sealed.targets[first["image"]]) != first["predicted"]
    with Image.open(searched.place / "runs" / "mistakes.png") as sheet:
        assert sheet.width > 100
    text = (searched.place / "runs" / "report.md").read_text()
    assert "![Most confident mistakes on validation](mistakes.png)" in text


def test_a_final_may_teach_test_too_and_then_has_no_test_score(
    searched: Searched, final: dict[str, Any]
) -> None:
    searched.storage.openings.write_result(
        1, FinalRecord.model_validate(final | {"trial": -1})
    )  # as if of another choice
    both = searched.conclude(train_on="train+test", baseline=False)
    train, test, _ = searched.prepared.totals
    assert both["train"]["images"] == train + test
    assert both["test"] is None and both["baseline"] is None
    assert all(epoch["test_loss"] is None for epoch in both["curve"])
    text = markdown(make_report(searched.storage, "small"))
    assert "Trained on train and test: no test score is left" in text
    assert "opened 2 times: optimistic" in text
    exported = read_exported(searched.place / "runs" / "best.yaml")
    assert exported.train_on == "train+test"
    weights = searched.place / "again.safetensors"
    again = train_exported(exported, None, "cpu", weights, lambda _d, _o: None, lambda _: None)
    assert again["test"] is None and again["verdict"] is None
    one, other = (
        load_model(p).model.state_dict()
        for p in (weights, searched.place / "runs/model.safetensors")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    checked = train_exported(
        exported, None, "cpu", None, lambda _d, _o: None, lambda _: None, check=True
    )
    assert checked["verdict"] == "identical" and checked["train"]["images"] == train


# What is said of a score that was trained again


def exported_with(**recorded: Any) -> Exported:
    values = {"study": "made", "trial": 0, "epochs": 1, "test_accuracy": 0.9} | recorded
    versions = {"python": "3.11.1", "torch": "2.11.0"}
    return Exported(config=config_with(), recorded=Recorded(**values), versions=versions)


def scores_with(**versions: str) -> dict[str, Any]:
    test = {"accuracy": 0.0, "interval": (0.85, 0.94), "images": 200}
    return {"test": test | {"accuracy": 0.9}, "device": "cpu",
            "versions": {"python": "3.11.1", "torch": "2.11.0"} | versions}  # fmt: skip


def test_a_score_is_identical_or_within_the_noise_of_its_images_or_differs() -> None:
    found = [verdict(exported_with(), again, scores_with()) for again in (0.9, 0.86, 0.8)]
    assert [f["verdict"] for f in found] == ["identical", "within seed noise", "differs"]
    assert found[1]["noise"] == pytest.approx(0.05)
    assert found[1]["noise_of"].startswith("200 test images")


def test_recorded_seeds_tell_the_noise_better_than_images() -> None:
    found = verdict(exported_with(seeds=5, seed_sd=0.001), 0.89, scores_with())
    assert found["noise_of"] == "5 trainings with other seeds"
    assert found["noise"] == pytest.approx(2.776 * 0.001 * 2**0.5, rel=1e-3)
    assert found["verdict"] == "differs"


def test_what_differs_is_named() -> None:
    found = verdict(exported_with(device="NVIDIA H100"), 0.5, scores_with(torch="2.12.0"))
    assert found["because"] == [
        "versions (torch was 2.11.0, now 2.12.0)",
        "device (was NVIDIA H100, now cpu)",
    ]
    assert verdict(exported_with(), 0.9, scores_with(torch="2.12.0"))["because"] == []


def test_a_file_without_a_score_cannot_be_checked() -> None:
    nothing = exported_with(test_accuracy=None)
    with pytest.raises(StudyFileError, match="no test score to check"):
        train_exported(nothing, None, "cpu", None, lambda _d, _o: None, lambda _: None, check=True)
