"""Which finalists are trained again, which of them have lost, and which one is chosen.

All of it follows from what is stored, so that every worker and every report comes to the same.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpsearch.search.finalist_statistics import (
    alike,
    differences,
    distinguished,
    image_variance_of_correct,
    out_of_the_race,
)
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.confirmations import Confirmation
from hpsearch.storage.leases import Lease
from hpsearch.storage.schema import FINALIST
from hpsearch.storage.storage import Storage
from hpsearch.study.tasks import rank

CONFIRM_SHARE = 0.25  # of a study's timeout is kept for it, at most
UNJUDGED = 2  # seeds that every candidate gets: one alone does not tell how much seeds differ


@dataclass(frozen=True)
class Retraining:
    """A training of a finalist that is due: the configuration of a trial with another seed."""

    trial: FrozenTrial
    repeat: int


@dataclass(frozen=True)
class Plan:
    """What is due now, how many trainings have ended, and how many there will be at most."""

    due: list[Retraining]
    ended: int
    of: int


@dataclass(frozen=True)
class Finalist:
    """A candidate and what its trainings came to. Scores are those of the study's metric."""

    trial: FrozenTrial
    scores: tuple[float, ...]
    out_after: int | None  # seeds, after which it could not win any more
    failed: str | None  # why it came to no score with one of its seeds
    tied: bool  # whether it cannot be distinguished from the one with the best mean

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Verdict:
    """The finalists by their rank in the search, and the choice among them."""

    finalists: list[Finalist]
    chosen: Finalist


def candidates(study: OpenStudy) -> list[FrozenTrial]:
    """Return the complete trials of the best different configurations, the best one first."""
    found: dict[str, FrozenTrial] = {}
    for trial in study.ranked():
        found.setdefault(repr(sorted(trial.params.items())), trial)
    return list(found.values())[: study.spec.candidates()]


def plan(study: OpenStudy) -> Plan:
    """Return what is due of a study whose search is over.

    Seed after seed, in the order of the candidates. From the third seed on a candidate gets one
    once all before it have ended, and only if it can still win.
    """
    seeds, racing = study.spec.confirm.seeds, candidates(study)
    lost = _lost(study, racing)
    ended = {(c.trial_number, c.repeat) for c in study.confirmations}
    due: list[Retraining] = []
    count = 0
    for repeat in range(seeds):
        if repeat >= UNJUDGED:
            if due:
                return Plan(due, count, count + len(due) + len(racing) * (seeds - repeat))
            racing = [t for t in racing if lost.get(t.number, seeds) > repeat]
        for trial in racing:
            if (trial.number, repeat) in ended:
                count += 1
            else:
                due.append(Retraining(trial, repeat))
    return Plan(due, count, count + len(due))


def claim(storage: Storage, name: str, worker: str) -> Lease | None:
    """Return a lease on a training of a finalist of a study whose search is over.

    None where there is none to take; where none is left, that is written down. One that is not
    expected to end within the study's time is not begun.
    """
    study, row = read_stored_study(storage, name), storage.ledger.study(name)
    if row is None:
        return None
    left_s = float("inf") if row.time_left_s is None else row.time_left_s - row.final_s
    fitting = [r for r in plan(study).due if (study.record(r.trial).duration_s or 0.0) <= left_s]
    for due in fitting:
        slot = study.record(due.trial).slot
        lease = storage.leases.claim(name, worker, kind=FINALIST, slot=slot, repeat=due.repeat)
        if lease is not None:
            return lease
    if not fitting:
        storage.confirmations.end(name)
    return None


def choice(study: OpenStudy) -> FrozenTrial | None:
    """Return the trial whose configuration is chosen: among finalists, or the search's best."""
    found = verdict(study)
    return study.best() if found is None else found.chosen.trial


def verdict(study: OpenStudy) -> Verdict | None:
    """Return what the confirmations say of the candidates, None where they say nothing yet.

    A candidate counts as soon as it, and all that are ranked before it, were trained again. Those
    that came to no score with one of their seeds are not chosen.
    """
    known = {c.trial_number for c in study.confirmations}
    ranked = candidates(study)
    missing = next((i for i, t in enumerate(ranked) if t.number not in known), len(ranked))
    ranked = ranked[:missing]
    of = {t.number: _of(study, t) for t in ranked}
    # What was trained counts: a candidate that came later may only now show who had lost by then.
    lost = {n: after for n, after in _lost(study, ranked).items() if len(of[n]) <= after}
    sound = [t for t in ranked if all(c.score is not None for c in of[t.number])]
    tied = _tied(study, [t for t in sound if t.number not in lost])
    finalists = [
        Finalist(
            trial=t,
            scores=tuple(c.score for c in of[t.number] if c.score is not None),
            out_after=lost.get(t.number) if t in sound else None,
            failed=next((c.reason for c in of[t.number] if c.score is None), None),
            tied=t.number in tied,
        )
        for t in ranked
    ]
    eligible = [f for f in finalists if f.tied]
    return Verdict(finalists, min(eligible, key=lambda f: _order(study, f))) if eligible else None


def _order(study: OpenStudy, finalist: Finalist) -> tuple[float, float]:
    """Return what is preferred among finalists that cannot be distinguished; the least wins."""
    by_mean = rank(study.spec.metric, finalist.mean)
    record = study.record(finalist.trial)
    size = {
        "smaller": record.parameters or 0,
        "faster": record.forward_flops or 0,
        "score": 0,
    }[study.spec.confirm.prefer]
    return float(size), by_mean


def _tied(study: OpenStudy, trials: list[FrozenTrial]) -> set[int]:
    """Return the numbers of those that cannot be distinguished from the one with the best mean.

    Where no configuration has two seeds, nothing is known of their noise: then the best alone.
    """
    of = [_of(study, t) for t in trials]
    if not of:
        return set()
    scores = [_scores(study, c) for c in of]
    if max(len(s) for s in scores) < UNJUDGED:
        return {trials[int(np.argmax([np.mean(s) for s in scores]))].number}
    apart = distinguished(scores, *_by_image(of))
    return {t.number for t, is_apart in zip(trials, apart, strict=True) if not is_apart}


def _lost(study: OpenStudy, ranked: list[FrozenTrial]) -> dict[int, int]:
    """Return after how many seeds candidates could not win any more, by the trial's number.

    Judged by all that had ended when a seed was due for those that were left, whoever was quicker.
    """
    lost: dict[int, int] = {}
    for seeds in range(UNJUDGED, study.spec.confirm.seeds):
        racing = {t.number: _of(study, t)[:seeds] for t in ranked if t.number not in lost}
        if any(len(of) < seeds for of in racing.values()):
            break
        failed = [n for n, of in racing.items() if any(c.score is None for c in of)]
        lost |= dict.fromkeys(failed, seeds)
        sound = {n: of for n, of in racing.items() if n not in failed}
        if sound:
            scores = [_scores(study, of) for of in sound.values()]
            out = out_of_the_race(scores, *_by_image(list(sound.values())))
            lost |= {n: seeds for n, is_out in zip(sound, out, strict=True) if is_out}
    return lost


def _of(study: OpenStudy, trial: FrozenTrial) -> list[Confirmation]:
    """Return the ended trainings of a candidate by their seed."""
    mine = [
        c
        for c in study.confirmations
        if c.trial_number == trial.number and c.repeat < study.spec.confirm.seeds
    ]
    return sorted(mine, key=lambda c: c.repeat)


def _scores(study: OpenStudy, of: Sequence[Confirmation]) -> list[float]:
    """Return scores so that the highest is the best."""
    return [-rank(study.spec.metric, c.score or 0.0) for c in of]


def _by_image(of: Sequence[Sequence[Confirmation]]) -> tuple[NDArray[np.float64], float]:
    """Return the variance of differences between means that images make, and how many there are.

    Of images in groups, that which groups make, and how many there are of those.
    """
    groups = groups_of(c for one in of for c in one)
    count: float = of[0][0].result.images if groups is None else alike(groups)
    if all(c.result.correct is not None for one in of for c in one):
        found = [np.stack([correct(c) for c in one]) for one in of]
        return image_variance_of_correct(found, groups), count
    resampled = np.stack([np.mean([_resampled(c) for c in one], 0) for one in of])
    scored = resampled[:, np.isfinite(resampled).all(0)]  # (k, resamples)
    variance = differences(np.cov(scored))
    if groups is not None and count > 1:  # resamples of few groups vary less than samples do
        variance = variance * (drawn := int(groups.max()) + 1) / (drawn - 1)
    return variance, count


def correct(confirmation: Confirmation) -> NDArray[np.bool_]:
    """Return which test images a training was right about `(N,)`; for studies by accuracy."""
    packed = np.frombuffer(base64.b64decode(confirmation.result.correct or ""), np.uint8)
    return np.unpackbits(packed, count=confirmation.result.images).astype(np.bool_)


def groups_of(confirmations: Iterable[Confirmation]) -> NDArray[np.int64] | None:
    """Return the groups of the test images `(N,)` from 0 on, None where they come in none.

    Trainings of one study are of the same images; those that an earlier version wrote do not say
    their groups.
    """
    written = next((c.result.groups for c in confirmations if c.result.groups is not None), None)
    if written is None:
        return None
    return np.frombuffer(zlib.decompress(base64.b64decode(written)), "<u4").astype(np.int64)


def _resampled(confirmation: Confirmation) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(confirmation.result.resampled or ""), "<f4")
