"""What a study's budget comes to, as it is kept with the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpsearch.storage.records import Record

if TYPE_CHECKING:
    from hpsearch.storage.storage import Storage

PLAN = "plan"  # the attribute of Optuna's study, which the dashboard shows, too


class PlanRecord(Record):
    """A planned budget in plain numbers. Times in seconds.

    Of `budget_s`, `search_s` are for trials, `confirm_s` are kept to train finalists again and
    `final_s` for the final. A trial has `epochs`, and is first compared after `first_rung` of them.
    An epoch of a typical configuration takes `typical_s`; those of which one takes more than
    `longest_s` are not trained, and `share` of the space is within that. About `configurations`
    are tried.

    An epoch is so much of a pass over the training images as `of_a_pass` says. `spread` are the
    passes of configurations all over the space, by what they are expected to take, and `baseline_s`
    that of the default one, on `device`, whose `speed` was measured: seconds for
    a floating-point operation, a byte moved and a layer called.
    """

    budget_s: float
    workers: int
    epochs: int
    first_rung: int
    rungs: list[int]
    typical_s: float
    longest_s: float
    share: float
    search_s: float
    confirm_s: float
    final_s: float
    configurations: int
    spread: list[float]
    baseline_s: float
    of_a_pass: float = 1.0
    device: str = "cpu"
    speed: tuple[float, float, float] = (0.0, 0.0, 0.0)


def keep_plan(storage: Storage, study: str, plan: PlanRecord) -> None:
    """Keep the plan of a study, in the place of an earlier one."""
    storage.known(study).set_user_attr(PLAN, plan.as_json())


def plan_of(storage: Storage, study: str) -> PlanRecord | None:
    """Return the plan of a study, None where it has none."""
    written = storage.known(study).user_attrs.get(PLAN)
    return None if written is None else PlanRecord.model_validate(written)
