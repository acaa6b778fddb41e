"""Which trials no other beats in both metric and size, and beside which a trial is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial

from hpsearch.search.decisions import Curve
from hpsearch.search.scalarised import share_of
from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.goals import RECORDED_AS, Quantity
from hpsearch.study.tasks import rank

EDGE = 1.1  # of what is compared, from 0 to 1: what lies at its ends is worth something, too


def fronts(study: OpenStudy) -> dict[Quantity, list[FrozenTrial]]:
    """Return the front of the metric and each quantity that complete trials have a record of.

    The best metric comes first, the smallest last. Of equals the earliest stands for all. What the
    study wants to be small `also` is the first of the quantities.
    """
    also = study.spec.search.also
    order = sorted(RECORDED_AS, key=lambda quantity: quantity != also)
    found = {quantity: _front(study, quantity) for quantity in order}
    return {quantity: front for quantity, front in found.items() if front}


def _front(study: OpenStudy, quantity: Quantity) -> list[FrozenTrial]:
    sized = [(size, t) for t in study.ranked() if (size := size_of(t, quantity)) is not None]
    sized.sort(key=lambda pair: (rank(study.spec.metric, pair[1].value or 0.0), pair[0]))
    front: list[FrozenTrial] = []
    least = float("inf")
    for size, trial in sized:
        if size < least:
            front.append(trial)
            least = size
    return front


def size_of(trial: FrozenTrial, quantity: Quantity) -> float | None:
    """Return how much of a quantity a trial's network takes, None where nobody recorded it."""
    size: float | None = trial.user_attrs.get(RECORDED_AS[quantity])
    return size


def no_larger(
    trial: FrozenTrial, quantity: Quantity
) -> Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]:
    """Return what keeps of some trials those that are no larger than this one.

    Beside larger ones most small networks would be weak, and stopped, whatever they are for their
    size; and one that is no better than a smaller one is weak indeed.
    """
    most = size_of(trial, quantity)

    def kept(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        if most is None:
            return list(trials)
        sizes = ((t, size_of(t, quantity)) for t in trials)
        return [t for t, size in sizes if size is not None and size <= most]

    return kept


def by_both(
    curves: Sequence[Curve], sizes: Mapping[int, float | None], epochs: Sequence[int]
) -> tuple[Curve, ...]:
    """Return curves whose scores after some epochs go by score and size (of each number) together.

    For policies that compare trials at these epochs with one another, and at no other.
    """
    scores = {curve.number: list(curve.scores) for curve in curves}
    for epoch in epochs:
        there = [c.number for c in curves if len(c.scores) >= epoch]
        found = worth([(-scores[number][epoch - 1], sizes.get(number)) for number in there])
        for number, score in zip(there, found, strict=True):
            scores[number][epoch - 1] = score
    return tuple(replace(curve, scores=tuple(scores[curve.number])) for curve in curves)


def worth(points: Sequence[tuple[float, float | None]]) -> list[float]:
    """Return what points of loss and size are worth among each other, the highest the best.

    Those that no other beats in both are worth from 0 to 1, those that only these beat 1 less, and
    so on: of one such front the more, the more of both it alone beats, so that a few of it are
    spread over it. What has no finite loss, or no size, is worth the least.
    """
    found = [-math.inf] * len(points)
    known = [i for i, (loss, size) in enumerate(points) if size and math.isfinite(loss)]
    losses, logs = [points[i][0] for i in known], [math.log(points[i][1] or 1) for i in known]
    loss_share, size_share = share_of(losses), share_of(logs)
    at = {
        i: (loss_share(loss), size_share(log))
        for i, loss, log in zip(known, losses, logs, strict=True)
    }
    left, beaten = sorted(known, key=at.__getitem__), 0
    while left:
        front = _least(left, at)
        for place, i in enumerate(front):
            larger = at[front[place - 1]][1] if place else EDGE
            worse = at[front[place + 1]][0] if place + 1 < len(front) else EDGE
            alone = (larger - at[i][1]) * (worse - at[i][0])
            found[i] = alone / EDGE**2 - beaten
        taken = set(front)
        left = [i for i in left if i not in taken]
        beaten += 1
    return found


def _least(by_loss: Sequence[int], at: Mapping[int, tuple[float, float]]) -> list[int]:
    """Return those that are smaller than all before them."""
    front: list[int] = []
    for i in by_loss:
        if not front or at[i][1] < at[front[-1]][1]:
            front.append(i)
    return front
