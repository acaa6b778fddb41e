"""Pictures that are not square, from their files to the score of the sealed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_data import noise
from made_workers import work_here
from PIL import Image

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.reports.report import make_report
from hpsearch.search.stored_study import enter_study
from hpsearch.service.conclude import conclude
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import open_storage
from hpsearch.study.data import Fit
from hpsearch.study.spec import StudySpec

EACH = 160  # pictures of a class, of which a quarter is sealed
END = 6  # columns at either end, which a crop from 64 to 48 of them cuts off


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures of 16 x 64, noise but for a bright end: the left one or the right one."""
    root = tmp_path_factory.mktemp("wide")
    for seed, (name, end) in enumerate({"left": slice(END), "right": slice(-END, None)}.items()):
        (root / name).mkdir()
        for number, pixels in enumerate(noise(EACH, 16, 64, seed=seed) // 2):
            pixels[:, end] += 127
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def validation_of(wide: Path, place: Path, fit: Fit) -> float:
    """Return the accuracy of a study's choice on validation."""
    spec = StudySpec.model_validate(
        {
            "name": fit,
            "data": {"source": "folder", "root": str(wide), "image_size": [16, 48], "fit": fit,
                     "duplicates": "allow",
                     "split": {"train": 0.5, "test": 0.25, "validation": 0.25}},
            "space": {"filters": 8, "layers": 1, "units1": 16, "dropout": 0.0, "flip": False,
                      "batch_size": 16, "learning_rate": [5e-3, 1e-2]},
            "search": {"trials": 2, "epochs": 5, "precision": "fp32", "pruner": "none"},
            "final": {"baseline": False},
        }
    )  # fmt: skip
    prepared = prepare(spec.data)
    assert prepared.image_shape == (1, 16, 48)
    storage = open_storage(f"sqlite:///{place}/hpsearch.db")
    try:
        enter_study(storage, spec, prepared)
        storage.ledger.begin_launch(spec.name, spec.model_dump_json(), 2, None)
        work_here(storage, spec.name, place)
        kept = Checkpoints(str(place / "checkpoints"))
        assert conclude(storage, spec.name, "me", prepared.folder, "cpu", place / "runs", kept)
        final = make_report(storage, spec.name).final
    finally:
        storage.close()
    assert final is not None
    found = final.as_json()["validation"]
    assert found["images"] == EACH // 2
    return float(found["accuracy"])


def test_a_class_that_shows_at_an_end_is_learned_where_the_picture_is_squeezed(
    wide: Path, tmp_path: Path
) -> None:
    assert validation_of(wide, tmp_path, "squeeze") == 1.0


def test_the_same_cropped_is_chance(wide: Path, tmp_path: Path) -> None:
    # 80 pictures: chance is 0.5 +- 0.056, and this is three times as much.
    assert validation_of(wide, tmp_path, "crop") == pytest.approx(0.5, abs=0.17)


def test_a_padded_picture_is_whole_between_bars(wide: Path) -> None:
    data = {"source": "folder", "root": str(wide), "image_size": [16, 48], "fit": "pad"}
    spec = StudySpec.model_validate({"name": "pad", "data": data})
    images = load_search_data(prepare(spec.data).folder).train.images[..., 0]
    assert np.all(images[:, :2] == 0) and np.all(images[:, 14:] == 0)
    assert (images[:, 2:14].mean(axis=(1, 2)) > 60).all()
    ends = images[:, 2:14].astype(float).mean(axis=1)
    assert (np.abs(ends[:, :4].mean(axis=1) - ends[:, -4:].mean(axis=1)) > 100).all()
