"""How many images an epoch has, where a pass over all of them is too long for a budget.

A search that is to compare `AIM` configurations gives each a fair share of its time for its first
rung, which is an epoch at least. Where a pass of a typical configuration takes more than that, an
epoch is a half of it, a quarter, and so on. What ends the halving: an evaluation on test follows
every epoch and is to take at most `TESTED` of it, and an epoch has `FEWEST_IMAGES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Self, TypeVar

from hpsearch.errors import StudyFileError
from hpsearch.search.plan import AIM, Wish, planned

TESTED = 0.2
FEWEST_IMAGES = 1000


@dataclass(frozen=True)
class PassCosts:
    """Seconds of an epoch of configurations all over a space, and of the default one.

    `tests_s` and `baseline_test_s` are what their evaluation on test takes of that. Where they are
    not known, nor is what a shorter epoch would take. An epoch has `epoch_images` of all `images`
    that are learned from, None where nobody has divided the pass.
    """

    spread: list[float]
    baseline_s: float
    tests_s: list[float] = field(default_factory=list, kw_only=True)
    baseline_test_s: float = field(default=0.0, kw_only=True)
    images: int = field(default=0, kw_only=True)
    epoch_images: int | None = field(default=None, kw_only=True)

    def shortened(self, epoch_images: int) -> Self:
        """Return the costs of epochs of so many images, each with its evaluation."""
        if not self.tests_s:
            return replace(self, epoch_images=epoch_images)
        share = epoch_images / self.images
        pairs = zip(self.spread, self.tests_s, strict=True)
        spread = sorted(share * (whole_s - test_s) + test_s for whole_s, test_s in pairs)
        baseline_s = share * (self.baseline_s - self.baseline_test_s) + self.baseline_test_s
        return replace(
            self, spread=spread, baseline_s=baseline_s, tests_s=[], epoch_images=epoch_images
        )

    def lengths(self) -> Iterator[Self]:
        """Yield these costs, and those of epochs of a half of the pass, of a quarter, ..."""
        yield self
        parts = 2
        while self.tests_s and self.images // parts >= FEWEST_IMAGES:
            shorter = self.shortened(self.images // parts)
            if median(self.tests_s) > TESTED * median(shorter.spread):
                return
            yield shorter
            parts *= 2


Costs = TypeVar("Costs", bound=PassCosts)


def with_fair_epochs(wish: Wish, costs: Costs) -> Costs:
    """Return the costs of the longest epochs of which tens fit into a budget as first rungs.

    Where there are none, those of the shortest. Raises StudyFileError as `planned` does, where
    these are too long, too.
    """
    found, too_little = None, None
    for part in costs.lengths():
        try:
            plan = planned(wish, part.spread, part.baseline_s)
        except StudyFileError as error:
            too_little = error
            continue
        found = part
        fair_s = wish.workers * plan.search_s / (min(AIM, wish.trials) * plan.first_rung)
        if median(part.spread) <= fair_s:
            break
    if found is None:
        assert too_little is not None
        raise too_little
    return found
