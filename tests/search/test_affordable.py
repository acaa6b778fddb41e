"""What a planned study can afford: which configurations begin, which go on, when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, row_of, spec_of
from optuna.trial import Trial

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import Infeasible
from hpsearch.models.work import work_of
from hpsearch.search.affordable import LATE_MOST, TIME, Affordable, OutOfTime
from hpsearch.search.decisions import GoOn, Stop
from hpsearch.search.plan import Wish, planned
from hpsearch.search.samplers import given_params
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.plan_record import PlanRecord, keep_plan, plan_of
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from

SPACE = {"filters": {"low": 4, "high": 64}, "layers": 1}
CPU = torch.device("cpu")


def split(images: int) -> Labelled:
    return Labelled(np.zeros((images, 8, 8, 1), np.uint8), np.zeros(images, np.int64))


DATA = SearchData(split(1000), split(100), "single-label", ("a", "b"), (0.0,), (1.0,), "f" * 64)


def cost_of(config: TrialConfig) -> Any:
    return cost(config, ImageShape(*DATA.image_shape), len(DATA.outputs))


def planned_study(storage: Storage, **changes: Any) -> StudySpec:
    """Return an open study of 60 s with a plan, in which 10^9 FLOPs take a second."""
    spec = spec_of(space=SPACE, minutes=1, epochs=5, sampler="random")
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"timeout": 60.0})})
    enter(storage, spec)
    plan = planned(Wish(60.0, epochs=5), [0.2, 0.4, 0.6], 0.2)
    about = {"speed": (1e-9, 0.0, 0.0), "device": "cpu"} | changes
    keep_plan(storage, spec.name, plan.model_copy(update=about))
    storage.ledger.begin_launch(
        spec.name, spec.model_dump_json(), spec.trial_budget(), spec.search.timeout
    )
    return spec


def affordable(storage: Storage, spec: StudySpec) -> Affordable:
    return Affordable.of(storage, spec, DATA, CPU, pauses=False)


def begun(storage: Storage, spec: StudySpec) -> tuple[Trial, TrialConfig]:
    """Return a trial that nothing was given to."""
    while True:
        trial = begin_trial(storage, spec, claimed(storage, spec))
        if not given_params(spec, trial.user_attrs["slot"]):
            return trial, config_from(spec, DATA.fingerprint, trial)


def judged(storage: Storage, spec: StudySpec) -> tuple[Trial, Infeasible | None]:
    trial, config = begun(storage, spec)
    return trial, affordable(storage, spec).misfit(trial, config, cost_of(config))


def seconds_of(config: TrialConfig) -> float:
    work = work_of(cost_of(config), config, len(DATA.train), len(DATA.test))
    return work.flops * 1e-9


def test_a_plan_is_kept_with_its_study(storage: Storage) -> None:
    spec = planned_study(storage)
    plan = plan_of(storage, spec.name)
    assert isinstance(plan, PlanRecord)
    assert (plan.budget_s, plan.epochs, plan.speed) == (60.0, 5, (1e-9, 0.0, 0.0))


@on_sqlite
def test_a_study_without_a_plan_affords_everything(storage: Storage) -> None:
    spec = enter(storage, space=SPACE, timeout=1)
    trial, found = judged(storage, spec)
    assert found is None
    assert affordable(storage, spec).in_time(trial, GoOn()) == GoOn()
    assert "predicted_s" not in trial.user_attrs


def test_a_configuration_that_is_too_dear_does_not_begin_and_samplers_learn_by_how_much(
    storage: Storage,
) -> None:
    spec = planned_study(storage, longest_s=1e-3)
    trial, found = judged(storage, spec)
    assert found is not None
    assert found.what == TIME
    epoch_s = seconds_of(config_from(spec, DATA.fingerprint, trial))
    assert f"an epoch would take about {epoch_s:.3g} s, more than the 0.001 s" in found.reason
    assert trial.constraints[TIME] == pytest.approx(epoch_s / 1e-3 - 1)
    assert trial.user_attrs["predicted_s"] == pytest.approx(epoch_s)


@on_sqlite
def test_a_given_configuration_begins_unless_its_final_could_never_follow(
    storage: Storage,
) -> None:
    spec = planned_study(storage, longest_s=1e-3)
    trial = begin_trial(storage, spec, claimed(storage, spec))  # slot 0: the defaults
    config = config_from(spec, DATA.fingerprint, trial)
    assert affordable(storage, spec).misfit(trial, config, cost_of(config)) is None
    slow = Affordable.of(storage, spec, DATA, CPU, pauses=False)
    assert slow.plan is not None
    slow.plan = slow.plan.model_copy(update={"speed": (1e-6, 0.0, 0.0)})
    found = slow.misfit(trial, config, cost_of(config))
    assert found is not None
    assert "once more for the final within the study's 60 s" in found.reason


@on_sqlite
def test_what_trials_took_decides_over_what_was_predicted(storage: Storage) -> None:
    spec = planned_study(storage, longest_s=10.0)
    assert judged(storage, spec)[1] is None
    for _ in range(3):
        trial, config = begun(storage, spec)
        took_s, epochs = 10_000 * seconds_of(config), [{"epoch": 1}]
        about = TrialNotes(predicted_s=seconds_of(config), curve=epochs, duration_s=took_s)
        note(trial, about | TrialNotes(device="cpu"))
    _, found = judged(storage, spec)
    assert found is not None


@on_sqlite
def test_of_another_device_nothing_is_known_before_its_trials(storage: Storage) -> None:
    spec = planned_study(storage, longest_s=1e-3, device="NVIDIA H200")
    assert judged(storage, spec)[1] is None


def test_the_search_ends_once_nothing_that_is_proposed_could_end_in_time(storage: Storage) -> None:
    spec = planned_study(storage, longest_s=100.0)
    storage.ledger.set_final_s(spec.name, 20.0)
    storage.ledger.tick(spec.name)
    storage.ledger.set_final_s(spec.name, 20.0, spent_s=39.99)
    worker = affordable(storage, spec)
    for number in range(LATE_MOST):
        trial, config = begun(storage, spec)
        assert row_of(storage).trials == spec.trial_budget()
        found = worker.misfit(trial, config, cost_of(config))
        assert found is not None, number
        assert "are left of the search" in found.reason
        assert TIME not in trial.constraints, "whoever ends it says so"
    assert row_of(storage).trials == row_of(storage).claimed


@on_sqlite
def test_a_trial_goes_on_only_while_its_end_and_the_final_after_it_fit(storage: Storage) -> None:
    spec = planned_study(storage)
    trial, _ = begun(storage, spec)
    worker = affordable(storage, spec)
    note(trial, TrialNotes(curve=[{"epoch": 1}], duration_s=4.0))  # 16 s to come, then 20 and 10
    assert worker.in_time(trial, GoOn()) == GoOn()
    weak = Stop("the median pruner")
    assert worker.in_time(trial, weak) is weak
    storage.ledger.set_final_s(spec.name, 0.0, spent_s=20.0)
    decision = worker.in_time(trial, GoOn())
    assert isinstance(decision, OutOfTime)
    assert "4 more epochs of about 4 s, and then the final, would not end in" in decision.reason


@on_sqlite
def test_a_trial_that_has_begun_is_not_judged_again(storage: Storage) -> None:
    spec = planned_study(storage, longest_s=1e-3)
    trial, config = begun(storage, spec)
    note(trial, TrialNotes(curve=[{"epoch": 1}], duration_s=1.0))
    assert affordable(storage, spec).misfit(trial, config, cost_of(config)) is None


@on_sqlite
def test_what_is_known_to_be_good_may_take_two_shares_and_a_users_own_any(storage: Storage) -> None:
    spec = planned_study(storage)
    trial, config = begun(storage, spec)
    needs, worker = cost_of(config), affordable(storage, spec)
    assert worker.plan is not None
    worker.plan = worker.plan.model_copy(update={"longest_s": seconds_of(config) / 1.5})
    assert worker.misfit(trial, config, needs) is not None
    for start in ("known to be good: by a search", "mine.yaml"):
        trial.set_user_attr("start", start)
        assert worker.misfit(trial, config, needs) is None, start
    worker.plan = worker.plan.model_copy(update={"longest_s": seconds_of(config) / 3})
    assert worker.misfit(trial, config, needs) is None
    trial.set_user_attr("start", "known to be good: by a search")
    assert worker.misfit(trial, config, needs) is not None
