"""Configurations that a study has tried: none is trained twice, and a space can be exhausted."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from hpsearch.search.attempt import took_too_long
from hpsearch.search.keys import config_of, key_of
from hpsearch.search.kinds import EXHAUSTED, KNOWN, kind_of
from hpsearch.search.samplers import seed_of
from hpsearch.storage.optuna_private import id_of, study_id_of
from hpsearch.storage.optuna_trials import TrialStore
from hpsearch.storage.storage import Storage
from hpsearch.study.axes import Value
from hpsearch.study.goals import RECORDED_AS
from hpsearch.study.spec import StudySpec, config_from

logger = logging.getLogger(__name__)

ASKS = 5  # of the sampler, before a point is drawn that nobody tried
DRAWS = 20  # of random points, where they cannot be counted
MOST_COUNTED = 10_000  # points of a space; to count them takes a second or two


@dataclass
class Known:
    """What the trials of a study have tried, by the keys of their configurations.

    A trial that has ended is looked at once, so that a claim costs the same after 5,000 of them.
    """

    spec: StudySpec
    fingerprint: str
    _seen: set[int] = field(default_factory=set)  # numbers of ended trials
    _ended: dict[str, FrozenTrial] = field(default_factory=dict)  # the first of each key

    def asked(self, trial: Trial) -> tuple[Trial, FrozenTrial | None]:
        """Return a trial whose configuration nobody tried, else it and the trial that it equals.

        A trial that begins is asked of its sampler a few times, then drawn from what is left of the
        space, always the same for the same slot and trials. One that has begun stays as it is, and
        so does what a grid gives. Where nothing is searched, trials are as many seeds.
        """
        if "parameters" in trial.user_attrs or not self.spec.space.searched():
            return trial, None
        for tried in self._asks(trial):  # the first is the trial itself
            config = config_from(self.spec, self.fingerprint, tried)
            others = [t for t in _all_of(trial) if t.number != trial.number]
            equal = self.among(others, key_of(config))
            if equal is None:
                break
        return tried, equal

    def _asks(self, trial: Trial) -> Iterator[Trial]:
        """Yield a live trial again and again, each time with other parameters."""
        yield trial
        if self.spec.search.sampler.name == "grid":
            return
        store = trial.storage
        assert isinstance(store, TrialStore)
        given = store.get_trial(id_of(trial)).system_attrs.get("fixed_params")
        if given:  # a configuration to start from, which was tried before
            store.set_trial_system_attr(id_of(trial), "fixed_params", {})
        for study in itertools.chain(itertools.repeat(trial.study, ASKS), self._others(trial)):
            store.undraw(id_of(trial))
            yield Trial(study, id_of(trial))

    def _others(self, trial: Trial) -> Iterator[Study]:
        """Yield the study with samplers that draw at random, from what nobody tried if possible."""
        seed = seed_of(self.spec.search.seed, trial.user_attrs["slot"], stream=2)
        if self._points is None:
            yield from itertools.repeat(_sampled_by(trial.study, RandomSampler(seed=seed)), DRAWS)
            return
        tried = self.tried(_all_of(trial))
        left = [params for key, params in self._points.items() if key not in tried]
        if left:
            yield _sampled_by(trial.study, _Point(random.Random(seed).choice(left)))

    def among(self, others: Sequence[FrozenTrial], key: str) -> FrozenTrial | None:
        """Return the trial of a key among some that have ended or are at work; None without one."""
        begun = self._read(others)
        return self._ended.get(key) or next((t for t in begun if _key(t) == key), None)

    def tried(self, trials: Sequence[FrozenTrial]) -> set[str]:
        """Return the keys of all configurations that were tried, or are at work."""
        begun = {_key(trial) for trial in self._read(trials)}
        return self._ended.keys() | {key for key in begun if key is not None}

    def exhausted(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Return how many configurations the space has, where all were tried or are at work."""
        # As many points as trials, at least; two that name one loss twice are one configuration.
        if not self.ends or self._size is None or 2 * len(trials) < self._size:
            return None
        points = self._points
        if points is None or not points.keys() <= self.tried(trials):
            return None
        return len(points)

    @cached_property
    def ends(self) -> bool:
        """Whether the space can be exhausted: it is small, searched, and no grid."""
        gridded = self.spec.search.sampler.name == "grid"
        return not gridded and bool(self.spec.space.searched()) and self._size is not None

    @cached_property
    def _size(self) -> int | None:
        """How many points the space has, None where they cannot, or need not, be counted."""
        size = self.spec.space.grid_size()
        return size if size is not None and size <= MOST_COUNTED else None

    @cached_property
    def _points(self) -> dict[str, dict[str, Value]] | None:
        """The points of a small space as trials store them, by their keys."""
        if self._size is None:
            return None
        points = self.spec.space.grid()
        return {key_of(config_of(self.spec, self.fingerprint, p)): p for p in points}

    def _read(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Take note of trials that have ended since; return those that are at work."""
        begun = []
        for trial in [t for t in trials if t.number not in self._seen]:
            if not trial.state.is_finished():
                begun.append(trial)
                continue
            self._seen.add(trial.number)
            if self._stands(trial):
                key = _key(trial) or self._rebuilt(trial)
                if key is not None:
                    self._ended.setdefault(key, trial)
        return begun

    def _rebuilt(self, trial: FrozenTrial) -> str | None:
        """Return the key of a trial of before 0.2; None of one that was never sampled."""
        try:
            return key_of(config_from(self.spec, self.fingerprint, trial))
        except (KeyError, ValueError):
            return None

    def _stands(self, trial: FrozenTrial) -> bool:
        """Whether a trial with the same configuration would end as this one did.

        A failure may be the machine's, and limits may have been changed between two launches.
        """
        kind, search = kind_of(trial), self.spec.search
        if kind == "timed out":
            limit, said = search.trial_timeout, trial.user_attrs.get("reason")
            return limit is not None and said == took_too_long(limit)
        over = [q for q in RECORDED_AS if trial.constraints.get(q, 0.0) > 0]
        if kind == "infeasible" and over:
            taken = {q: trial.user_attrs.get(RECORDED_AS[q], 0.0) for q in over}
            return any(taken[q] > (search.most(q) or math.inf) for q in over)
        return kind not in (KNOWN, "failed")


def end_if_exhausted(storage: Storage, known: Known) -> None:
    """Let a study begin no more trials where all configurations of its space were tried."""
    study = storage.known(known.spec.name)
    trials = study.get_trials(deepcopy=False)
    size = known.exhausted(trials)
    if size is None:
        return
    if study.user_attrs.get(EXHAUSTED) != size:
        study.set_user_attr(EXHAUSTED, size)
        logger.info(
            "all %d configurations of the space of '%s' were tried", size, known.spec.name,
            extra={"event": "space exhausted", "study": known.spec.name, "configurations": size},
        )  # fmt: skip
    storage.ledger.close_budget(known.spec.name)


class _Point(BaseSampler):
    """Proposes one point of a space."""

    def __init__(self, params: Mapping[str, Value]) -> None:
        self._params = params

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._params[param_name]


def _sampled_by(study: Study, sampler: BaseSampler) -> Study:
    other = copy.copy(study)
    other.sampler = sampler
    return other


def _all_of(trial: Trial) -> list[FrozenTrial]:
    """Return all trials of a live trial's study, as they are stored."""
    return trial.storage.get_all_trials(study_id_of(trial.study), deepcopy=False)


def _key(trial: FrozenTrial) -> str | None:
    found: str | None = trial.user_attrs.get("key")
    return found
