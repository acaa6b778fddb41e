"""Thousands of spoilt study files: each is read, or refused in words of ours, soon and small."""

from __future__ import annotations

import resource
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from made_mutations import mutated

from hpsearch.errors import StudyFileError
from hpsearch.study.file import read_study

STUDIES = sorted((Path(__file__).resolve().parents[2] / "studies").glob("*.yaml"))
LONGEST_ERROR = 10_000  # characters
SLOWEST_S = 1.0
MOST_KIB = 100 * 1024


def read_mutants(place: Path, count: int, seed: int) -> Counter[str]:
    """Read so many mutants; return how many were accepted and refused, and fail at any other."""
    rng, found = Random(seed), Counter[str]()
    sources = [path.read_text(encoding="utf-8") for path in STUDIES]
    path = place / "mutant.yaml"
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        path.write_bytes(mutated(sources[number % len(sources)], rng))
        began = time.process_time()
        try:
            read_study(path)
            found["accepted"] += 1
        except StudyFileError as error:
            found["refused"] += 1
            assert len(str(error)) < LONGEST_ERROR, number
            assert str(error).startswith(str(path))
            found["with a line"] += str(error).startswith(f"{path}:")
        except Exception as error:
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}") from error
        assert time.process_time() - began < SLOWEST_S, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MOST_KIB
    return found


def test_every_spoilt_study_file_is_read_or_refused_in_words(tmp_path: Path) -> None:
    found = read_mutants(tmp_path, 400, seed=0)
    assert found["accepted"] > 20
    assert found["refused"] > 200
    assert found["with a line"] > 0.9 * found["refused"]


@pytest.mark.chaos
@pytest.mark.timeout(3600)  # half a minute, where the machine has nothing else to do
def test_every_one_of_12_000_spoilt_study_files_is_read_or_refused_in_words(tmp_path: Path) -> None:
    found = read_mutants(tmp_path, 12_000, seed=1)
    print(dict(found))
    assert found["accepted"] + found["refused"] == 12_000
