"""Prepared data that is damaged behind a study's back is found before its seal is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_studies import spec_of

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared
from hpsearch.errors import DataError
from hpsearch.service.launch import Watcher, launch
from hpsearch.storage.storage import open_storage

SPACE = {"filters": 8, "layers": 1, "units1": 16, "units2": 16}


def test_images_that_are_not_what_was_prepared_are_never_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))
    url, spec = f"sqlite:///{tmp_path}/db.sqlite", spec_of(space=SPACE, trials=1, epochs=1)
    launch(spec, url, runs=tmp_path, workers=1, final=False)
    folder = prepare(spec.data).folder
    images = np.load(folder / "validation" / "images.npy")
    np.save(folder / "validation" / "images.npy", np.roll(images, 1, axis=0))
    with pytest.raises(DataError, match=r"validation/images\.npy is not what was written"):
        launch(spec, url, runs=tmp_path, workers=1)
    storage = open_storage(url)
    assert storage.openings.marks() == []
    storage.close()
    told: list[Prepared] = []
    outcome = launch(spec, url, runs=tmp_path, workers=1, watcher=Watcher(prepared=told.append))
    assert told[0].remade is not None and "validation/images.npy" in told[0].remade
    assert outcome.report.openings == 1 and outcome.report.final is not None
