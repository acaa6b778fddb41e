"""Everything that can be wrong with a study, found without training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpsearch.data.findings import Audit, read_audit
from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress
from hpsearch.models.cost import Cost, cost
from hpsearch.models.head import ImageShape
from hpsearch.search.samplers import given_params, sampler_for
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from

SAMPLES = 3


@dataclass(frozen=True)
class Checked:
    """A study that can be launched: its data, what is odd in it, what some trials would be."""

    prepared: Prepared
    audit: Audit
    samples: list[tuple[TrialConfig, Cost]]


def check(
    spec: StudySpec, data_root: str | Path | None = None, progress: Progress = no_progress
) -> Checked:
    """Prepare the data and build the networks of the first trials; raises what a launch would."""
    prepared = prepare(spec.data, data_root, progress)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    samples = []
    for slot in range(min(SAMPLES, spec.trial_budget())):
        study.sampler = sampler_for(spec.search, slot)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.enqueue_trial(given_params(spec, slot))
            trial = study.ask()
        for name, value in (("seed", 0), ("precision", "fp32"), ("threads", 1)):
            trial.set_user_attr(name, value)
        config = config_from(spec, prepared.fingerprint, trial)
        samples.append(
            (config, cost(config, ImageShape(*prepared.image_shape), len(prepared.outputs)))
        )
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return Checked(prepared, read_audit(prepared.folder), samples)
