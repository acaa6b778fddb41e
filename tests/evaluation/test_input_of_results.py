"""Spoilt best.yaml files, outputs that cannot be written, and names in a report."""

from __future__ import annotations

import resource
import time
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from made_configs import config_with
from made_mutations import mutated
from ruamel.yaml import YAML

from hpsearch.errors import RunsFolderError, StudyFileError
from hpsearch.evaluation.exported import read_exported
from hpsearch.evaluation.retrain_exported import train_exported
from hpsearch.machine.files import check_writable
from hpsearch.reports.formats import _row


def best_yaml(**changes: object) -> str:
    """Return the text of an exported configuration."""
    written = StringIO()
    YAML().dump(
        {
            "config": config_with().model_dump(mode="json") | changes,
            "train_on": "train",
            "recorded": {"study": "made", "trial": 3, "test_accuracy": 0.9, "epochs": 1},
            "versions": {"python": "3.13.1", "torch": "2.11.0"},
        },
        written,
    )
    return written.getvalue()


def read_mutants(place: Path, count: int, seed: int) -> int:
    """Read so many spoilt files, and return how many were refused; fail at any other error."""
    rng, text, refused = Random(seed), best_yaml(), 0
    path = place / "best.yaml"
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        path.write_bytes(mutated(text, rng))
        began = time.process_time()
        try:
            config = read_exported(path).config
            assert config.epochs <= 100_000 and (config.layers or 0) <= 8
        except StudyFileError as error:
            refused += 1
            assert len(str(error)) < 10_000
        except Exception as error:
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}") from error
        assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * 1024
    return refused


def test_every_spoilt_best_yaml_is_read_or_refused_in_words(tmp_path: Path) -> None:
    assert read_mutants(tmp_path, 200, seed=0) > 100


@pytest.mark.chaos
def test_every_one_of_2_000_spoilt_best_yaml_is_read_or_refused_in_words(tmp_path: Path) -> None:
    assert read_mutants(tmp_path, 2_000, seed=1) > 1_000


def test_a_best_yaml_that_would_train_for_ever_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    for changes in ({"layers": 100_000}, {"epochs": 10**19}, {"filters": 10**9}):
        path.write_text(best_yaml(**changes))
        with pytest.raises(StudyFileError, match="the most that can be asked for"):
            read_exported(path)


def test_a_recorded_score_that_is_none_is_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    path = tmp_path / "best.yaml"
    for was, now, says in (
        ("test_accuracy: 0.9", "test_accuracy: x", "test_accuracy: 'x' is no score"),
        ("test_accuracy: 0.9", "test_accuracy: .nan", "is no score"),
        (
            "epochs: 1\nversions",
            "epochs: 99\n  state: pruned\nversions",
            "99 is above config.epochs",
        ),
    ):
        text = best_yaml()
        assert was in text
        path.write_text(text.replace(was, now))
        with pytest.raises(StudyFileError, match=says):
            read_exported(path)


def test_where_weights_go_is_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "best.yaml"
    path.write_text(best_yaml())
    for weights in (tmp_path, tmp_path / "file" / "model.safetensors"):
        with pytest.raises(RunsFolderError):
            train_exported(
                read_exported(path), None, "cpu", weights, lambda _d, _o: None, lambda _: None
            )
    check_writable(tmp_path / "new" / "model.safetensors")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_name_ends_no_row_of_a_table() -> None:
    assert _row(("a\n| b <i>", "1")) == "| a\\n\\| b &lt;i&gt; | 1 |"
