"""Our trial storage keeps what Optuna promises of one, as Optuna's own suite tests it.

Nothing of the suite is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from hpsearch.storage.retry import RetryingStorage
from hpsearch.storage.storage import Storage


class TestOptunasPromises(StorageTestCase):
    @pytest.fixture
    def storage(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseStorage]:
        """An empty storage as workers open it, on SQLite and on Postgres."""
        copies: list[RetryingStorage] = []
        restore = RetryingStorage.__setstate__

        def noted(copy: RetryingStorage, state: dict[Any, Any]) -> None:
            restore(copy, state)
            copies.append(copy)

        monkeypatch.setattr(RetryingStorage, "__setstate__", noted)
        yield storage.optuna
        for copy in copies:  # a test that unpickles one leaves its connections open
            copy.engine.dispose()
