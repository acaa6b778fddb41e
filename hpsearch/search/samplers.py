"""Samplers by the names of the study file, and what they are given."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from hpsearch.search.gaussian import TaughtGPSampler
from hpsearch.search.scalarised import towards_both
from hpsearch.search.tpe import QuickTPESampler
from hpsearch.study.axes import Value
from hpsearch.study.searching import Search
from hpsearch.study.spec import StudySpec

GOALS_STREAM = 100  # of `seed_of`; finalists have those from 2 on
LEARNING = ("tpe", "gp")  # the others propose the same whatever trials come to


def seed_of(study_seed: int, slot: int, stream: int) -> int:
    """Return an independent seed for one slot of a study; `stream` 0 samples, 1 trains.

    Every trial has its own, whoever runs it and after however many restarts, so that a resumed
    study does not propose its first trials again.
    """
    return int(np.random.SeedSequence((study_seed, slot, stream)).generate_state(1)[0])


def sampler_for(search: Search, slot: int) -> BaseSampler:
    """Return the sampler that proposes the trial of one slot."""
    sampler = _sampler_for(search, slot)
    if search.also is None or search.sampler.name not in LEARNING:
        return sampler
    return towards_both(sampler, search.also, seed_of(search.seed, slot, stream=GOALS_STREAM))


def _sampler_for(search: Search, slot: int) -> BaseSampler:
    seed = seed_of(search.seed, slot, stream=0)
    startup = search.sampler.startup_trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if search.sampler.name == "tpe":
            # Grouped, or conditional axes would drop out of the joint model. The constant liar
            # keeps parallel workers from proposing the same point.
            return QuickTPESampler(
                n_startup_trials=startup,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=seed,
            )
        if search.sampler.name == "gp":
            return TaughtGPSampler(
                limits=search.limits(),
                n_startup_trials=startup,
                seed=seed,
                warn_independent_sampling=False,
            )
    return optuna.samplers.RandomSampler(seed=seed)  # random; a grid's points are all given


def given_params(spec: StudySpec, slot: int, with_idle: bool = False) -> dict[str, Value]:
    """Return what the trial of a slot does not sample.

    A grid gives every point its slot. Otherwise the first trials are the known-good defaults, one
    for each family, so that the search starts from something to beat; then nothing is given. The
    grid of a study that began before 0.2 has its points `with_idle` values, too.
    """
    if spec.search.sampler.name == "grid":
        return dict(next(p for i, p in enumerate(spec.space.grid(with_idle)) if i == slot))
    families = spec.space.families()
    return spec.space.default_params(families[slot]) if slot < len(families) else {}
