"""A budget that is planned: so many minutes, or core-hours, and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from hpsearch.study.limits import CORE_HOURS, MINUTES, at_most
from hpsearch.study.splits import Section

PLENTY = 100_000  # trials of a planned study that does not say how many: as many as fit
PLANNED_PRUNER = "promote"
TIMES = ("minutes", "core_hours", "timeout")  # of which a study has one


class PlannedBudget(Section):
    """The budget of a study whose epochs, rungs and trials follow from its time.

    `minutes` are those of the whole study; `core_hours` are shared by the cores that it runs on.
    """

    minutes: Annotated[float | None, at_most(MINUTES)] = Field(None, gt=0)
    core_hours: Annotated[float | None, at_most(CORE_HOURS)] = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _planned(cls, written: Any, info: ValidationInfo) -> Any:
        """Fill in what a planned budget means where the study does not say it.

        `scheduler` is another name of `pruner`.
        """
        if not isinstance(written, Mapping) or (info.context or {}).get("stored"):
            return written
        written = _by_one_name(written)
        given = [key for key in TIMES if written.get(key) is not None]
        if given == ["minutes", "timeout"] and written["timeout"] == written["minutes"] * 60:
            return written  # as it was planned
        if len(given) > 1:
            raise ValueError(
                f"{given[1]}: {' and '.join(given)} are budgets of one time; write one of them"
            )
        if not given or given[0] == "timeout":
            return written
        meant: dict[str, Any] = {"trials": PLENTY}
        if written.get("pruner") is None:
            meant["pruner"] = PLANNED_PRUNER
        return {**meant, **written}

    @property
    def is_planned(self) -> bool:
        """Whether the time that the study may take decides the rest of its budget."""
        return self.minutes is not None or self.core_hours is not None

    def planned_s(self, cores: int) -> float | None:
        """Return the seconds of a planned budget on so many cores, None where none is planned."""
        if self.minutes is not None:
            return self.minutes * 60
        return None if self.core_hours is None else self.core_hours * 3600 / cores

    @property
    def plans_epochs(self) -> bool:
        """Whether the plan says how many epochs a trial has."""
        return self.is_planned and "epochs" not in self.model_fields_set


def _by_one_name(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `search` with `scheduler` as `pruner`, which does not only prune."""
    if "scheduler" not in written:
        return written
    if "pruner" in written:
        raise ValueError("scheduler and pruner are two names of one key; write one of them")
    return {"pruner" if key == "scheduler" else key: value for key, value in written.items()}
