"""Everything that can be wrong with a study, found without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpsearch.data.findings import Audit, read_audit
from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress
from hpsearch.errors import NoStorageError, StudyNotFoundError
from hpsearch.evaluation.seal import Seal, seal_before
from hpsearch.machine.children import check_device_name
from hpsearch.models.cost import Cost, cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import infeasible, machine_memory_bytes
from hpsearch.models.weights import check_weights
from hpsearch.preflight.estimate import Estimate, estimate, reckoned
from hpsearch.preflight.locality import Locality, locality
from hpsearch.preflight.planning import costs_of, plan, workers_of
from hpsearch.preflight.probing import sampled
from hpsearch.search.entering import find_warm_start
from hpsearch.search.lineage import check_continues
from hpsearch.storage.plan_record import PlanRecord
from hpsearch.storage.storage import opened_storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec

SAMPLES = 3


@dataclass(frozen=True)
class Checked:
    """A study that can be launched: its data, what is odd in it, what some of its trials would be,
    what it costs.

    `refused` says which of those would not be trained, and why.
    """

    prepared: Prepared
    audit: Audit
    samples: list[tuple[TrialConfig, Cost]]
    refused: list[str]
    estimate: Estimate
    plan: PlanRecord | None  # of a budget of time
    locality: Locality | None  # where it was asked for
    seal: Seal | None = None  # where there is a storage


def check(
    spec: StudySpec,
    data_root: str | Path | None = None,
    progress: Progress = no_progress,
    workers: int | None = None,
    device: str = "auto",
    with_locality: bool = False,
    storage_url: str | None = None,
) -> Checked:
    """Prepare the data, build the networks of the first trials, time some; raises what a launch
    would.

    A storage is read where there is one, for who has opened this validation; none is made.
    """
    check_device_name(device)
    prepared = prepare(spec.data, data_root, progress)
    seal = None if storage_url is None else _seal(spec, prepared, storage_url)
    check_weights(spec)
    spec, planned, cost_of_all = _cost_of_all(spec, prepared, workers, device)
    shape, outputs = ImageShape(*prepared.image_shape), len(prepared.outputs)
    count = min(SAMPLES, spec.trial_budget())
    configs = sampled(spec, prepared.fingerprint, "fp32", count)
    samples = [(config, cost(config, shape, outputs)) for config in configs]
    refused = []
    for i, (config, needs) in enumerate(samples):
        found = infeasible(needs, config, spec.search, machine_memory_bytes())
        if found is not None:
            refused.append(f"configuration {i} would not be trained: {found.reason}")
    audit = read_audit(prepared.folder)
    local = locality(spec, prepared, device) if with_locality else None
    return Checked(prepared, audit, samples, refused, cost_of_all, planned, local, seal)


def _cost_of_all(
    spec: StudySpec, prepared: Prepared, workers: int | None, device: str
) -> tuple[StudySpec, PlanRecord | None, Estimate]:
    """Return a study as it would be launched, with its plan where it has one, and its cost."""
    if not spec.search.is_planned:
        return spec, None, estimate(spec, prepared, workers, device)
    count = workers_of(spec, workers, device)
    spec, found = plan(
        spec, costs_of(spec, prepared, count, device), count, device, train=prepared.totals[0]
    )
    epochs_s = [found.of_a_pass * pass_s for pass_s in found.spread]
    trained_s = [epoch_s for epoch_s in epochs_s if epoch_s <= found.longest_s] or epochs_s[:1]
    return spec, found, reckoned(spec, trained_s, count)


def _seal(spec: StudySpec, prepared: Prepared, storage_url: str) -> Seal | None:
    """Return who has seen what this study would seal, None where there is no storage yet."""
    try:
        with opened_storage(storage_url) as storage:
            check_continues(storage, spec, prepared)
            find_warm_start(storage, spec, prepared)
            return seal_before(storage, spec, prepared)
    except NoStorageError as error:
        if spec.search.warm_start is not None:
            earlier = spec.search.warm_start
            raise StudyNotFoundError(f"search.warm_start: no study '{earlier}': {error}") from None
        if spec.continues is not None:
            raise StudyNotFoundError(f"continues: no study '{spec.continues}': {error}") from None
        return None
