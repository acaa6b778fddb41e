"""Fixtures of the search's tests."""

from collections.abc import Iterator

import pytest
from child_processes import CREW, Crew, stand_by


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Eight processes that can do something at the same moment."""
    crew = Crew()
    assert crew.together(stand_by) == list(range(CREW))
    yield crew
    crew.close()
