"""Searches without training: what samplers propose where a network may be too large."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import TrialState

from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import infeasible
from hpsearch.search.samplers import given_params, sampler_for, seed_of
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from

FILTERS = {"low": 8, "high": 128, "step": 8}
SPACES: dict[str, dict[str, Any]] = {
    "filters": {"filters": FILTERS},
    "digits": {
        "filters": FILTERS,
        "units1": {"low": 32, "high": 128, "step": 32},
        "layers": [2, 3],
        "kernel_size": [3, 5],
        "optimizer": ["adam", "adamw", "sgd"],
        "learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
        "batch_size": [32, 64, 128],
        "dropout": {"low": 0.0, "high": 0.4},
    },
}
DIGITS = ImageShape(1, 8, 8)


def searched(space: str, sampler: str, seed: int, trials: int = 30) -> tuple[int, float]:
    """Return how many of a search's trials have more than 30,000 parameters, and the best score."""
    plain = sampler == "plain gp"
    spec = StudySpec.model_validate(
        {
            "name": "digits",
            "data": {"source": "digits"},
            "space": SPACES[space],
            "search": {
                "sampler": "gp" if plain else sampler,
                "seed": seed,
                "trials": trials,
                "epochs": 15,
                "max_parameters": 30_000,
            },
        }
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for slot in range(trials):
        study.sampler = _plain(spec, slot) if plain else sampler_for(spec.search, slot)
        study.enqueue_trial(given_params(spec, slot))
        trial = study.ask()
        for name, value in (("seed", slot), ("precision", "fp32"), ("threads", 1)):
            trial.set_user_attr(name, value)
        config = config_from(spec, "made", trial)
        price = cost(config, DIGITS, 10)
        trial.set_user_attr("parameters", price.parameters)
        found = infeasible(price, config, spec.search.max_parameters, None)
        if found is None:
            study.tell(trial, made_score(config))
        else:
            trial.set_constraint(found.what, 1.0)
            study.tell(trial, state=TrialState.PRUNED)
    too_large = sum(t.state == TrialState.PRUNED for t in study.trials)
    return too_large, max(t.value for t in study.trials if t.value is not None)


def _plain(spec: StudySpec, slot: int) -> BaseSampler:
    return GPSampler(
        n_startup_trials=spec.search.sampler.startup_trials,
        seed=seed_of(spec.search.seed, slot, stream=0),
        warn_independent_sampling=False,
    )


def made_score(config: TrialConfig) -> float:
    """Return a test accuracy that grows with the filters, and has its best learning rate."""
    rate = math.log10(config.learning_rate / 8e-3)
    return 0.98 - 0.3 * math.exp(-config.filters / 32) - 0.05 * rate**2 - 0.1 * config.dropout**2
