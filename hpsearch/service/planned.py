"""Entering a study whose budget is planned: once, and as it was planned when it is met again."""

from __future__ import annotations

import time
from collections.abc import Callable

from hpsearch.data.prepared import Prepared
from hpsearch.preflight.planning import costs_in, costs_of, plan, workers_of
from hpsearch.search.plan import words
from hpsearch.storage.plan_record import PlanRecord, keep_plan, plan_of
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec


class Planning:
    """The plan of a study that is about to be entered; without a planned budget, none.

    `spec` is the study with all that its budget left open. `said` is the plan in words.
    """

    def __init__(
        self,
        storage: Storage,
        spec: StudySpec,
        prepared: Prepared,
        workers: int | None = None,
        device: str = "auto",
        interrupted: Callable[[], bool] = lambda: False,
        final: bool = True,
    ) -> None:
        self.spec, self.said, self._took_s = spec, "", 0.0
        self._storage = storage
        self._plan: PlanRecord | None = None
        if not spec.search.is_planned:
            return
        began = time.monotonic()
        row = storage.ledger.study(spec.name)
        stored = None if row is None else plan_of(storage, spec.name)
        count = workers_of(spec, workers, device)
        costs = (
            costs_of(spec, prepared, count, device, interrupted)
            if stored is None
            else costs_in(stored)
        )
        before, spent_s = None if row is None else row.spec, time.monotonic() - began
        self.spec, self._plan = plan(
            spec, costs, count, device, before, spent_s, final, prepared.totals[0]
        )
        changed = stored is not None and stored.budget_s != self._plan.budget_s
        self.said = words(self._plan, kept_epochs=changed and spec.search.plans_epochs)
        self._took_s = time.monotonic() - began

    def keep(self) -> None:
        """Keep the plan with the study, and of its time what follows the search."""
        if self._plan is None:
            return
        row = self._storage.row(self.spec.name)
        keep_plan(self._storage, self.spec.name, self._plan)
        if not row.final_s:  # else a trial has shown it
            final_s, confirm_s = self._plan.final_s, self._plan.confirm_s
            self._storage.ledger.set_final_s(row.name, final_s, confirm_s, self._took_s)
