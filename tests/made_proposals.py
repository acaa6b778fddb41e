"""Searches without training: what samplers propose where a network may be too large."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
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
    search = {"sampler": sampler, "max_parameters": 30_000}
    study = proposed(space, search, seed, trials, made_score)
    too_large = sum(t.state == TrialState.PRUNED for t in study.trials)
    return too_large, max(t.value for t in study.trials if t.value is not None)


def proposed(
    space: str,
    search: dict[str, Any],
    seed: int,
    trials: int,
    score: Callable[[TrialConfig], float],
) -> optuna.Study:
    """Return a study whose trials were sampled as a search samples them, and given a score."""
    plain = search["sampler"] == "plain gp"
    written = search | {"sampler": "gp"} if plain else search
    spec = StudySpec.model_validate(
        {
            "name": "digits",
            "data": {"source": "digits"},
            "space": SPACES[space],
            "search": {"seed": seed, "trials": trials, "epochs": 15, **written},
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
        trial.set_user_attr("forward_flops", price.forward_flops)
        found = infeasible(price, config, spec.search, None)
        if found is None:
            study.tell(trial, score(config))
        else:
            trial.set_constraint(found.what, found.over)
            study.tell(trial, state=TrialState.PRUNED)
    return study


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


def made_score_by_size(config: TrialConfig) -> float:
    """Return a test accuracy that grows with whatever makes a network larger, ever more slowly.

    The error falls with a power of the width, as those of real networks do; the rate, the dropout
    and the optimizer matter at every size. The seed moves it by 0.003, as a standard deviation.
    """
    depth, kernel = (1.2, 1.0)[config.layers == 3], (1.08, 1.0)[config.kernel_size == 5]
    error: float = 0.015 + 0.3 * config.filters**-0.7 * depth * kernel * (1 + 4 / config.units1)
    rate = math.log10(config.learning_rate / 8e-3)
    error += 0.05 * rate**2 + 0.1 * (config.dropout - 0.1) ** 2
    error += 0.01 * (config.optimizer == "sgd")
    return 1 - error + float(np.random.default_rng(config.seed).normal(0, 0.003))


LARGEST, SMALLEST, WORST = 1e6, 1e3, 0.3  # parameters, and an error, of which all is reckoned


def dominated(study: optuna.Study) -> float:
    """Return the share of all errors and sizes (by their logarithm) that complete trials beat."""
    points = [
        (math.log(t.user_attrs["parameters"]), 1 - t.value)
        for t in study.trials
        if t.value is not None
    ]
    area, right, width = 0.0, math.log(LARGEST), math.log(LARGEST / SMALLEST)
    for size, _ in sorted(points, reverse=True):
        best = min(error for other, error in points if other <= size)
        area += max(0.0, right - size) * max(0.0, WORST - best)
        right = min(right, size)
    return area / (width * WORST)
