"""Device and precision: decided by looking and measuring, never by assumption."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from hpsearch.data.prepared import SearchData, cache_folder
from hpsearch.models.randomness import DrawingFrom
from hpsearch.study.config import Precision
from hpsearch.writing import write_bytes_whole

PROBE_FILTERS = 32
PROBE_BATCH = 64
PROBE_STEPS = 3
# bf16 has to be clearly faster: where the two are close, fp32 is the safer number.
PROBE_MARGIN = 1.2


def best_device() -> torch.device:
    """Return CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def faster_precision(wanted: str, data: SearchData, device: torch.device) -> Precision:
    """Return the precision to train in: the one wanted, or for `auto` what a probe finds faster.

    On CPUs without bf16 instructions bf16 is several times slower, so it has to be measured. The
    answer is kept beside the prepared data, so that the same machine answers the same next time,
    however busy it is.
    """
    if wanted == "fp32":
        return "fp32"
    if wanted == "bf16":
        return "bf16"
    if device.type == "mps":
        return "fp32"
    kept = cache_folder() / "precision" / _probe_name(data, device)
    with contextlib.suppress(OSError):
        answer = kept.read_text(encoding="ascii")
        if answer in ("fp32", "bf16"):
            return "bf16" if answer == "bf16" else "fp32"
    found = _probed(data, device)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs another probe
        write_bytes_whole(kept, found.encode("ascii"))
    return found


def _probe_name(data: SearchData, device: torch.device) -> str:
    """Return what the answer of a probe depends on, as a file name."""
    cuda = device.type == "cuda"
    unit = torch.cuda.get_device_name(device) if cuda else torch.backends.cpu.get_cpu_capability()
    made_of = (unit, platform.processor(), _cpu_model(), torch.__version__, data.image_shape)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith("flags")), "")
    return ""


def _probed(data: SearchData, device: torch.device) -> Precision:
    channels, height, width = data.image_shape
    generator = torch.Generator(device).manual_seed(0)
    images = torch.rand(PROBE_BATCH, channels, height, width, device=device, generator=generator)
    images = images.to(memory_format=torch.channels_last)
    targets = torch.zeros(PROBE_BATCH, dtype=torch.long, device=device)
    times = {name: _step_s(images, targets, name == "bf16") for name in ("fp32", "bf16")}
    return "bf16" if times["bf16"] * PROBE_MARGIN < times["fp32"] else "fp32"


def _step_s(images: torch.Tensor, targets: torch.Tensor, bf16: bool) -> float:
    """Return the seconds of the fastest of a few training steps of a small network."""
    with DrawingFrom(torch.Generator().manual_seed(0)):
        model = _small_network(images)
    model = model.to(device=images.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    fastest = float("inf")
    for _ in range(1 + PROBE_STEPS):
        started = time.perf_counter()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        functional.cross_entropy(logits.float(), targets).backward()
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def _small_network(images: torch.Tensor) -> nn.Module:
    height, width = images.shape[2:]
    return nn.Sequential(
        nn.Conv2d(images.shape[1], PROBE_FILTERS, 3, padding=1),
        nn.MaxPool2d((min(2, height), min(2, width))),  # a text is one pixel high
        nn.ReLU(),
        nn.Conv2d(PROBE_FILTERS, PROBE_FILTERS, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(PROBE_FILTERS, 2),
    )
