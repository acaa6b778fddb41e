"""Which trials no other beats in both metric and size, and beside which a trial is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.goals import RECORDED_AS, Quantity
from hpsearch.study.tasks import rank


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
