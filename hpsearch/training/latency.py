"""How long a network takes for one image, measured before it is trained."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import autocast

WARM_RUNS = 3  # the first choose algorithms and lay weights out anew
MEASURED_S, FEWEST_RUNS = 0.04, 10  # timed for so long, and so often at least
FASTEST = 0.1  # of these runs
TRIES = 3  # for what seems too slow: whatever else runs on a machine makes it slower, never faster
HOPELESS = 3.0  # times the limit: no noise that another try would mend


@dataclass(frozen=True)
class Latency:
    """The milliseconds of one image, and in words what they were measured on."""

    ms: float
    measured_on: str


def latency(
    config: TrialConfig,
    shape: ImageShape,
    outputs: int,
    device: torch.device,
    most_ms: float | None = None,
) -> Latency:
    """Return how long a configuration's network takes for one normalised image, forward.

    That of the fastest tenth of repeated runs with one thread, after a few that warm up; weights
    are as they are drawn, for what they are makes no difference. Where that is above `most_ms`, the
    least of several such times. Takes 50 to 100 ms, more where one image does.

    Workers share their machine, and others only make it slower. On a processor its own time is
    counted, not the clock's; with ten others at two cores the clock said 33 ms of a network that
    takes 0.3, medians of the processor's time were 0.16 to 0.24 ms of another one, those of the
    clock 0.19 to 0.90, and the fastest tenth 0.124 to 0.149.
    """
    now = time.thread_time if device.type == "cpu" else time.perf_counter
    model = build_model(config, shape, outputs).eval()
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.zeros(1, shape.channels, shape.height, shape.width, device=device)
    image = image.to(memory_format=torch.channels_last)

    def run_s() -> float:
        began = now()
        with torch.no_grad(), autocast(config, device):  # as `predict` runs, and a saved model
            outputs = model(image)
        outputs.cpu()  # waits for the device
        return now() - began

    with _one_thread():
        for _ in range(WARM_RUNS):
            run_s()
        found = _undisturbed_s(run_s)
        for _ in range(TRIES - 1):
            if most_ms is None or not most_ms < found * 1000 < HOPELESS * most_ms:
                break
            found = min(found, _undisturbed_s(run_s))
    return Latency(round(found * 1000, 4), f"{unit_name(device)}, 1 thread")


def _undisturbed_s(run_s: Callable[[], float]) -> float:
    """Return the seconds in which the fastest tenth of repeated runs ends."""
    runs: list[float] = []
    while len(runs) < FEWEST_RUNS or sum(runs) < MEASURED_S:
        runs.append(run_s())
    return float(np.quantile(runs, FASTEST))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def unit_name(device: torch.device) -> str:
    """Return what a network runs on, as its maker calls it where the system tells that."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "cpu"
