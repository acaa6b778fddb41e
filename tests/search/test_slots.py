"""How many workers a machine holds."""

import pytest

from hpsearch.search import slots
from hpsearch.search.slots import CONTEXT_BYTES, LARGEST_PER_GPU, GpuSlots, workers_per_gpu

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
