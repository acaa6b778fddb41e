"""What cannot be trained here: known before, with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from made_configs import config_with

from hpsearch.models import limits
from hpsearch.models.cost import Cost
from hpsearch.models.limits import (
    device_memory_bytes,
    infeasible,
    machine_memory_bytes,
    too_slow,
)
from hpsearch.study.searching import Search

GIB = 2**30
PRICE = Cost(parameters=1000, forward_flops=20, memory_bytes=2 * GIB)


def limited(**constraints: float) -> Search:
    return Search.model_validate({"constraints": constraints})


def test_what_fits_is_feasible() -> None:
    assert infeasible(PRICE, config_with(), limited(parameters=1000, flops=20), 2 * GIB) is None
    assert infeasible(PRICE, config_with(), Search(max_parameters=1000), None) is None
    assert infeasible(PRICE, config_with(), Search(), None) is None


@pytest.mark.parametrize(
    ("search", "what", "reason"),
    [
        (
            Search(max_parameters=999),
            "parameters",
            "it has 1,000 parameters, more than search.max_parameters, 999",
        ),
        (
            limited(parameters=999, flops=19),
            "parameters",
            "it has 1,000 parameters, more than search.constraints.parameters, 999",
        ),
        (
            limited(flops=19),
            "flops",
            "it takes 20 FLOPs for an image, more than search.constraints.flops, 19",
        ),
    ],
    ids=["max_parameters", "parameters", "flops"],
)
def test_what_takes_more_than_the_study_wants_is_infeasible(
    search: Search, what: str, reason: str
) -> None:
    found = infeasible(PRICE, config_with(), search, None)
    assert found is not None
    assert (found.what, found.reason, found.in_parts) == (what, reason, False)


def test_what_takes_longer_for_an_image_than_the_study_wants_is_infeasible() -> None:
    assert too_slow(2.0, "a machine", limited(latency_ms=2)) is None
    assert too_slow(2000.0, "a machine", Search()) is None
    found = too_slow(2.34567, "a machine, 1 thread", limited(latency_ms=2))
    assert found is not None
    assert found.what == "latency"
    assert found.reason == (
        "it takes 2.346 ms for an image on a machine, 1 thread, more than "
        "search.constraints.latency_ms, 2"
    )


def test_maps_that_vanish_are_infeasible() -> None:
    found = infeasible(Cost(1, 1, 1, "no pixel would be left"), config_with(), Search(), None)
    assert found is not None
    assert (found.what, found.reason) == ("maps", "no pixel would be left")


@pytest.mark.parametrize(
    ("batch_size", "micro_batches", "in_parts"), [(32, 1, True), (32, 4, False), (1, 1, False)]
)
def test_too_much_memory_is_infeasible_and_smaller_parts_may_help(
    batch_size: int, micro_batches: int, in_parts: bool
) -> None:
    config = config_with(batch_size=batch_size, micro_batches=micro_batches)
    found = infeasible(PRICE, config, Search(), GIB)
    assert found is not None
    assert (found.what, found.in_parts) == ("memory", in_parts)
    assert found.reason == "it needs about 2.0 GiB of memory, and there are 1.0"


def test_a_worker_has_its_share_of_the_memory_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpsearch.models.limits.os.cpu_count", lambda: 8)
    cpu, total = torch.device("cpu"), machine_memory_bytes()
    assert total is not None
    assert device_memory_bytes(cpu, 2) == total // 4
    assert device_memory_bytes(cpu, 64) == total


def test_a_container_may_have_less_memory_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(limits, "CGROUP_LIMITS", (tmp_path / "missing", limit))
    limit.write_text("104857600\n")
    assert machine_memory_bytes() == 100 * 2**20
    limit.write_text("max\n")
    assert machine_memory_bytes() == physical
