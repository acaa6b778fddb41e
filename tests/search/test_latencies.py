"""A trial's latency is measured once, where its study asks for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fixtures_storage import on_sqlite
from made_configs import config_with
from made_studies import begin_trial, claimed, enter, stored

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.search import latencies
from hpsearch.search.latencies import slow
from hpsearch.storage.storage import Storage
from hpsearch.training.latency import Latency


@on_sqlite
@pytest.mark.parametrize(
    ("search", "measured", "is_slow"),
    [
        ({}, 0, False),
        ({"also": "flops", "constraints": {"parameters": 1}}, 0, False),
        ({"also": "latency"}, 1, False),
        ({"constraints": {"latency_ms": 5}}, 1, False),
        ({"constraints": {"latency_ms": 3.5}}, 1, True),
    ],
    ids=str,
)
def test_latency_is_measured_once_where_it_is_asked_for(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    search: dict[str, Any],
    measured: int,
    is_slow: bool,
) -> None:
    calls: list[float | None] = []

    def stopwatch(*given: Any) -> Latency:
        calls.append(given[-1])
        return Latency(4.0, "a machine, 1 thread")

    monkeypatch.setattr(latencies, "latency", stopwatch)
    spec = enter(storage, **search)
    data = load_search_data(prepare(spec.data).folder)
    lease = claimed(storage, spec)
    for _ in range(2):  # the second is another worker's
        trial = begin_trial(storage, spec, lease)
        found = slow(trial, spec.search, config_with(), data, torch.device("cpu"))
        assert (found is not None) is is_slow
        lease = lease if lease.trial_id is not None else _taken_over(storage, spec)
    assert calls == [spec.search.most("latency")] * measured
    (record,) = stored(storage, spec).records.values()
    expected = (4.0, "a machine, 1 thread") if measured else (None, None)
    assert (record.latency_ms, record.latency_on) == expected


def _taken_over(storage: Storage, spec: Any) -> Any:
    storage.leases.expire_worker("worker")
    return claimed(storage, spec, "another")
