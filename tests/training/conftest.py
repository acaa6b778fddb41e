"""Fixtures of the tests of training."""

import pytest
from made_trainings import striped

from hpsearch.data.prepared import SearchData


@pytest.fixture(scope="session")
def stripes() -> SearchData:
    """A data set of 160 and 40 images that any network learns."""
    return striped()
