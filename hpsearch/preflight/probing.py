"""Timing what a study would train: configurations from the cheapest to the dearest."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
import torch

from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.errors import HpsearchError
from hpsearch.machine.children import Tell, device_named
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import device_memory_bytes, infeasible
from hpsearch.search.samplers import given_params, sampler_for
from hpsearch.study.config import TrialConfig
from hpsearch.study.limits import STORED
from hpsearch.study.spec import StudySpec, config_from
from hpsearch.training.precision import faster_precision
from hpsearch.training.probe import epoch_s

SAMPLED = 64  # configurations whose cost is reckoned
PROBED = 8  # of them, from the cheapest to the dearest, that are timed


def probe(
    tell: Tell, written: str, prepared: Path, device_name: str, number: int, of: int
) -> list[float]:
    """Return the seconds of an epoch for every `of`-th configuration that is probed."""
    spec = StudySpec.model_validate_json(written, context=STORED)
    data, device = load_search_data(prepared), device_named(device_name)
    precision = faster_precision(spec.search.precision, data, device)
    configs = feasible(spec, sampled(spec, data.fingerprint, precision), data, device)
    count = max(PROBED, of)
    middles = [configs[(2 * i + 1) * len(configs) // (2 * count)] for i in range(count)]
    return [epoch_s(config, data, device) for config in middles[number::of]]


def feasible(
    spec: StudySpec, configs: list[TrialConfig], data: SearchData, device: torch.device
) -> list[TrialConfig]:
    """Return those configurations that would be trained, from the cheapest to the dearest.

    Raises HpsearchError with a reason where there is none.
    """
    shape, outputs = ImageShape(*data.image_shape), len(data.outputs)
    memory = device_memory_bytes(device, threads=1)
    costs = [cost(config, shape, outputs) for config in configs]
    refused = [
        infeasible(cost, config, spec.search, memory)
        for cost, config in zip(costs, configs, strict=True)
    ]
    if None not in refused:
        assert refused[0] is not None
        raise HpsearchError(
            f"none of {len(configs)} configurations of this space can be trained; the first: "
            f"{refused[0].reason}"
        )
    kept = [i for i, reason in enumerate(refused) if reason is None]
    return [configs[i] for i in sorted(kept, key=lambda i: costs[i].forward_flops)]


def sampled(
    spec: StudySpec, fingerprint: str, precision: str, count: int = SAMPLED
) -> list[TrialConfig]:
    """Return configurations as the first trials of a study would have them, or random ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    configs = []
    if spec.search.sampler.name == "grid":
        count = min(count, spec.trial_budget())
    for slot in range(count):
        study.sampler = sampler_for(spec.search, slot)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.enqueue_trial(given_params(spec, slot))
            trial = study.ask()
        for name, value in (("seed", slot), ("precision", precision), ("threads", 1)):
            trial.set_user_attr(name, value)
        configs.append(config_from(spec, fingerprint, trial))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return configs
