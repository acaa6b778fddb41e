"""An open study as those who look for work see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """An open study as a worker that looks for work sees it."""

    name: str
    edition: float  # another one where it was launched again, or deleted and made anew
    fingerprint: str
    unclaimed: int  # trials that nobody has begun
    interrupted: int  # trials that are begun, and free to be taken over
    paused: int  # trials that wait for the study's scheduler
    held: int  # trials that a worker is at
    time_is_up: bool  # for trials
    wants_final: bool
    confirm_due: bool  # whether finalists are to be trained again once the search is over
    confirming: int  # finalists that a worker trains again
    confirm_time_is_up: bool

    @property
    def has_work(self) -> bool:
        """Whether a worker could claim a trial now."""
        return not self.time_is_up and self._left > 0

    @property
    def _left(self) -> int:
        """How many trials have not ended, and are nobody's."""
        return self.unclaimed + self.interrupted + self.paused

    @property
    def search_is_over(self) -> bool:
        """Whether its budget or its time is spent, and nobody is at a trial."""
        return not self.held and (self.time_is_up or self._left == 0)

    @property
    def confirms(self) -> bool:
        """Whether a worker might find a finalist to train again, now or later."""
        return self.confirm_due and not self.confirm_time_is_up

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left for workers: the search is over, finalists confirmed."""
        return self.search_is_over and not self.confirms and not self.confirming
