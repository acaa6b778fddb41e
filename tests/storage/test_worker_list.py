"""The list of workers: who is there, and what they cannot do."""

import os

import pytest
from fixtures_storage import on_sqlite
from made_studies import claimed, enter, rewind

from hpsearch.storage import worker_registry as worker_list
from hpsearch.storage.schema import workers
from hpsearch.storage.storage import Storage


def test_a_worker_is_listed_from_when_it_enters_until_it_leaves(storage: Storage) -> None:
    storage.workers.enter("one", "cpu", "hpsearch 1")
    storage.workers.enter("two", "cuda", "hpsearch 1")
    first, second = storage.workers.present()
    assert (first.name, first.device, first.version) == ("one", "cpu", "hpsearch 1")
    assert first.pid == os.getpid() and 0 <= first.seen_s < 5
    storage.workers.leave("one")
    assert [w.name for w in storage.workers.present()] == [second.name]


def test_what_a_worker_cannot_do_is_on_the_list(storage: Storage) -> None:
    storage.workers.enter("one", "cpu", "hpsearch 1")
    storage.workers.see("one", "digits: no data")
    assert storage.workers.present()[0].note == "digits: no data"


@on_sqlite
def test_who_was_not_heard_of_is_not_there_and_after_a_week_a_newcomer_clears_the_list(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.workers.enter("dead", "cpu", "hpsearch 1")
    rewind(storage, workers, "seen_at", 8 * 86400)
    assert storage.workers.present() == []
    storage.workers.enter("fresh", "cpu", "hpsearch 1")
    monkeypatch.setattr(worker_list, "GONE_AFTER_S", 30 * 86400.0)
    assert [w.name for w in storage.workers.present()] == ["fresh"]


def test_a_worker_that_slept_for_a_day_is_there_again_though_others_came(storage: Storage) -> None:
    spec = enter(storage)
    storage.workers.enter("asleep", "cpu", "hpsearch 1")
    lease = claimed(storage, spec, "asleep")
    rewind(storage, workers, "seen_at", 86400)
    storage.workers.enter("newcomer", "cpu", "hpsearch 1")
    assert [w.name for w in storage.workers.present()] == ["newcomer"]
    storage.leases.renew(lease)  # all that it does while it trains
    assert {w.name for w in storage.workers.present()} == {"asleep", "newcomer"}


def test_renewing_a_lease_is_a_sign_of_life(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = enter(storage)
    storage.workers.enter("worker", "cpu", "hpsearch 1")
    lease = claimed(storage, spec, "worker")
    before = storage.workers.present()[0].seen_s
    storage.leases.renew(lease)
    assert storage.workers.present()[0].seen_s < before + 0.5
