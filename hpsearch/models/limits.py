"""What cannot be trained here, known before it is tried, so that the search can learn from it."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from hpsearch.models.cost import Cost
from hpsearch.study.config import TrialConfig
from hpsearch.study.goals import Goals

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Infeasible:
    """Why a configuration cannot be trained: `what` it takes too much of, and a reason for people.

    `in_parts` is whether it may be possible with batches in smaller parts. `over` is above 0,
    the more, the further it is from what can be trained: where that is known, the logarithm of its
    share of a limit.
    """

    what: str
    reason: str
    in_parts: bool = False
    over: float = 1.0


def infeasible(
    cost: Cost, config: TrialConfig, search: Goals, memory_bytes: int | None
) -> Infeasible | None:
    """Return why a network of this cost is not trained within a search's limits, None if it is.

    How long it takes for an image is not known yet (see `too_slow`).
    """
    if cost.impossible is not None:
        return Infeasible("maps", cost.impossible)
    most = search.most("parameters")
    if most is not None and cost.parameters > most:
        key = "constraints.parameters" if search.max_parameters is None else "max_parameters"
        return Infeasible(
            "parameters",
            f"it has {cost.parameters:,} parameters, more than search.{key}, {most:,}",
            over=math.log(cost.parameters / most),
        )
    most = search.most("flops")
    if most is not None and cost.forward_flops > most:
        return Infeasible(
            "flops",
            f"it takes {cost.forward_flops:,} FLOPs for an image, more than "
            f"search.constraints.flops, {most:,}",
            over=math.log(cost.forward_flops / most),
        )
    if memory_bytes is not None and cost.memory_bytes > memory_bytes:
        return Infeasible(
            "memory",
            f"it needs about {cost.memory_bytes / 2**30:.1f} GiB of memory, and there are "
            f"{memory_bytes / 2**30:.1f}",
            in_parts=config.micro_batches == 1 and config.batch_size > 1,
        )
    return None


def too_slow(latency_ms: float, measured_on: str, search: Goals) -> Infeasible | None:
    """Return why a network that takes so long for an image is not trained, None if it is."""
    most = search.most("latency")
    if most is None or latency_ms <= most:
        return None
    return Infeasible(
        "latency",
        f"it takes {latency_ms:.4g} ms for an image on {measured_on}, more than "
        f"search.constraints.latency_ms, {most:g}",
        over=math.log(latency_ms / most),
    )


def device_memory_bytes(device: torch.device, threads: int) -> int | None:
    """Return the memory that a training with so many threads may take, None where it is unknown.

    All of a GPU; of a machine's memory the share that its threads are of the processors, for that
    many workers run beside it.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    total = machine_memory_bytes()
    return None if total is None else total * threads // max(threads, os.cpu_count() or 1)


def machine_memory_bytes() -> int | None:
    """Return the memory of this machine, or of the container; None where the system hides it."""
    known = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
            known.append(int(path.read_text(encoding="ascii")))
    return min(known, default=None)
