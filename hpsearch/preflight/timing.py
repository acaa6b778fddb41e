"""Timing a few configurations of a space, so that the cost of any other can be predicted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from hpsearch.data.prepared import load_search_data
from hpsearch.machine.children import Tell, device_named
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import device_memory_bytes, infeasible
from hpsearch.models.work import work_of
from hpsearch.preflight.probing import SAMPLED, feasible, sampled
from hpsearch.search.attempt import device_name as name_of
from hpsearch.study.config import TrialConfig
from hpsearch.study.goals import Goals
from hpsearch.study.limits import STORED
from hpsearch.study.spec import StudySpec
from hpsearch.training.precision import faster_precision
from hpsearch.training.probe import epoch_s

PROBED = 8  # configurations that are timed
EFFORT = 0.25  # of what `check` takes for one
LARGEST_BATCH = 64  # of a timed one: a step of the dearest networks takes seconds with larger ones
WITHIN_S = 2.5  # no further one is timed after that, once there are `LEAST`
LEAST = 3  # as many as a speed has parts

Asked = tuple[float, float, float]  # the parts of a `Work`


class Timed(NamedTuple):
    """What one process found: work that it timed, with its seconds; and the work of a space.

    `default` is the work of the study's first configuration, `device` the name of where it was.
    """

    timed: list[tuple[Asked, float]]
    space: list[Asked]
    default: Asked
    device: str


def measure(
    tell: Tell, written: str, prepared: Path, device_name: str, number: int, of: int
) -> Timed:
    """Return what every `of`-th of the timed configurations of a space took here."""
    began = time.monotonic()
    spec = StudySpec.model_validate_json(written, context=STORED)
    data, device = load_search_data(prepared), device_named(device_name)
    shape, outputs = ImageShape(*data.image_shape), len(data.outputs)
    precision = faster_precision(spec.search.precision, data, device)
    configs = sampled(spec, data.fingerprint, precision, SAMPLED)
    kept = feasible(spec, configs, data, device)
    memory = device_memory_bytes(device, threads=1)

    def asked(config: TrialConfig) -> Asked:
        needs = cost(config, shape, outputs)
        work = work_of(needs, config, len(data.train), len(data.test))
        return work.flops, work.moved, work.calls

    found = []
    for i in _order(PROBED)[number::of]:
        config = kept[(2 * i + 1) * len(kept) // (2 * PROBED)]
        smaller = {"batch_size": min(config.batch_size, LARGEST_BATCH)}
        config = config.model_copy(update=smaller)
        if infeasible(cost(config, shape, outputs), config, Goals(), memory) is not None:
            continue  # a smaller batch may leave one image for a part
        found.append((asked(config), epoch_s(config, data, device, EFFORT)))
        if time.monotonic() - began > WITHIN_S and len(found) * of >= LEAST:
            break
    return Timed(found, [asked(c) for c in kept], asked(configs[0]), name_of(device))


def _order(count: int) -> list[int]:
    """Return 0 ... count - 1 from the middle and the ends on, so that the first ones tell most."""
    middle = (count - 1) / 2
    return sorted(range(count), key=lambda i: -abs(abs(i - middle) - middle / 2))
