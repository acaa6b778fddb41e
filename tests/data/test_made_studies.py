"""The studies that make their own data: what studies/make_data.py makes is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.study.file import read_study

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def prepared_for(study: str, made: Path) -> Prepared:
    return prepare(read_study(STUDIES / f"{study}.yaml").data, made)


def test_the_script_says_what_it_needs() -> None:
    script = [sys.executable, str(STUDIES / "make_data.py")]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "say where to: python studies/make_data.py FOLDER\n"


def test_every_pair_is_two_digits_and_has_their_labels(made: Path) -> None:
    prepared = prepared_for("digit-pairs", made)
    assert (prepared.task, prepared.image_shape) == ("multi-label", (1, 8, 16))
    assert prepared.outputs == tuple("0123456789")
    published = load_digits()
    grey = np.round(published.images * (255 / 16)).astype(np.uint8)
    known = {image.tobytes(): target for image, target in zip(grey, published.target, strict=True)}
    train = load_search_data(prepared.folder).train
    for image, labels in zip(train.images[..., 0], train.targets, strict=True):
        halves = [known[half.tobytes()] for half in (image[:, :8], image[:, 8:])]
        assert np.array_equal(np.flatnonzero(labels), np.unique(halves))


def test_no_handwriting_of_a_pair_stands_in_two_splits(made: Path) -> None:
    data = load_search_data(prepared_for("digit-pairs", made).folder)
    train, test = (
        {half.tobytes() for image in part.images for half in (image[:, :8], image[:, 8:])}
        for part in (data.train, data.test)
    )
    assert not train & test


def test_digits_are_turned_by_as_many_degrees_as_is_said(made: Path) -> None:
    prepared = prepared_for("turned-digits", made)
    assert (prepared.task, prepared.image_shape) == ("regression", (1, 24, 24))
    assert prepared.outputs == ("degrees", "ink")
    arrays = np.load(made / "turned-digits.npz")
    straight = np.kron(load_digits().images, np.ones((1, 3, 3)))
    for i in range(0, len(arrays["images"]), 400):
        image, angle = arrays["images"][i].astype(float), arrays["degrees"][i]
        original = straight[arrays["digit"][i]].ravel()
        back, on = (
            np.corrcoef(rotate(image, turn, reshape=False, order=1).ravel(), original)[0, 1]
            for turn in (-angle, angle)
        )
        assert back > 0.75
        assert back > on or abs(angle) < 5
    np.testing.assert_allclose(arrays["ink"], arrays["images"].mean(axis=(1, 2)) / 2.55)


def test_functions_of_a_file_stand_in_one_split(made: Path) -> None:
    prepared = prepared_for("library-functions", made)
    assert prepared.image_shape == (68, 1, 256)
    assert "asyncio" in prepared.outputs and len(prepared.outputs) == 6
    assert min(min(row) for row in prepared.counts) >= 10
    train, test, validation = (set(names) for names in prepared.groups)
    assert not (train & test or train & validation or test & validation)
    assert all(name.endswith(".py") for name in train)
