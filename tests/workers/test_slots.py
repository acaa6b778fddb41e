"""How many workers a machine holds."""

from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_studies import enter, run_trial, spec_of

from hpsearch.storage.storage import Storage
from hpsearch.workers import gpu_slots as slots
from hpsearch.workers.gpu_slots import (
    CONTEXT_BYTES,
    LARGEST_PER_GPU,
    TRIALS_MEASURED,
    GpuSlots,
    workers_per_gpu,
)

GIB = 2**30


def test_a_cpu_has_a_worker_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "cores", lambda: 6)
    monkeypatch.setattr(slots, "gpus", lambda: 0)
    assert GpuSlots("auto", None).count == 6
    assert GpuSlots("cpu", None).count == 6
    assert GpuSlots("auto", 2).count == 2
    assert GpuSlots("auto", None, most=3).count == 3


def test_gpus_begin_with_a_worker_each_and_a_wish_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "gpus", lambda: 2)
    assert GpuSlots("auto", None).count == 2
    assert GpuSlots("auto", 5).count == 5
    assert GpuSlots("cuda:1", None).count == 1


@pytest.mark.parametrize(
    ("peak", "total", "fit"),
    [
        (GIB, 80 * GIB, LARGEST_PER_GPU),
        (20 * GIB, 80 * GIB, 3),
        (79 * GIB, 80 * GIB, 1),
        (100 * GIB, 80 * GIB, 1),
    ],
)
def test_a_gpu_holds_what_fits_into_its_memory(peak: int, total: int, fit: int) -> None:
    assert workers_per_gpu(peak, total) == fit
    if 1 < fit < LARGEST_PER_GPU:
        assert fit * (peak + CONTEXT_BYTES) <= total


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "cores", lambda: 32)
    monkeypatch.setattr(slots, "gpus", lambda: 2)


def measure(storage: Storage, gib: float, count: int = 1, device_gib: int = 24) -> None:
    """Run trials that took so much of a GPU."""
    taken: dict[str, Any] = {
        "peak_memory_bytes": int(gib * GIB),
        "device_memory_bytes": device_gib * GIB,
    }
    for _ in range(count):
        run_trial(storage, spec_of(), **taken)


@on_sqlite
@pytest.mark.usefixtures("two_gpus")
def test_gpus_get_more_workers_once_a_few_trials_were_measured(storage: Storage) -> None:
    enter(storage, trials=20)
    machine = GpuSlots("auto", None)
    for _ in range(TRIALS_MEASURED):
        assert machine.more(storage, "made") == []
        measure(storage, 5)
    assert machine.more(storage, "made") == [2, 3, 4, 5], "each holds three, and one is there"
    assert machine.count == 6
    measure(storage, 1, 5)
    assert machine.more(storage, "made") == [], "the machine is settled"


@on_sqlite
@pytest.mark.usefixtures("two_gpus")
def test_the_largest_trial_and_the_smallest_gpu_decide(storage: Storage) -> None:
    enter(storage, trials=20)
    measure(storage, 1, 2)
    measure(storage, 9)
    assert GpuSlots("cuda", None).more(storage, "made") == [2, 3]
    measure(storage, 1, device_gib=12)
    assert GpuSlots("cuda", None).more(storage, "made") == []


@on_sqlite
@pytest.mark.usefixtures("two_gpus")
def test_gpus_get_no_more_workers_than_there_are_cores_or_trials_or_were_asked_for(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(storage, trials=20)
    measure(storage, 0.1, TRIALS_MEASURED)
    assert len(GpuSlots("auto", None).more(storage, "made")) == 2 * LARGEST_PER_GPU - 2
    assert GpuSlots("auto", None, most=3).more(storage, "made") == [2]
    assert GpuSlots("auto", 2).more(storage, "made") == []
    monkeypatch.setattr(slots, "cores", lambda: 4)
    assert GpuSlots("auto", None).more(storage, "made") == [2, 3]


@on_sqlite
@pytest.mark.usefixtures("two_gpus")
def test_workers_of_every_study_learn_from_all_of_them(storage: Storage) -> None:
    enter(storage, trials=20)
    enter(storage, spec_of("other"))
    measure(storage, 5, TRIALS_MEASURED)
    assert GpuSlots("auto", None).more(storage, "other") == []
    assert GpuSlots("auto", None).more(storage, None) == [2, 3, 4, 5]
