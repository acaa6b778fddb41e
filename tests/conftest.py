"""What every test shares: a cache of its own, an environment without ours, and real data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from child_processes import CREW, Crew, stand_by
from hypothesis import settings

if TYPE_CHECKING:
    from hpsearch.data.prepared import SearchData

# As workers do: small trainings are fastest in one thread, and with two on busy cores they crawl.
# Before anything loads torch.
os.environ["OMP_NUM_THREADS"] = "1"

pytest_plugins = ["fixtures_storage"]

REPOSITORY = Path(__file__).resolve().parent.parent

# No deadline, for slow machines; the same examples in every run, so that a change is to blame.
settings.register_profile("hpsearch", deadline=None, derandomize=True)
settings.load_profile("hpsearch")


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep prepared data in a folder of this session, and the user's settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("DATA", "STORAGE", "STORAGE_PASSWORD_FILE", "RUNS", "CHECKPOINTS", "LOG"):
            patch.delenv(f"HPSEARCH_{name}", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data: HPSEARCH_TEST_DATA, or shared/data beside the repository."""
    named = os.environ.get("HPSEARCH_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; say where it lies with HPSEARCH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Eight processes that can do something at the same moment."""
    crew = Crew()
    assert crew.together(stand_by) == list(range(CREW))
    yield crew
    crew.close()


@pytest.fixture(scope="session")
def stripes() -> SearchData:
    """A data set of 160 and 40 images that any network learns."""
    from made_trainings import striped  # loads torch

    return striped()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything that `studies/make_data.py` makes."""
    folder = tmp_path_factory.mktemp("made") / "data"
    script = [sys.executable, str(REPOSITORY / "studies" / "make_data.py"), str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    return folder
