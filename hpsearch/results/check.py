"""Everything that can be wrong with a study, found without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress
from hpsearch.models.cost import Cost, cost
from hpsearch.models.head import ImageShape
from hpsearch.models.weights import check_weights
from hpsearch.results.estimate import Estimate, estimate, sampled
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec

SAMPLES = 3


@dataclass(frozen=True)
class Checked:
    """A study that can be launched: its data, what some of its trials would be, what it costs."""

    prepared: Prepared
    samples: list[tuple[TrialConfig, Cost]]
    estimate: Estimate


def check(
    spec: StudySpec,
    data_root: str | Path | None = None,
    progress: Progress = no_progress,
    workers: int | None = None,
    device: str = "auto",
) -> Checked:
    """Prepare the data, build the networks of the first trials, time some; raises what a launch
    would."""
    prepared = prepare(spec.data, data_root, progress)
    check_weights(spec)
    shape, outputs = ImageShape(*prepared.image_shape), len(prepared.outputs)
    count = min(SAMPLES, spec.trial_budget())
    configs = sampled(spec, prepared.fingerprint, "fp32", count)
    samples = [(config, cost(config, shape, outputs)) for config in configs]
    return Checked(prepared, samples, estimate(spec, prepared, workers, device))
