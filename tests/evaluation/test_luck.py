"""How much of a search's best score is luck, by its trials alone or by finalists with new seeds."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
from fixtures_storage import on_sqlite
from made_records import EPOCH, confirmation_record, final_record
from made_studies import enter, run_trial, stored

from hpsearch.evaluation.search_luck import confirmed, search_luck
from hpsearch.reports.trust import cost_lines
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.confirmations import Confirmation
from hpsearch.storage.storage import Storage

pytestmark = on_sqlite
IMAGES = 200
SEARCHED = (0.9, 0.92, 0.94)


def study_with(storage: Storage) -> OpenStudy:
    spec = enter(storage, metric="accuracy", trials=25)
    for score in SEARCHED:
        run_trial(storage, spec, (0.5, score))
    return stored(storage, spec)


def trained_again(number: int, repeat: int, score: float) -> Confirmation:
    right = np.random.default_rng(10 * number + repeat).permutation(IMAGES) < round(score * IMAGES)
    packed = base64.b64encode(np.packbits(right).tobytes()).decode()
    curve = [EPOCH | {"duration_s": 1800.0}]
    result = confirmation_record(score=score, correct=packed, images=IMAGES, curve=curve)
    return Confirmation(number, repeat, result)


def finalists(study: OpenStudy) -> OpenStudy:
    again = [
        trained_again(number, repeat, score - 0.02 + 0.01 * repeat)
        for number, score in enumerate(SEARCHED)
        for repeat in range(3)
    ]
    return dataclasses.replace(study, confirmations=tuple(again))


def test_without_finalists_the_luck_with_test_images_alone_is_told(storage: Storage) -> None:
    study = study_with(storage)
    found = search_luck(study, None, IMAGES)
    assert (found.complete, found.best, found.trial) == (3, 0.94, 2)
    many = search_luck(study, None, 100 * IMAGES)
    assert found.optimism is not None and many.optimism is not None
    assert found.luck == "test images alone" and 0 < found.optimism < 0.05
    assert many.optimism < found.optimism
    assert confirmed(study, 2) is None


def test_finalists_tell_the_luck_with_seeds_and_what_the_choice_is_worth(storage: Storage) -> None:
    study = finalists(study_with(storage))
    found = search_luck(study, None, IMAGES)
    assert found.optimism is not None
    assert found.luck == "seeds and test images" and 0 < found.optimism < 0.1
    choice = confirmed(study, 2)
    assert choice is not None and choice.seeds == 3
    assert choice.mean == pytest.approx(0.93)
    assert choice.seed_sd == pytest.approx(0.01)


def test_the_cost_counts_trials_finalists_and_finals(storage: Storage) -> None:
    study = finalists(study_with(storage))
    hour = EPOCH | {"duration_s": 3600.0}
    beside = {"trial": 0, "curve": [hour]}
    final = final_record(curve=[hour] * 2, config={"threads": 2}, device="cpu", baseline=beside)
    (line,) = cost_lines(study.records, study.confirmations, final)
    assert "9 training(s) of finalists of 9 epochs" in line
    assert "2 final training(s) of 3 epochs" in line
    assert "10 core-hours" in line, "9 half hours, and 3 hours with two threads"
