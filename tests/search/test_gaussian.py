"""The Gaussian process learns where trials are infeasible."""

from __future__ import annotations

import warnings

import optuna
from made_proposals import searched
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import TrialState

from hpsearch.search.gaussian import TaughtGPSampler


def infeasible(sampler: BaseSampler, trials: int = 22) -> int:
    """Return how many of the trials had too many filters, where more are better."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        filters = trial.suggest_int("filters", 8, 128, step=8)
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        if filters > 40:
            trial.set_constraint("parameters", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, filters / 128 - abs(rate - 1e-2))
    return sum(t.state == TrialState.PRUNED for t in study.trials)


def test_infeasible_trials_teach_it_and_stay_what_they_are() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        seeds = range(3)
        taught = [infeasible(TaughtGPSampler(seed=s, n_startup_trials=5)) for s in seeds]
        plain = [infeasible(GPSampler(seed=s, n_startup_trials=5)) for s in seeds]
    assert sum(taught) < 0.8 * sum(plain), (taught, plain)


def test_it_proposes_fewer_networks_that_are_too_large_than_optunas_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taught, score = searched("filters", "gp", seed=0)
        plain, _ = searched("filters", "plain gp", seed=0)
    assert taught <= 12 < 24 <= plain, "10 are drawn before it learns"
    assert score > 0.78, "of the two numbers of filters that are possible, it found the better"
