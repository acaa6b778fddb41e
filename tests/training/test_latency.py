"""How long a network takes for one image."""

from __future__ import annotations

import time

import pytest
import torch
from made_configs import config_with

from hpsearch.models.layers import ImageShape
from hpsearch.training import latency as module
from hpsearch.training.latency import latency

CPU = torch.device("cpu")
SHAPE = ImageShape(1, 28, 28)


def test_a_larger_network_takes_longer_and_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    small = latency(config_with(filters=2), SHAPE, 10, CPU)
    large = latency(config_with(filters=256, layers=3), SHAPE, 10, CPU)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert 0 < small.ms < large.ms
    assert large.measured_on.endswith(", 1 thread")
    assert small.measured_on == large.measured_on


def test_what_others_do_meanwhile_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = latency(config_with(), SHAPE, 10, CPU)
    forward = torch.nn.ReLU.forward

    def kept_waiting(module: torch.nn.ReLU, given: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return forward(module, given)

    monkeypatch.setattr(torch.nn.ReLU, "forward", kept_waiting)
    assert latency(config_with(), SHAPE, 10, CPU).ms < min(50, alone.ms + 25)


@pytest.mark.parametrize(
    ("most_ms", "times_s", "ms"),
    [
        (None, [0.004], 4.0),
        (5.0, [0.004], 4.0),
        (3.0, [0.004, 0.002], 2.0),
        (3.0, [0.004, 0.0035, 0.0036], 3.5),
        (1.0, [0.004], 4.0),
    ],
    ids=["no limit", "below it", "above it by chance", "above it", "far above it"],
)
def test_what_seems_a_little_too_slow_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, most_ms: float | None, times_s: list[float], ms: float
) -> None:
    left = list(times_s)
    monkeypatch.setattr(module, "_undisturbed_s", lambda run_s: left.pop(0))
    found = latency(config_with(), SHAPE, 10, CPU, most_ms)
    assert found.ms == pytest.approx(ms)
    assert left == []
