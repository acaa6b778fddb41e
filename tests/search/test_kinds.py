"""How trials ended, distinguished by their records."""

from __future__ import annotations

import logging

import pytest
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, run_trial, stored
from optuna.trial import TrialState, create_trial

from hpsearch.errors import NothingToChooseError
from hpsearch.reports.best_yaml import chosen_trial
from hpsearch.search import outcomes as endings
from hpsearch.search.kinds import kind_of
from hpsearch.search.progress import progress_of, why_waiting
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

pytestmark = on_sqlite


def why_nothing_is_chosen(study: OpenStudy) -> str:
    with pytest.raises(NothingToChooseError) as raised:
        chosen_trial(study)
    return str(raised.value)


def ended(
    storage: Storage, spec: StudySpec, reason: str, what: str | None = None, diverged: bool = False
) -> None:
    lease = claimed(storage, spec)
    endings.prune(storage, begin_trial(storage, spec, lease), lease, reason, what, diverged)


def test_what_the_pruner_did_not_stop_is_not_counted_as_pruned(storage: Storage) -> None:
    spec = enter(storage, trials=10)
    ended(storage, spec, "it has too many parameters", "parameters")
    ended(storage, spec, "it took longer than search.trial_timeout, 5 s", "trial_timeout")
    ended(storage, spec, "whatever it says", diverged=True)
    found = progress_of(storage, "made")
    assert found.epochs_saved == 0
    assert "none of 3 ended trials is complete" in why_nothing_is_chosen(stored(storage, spec))
    run_trial(storage, spec, [0.1], TrialState.PRUNED)
    run_trial(storage, spec, [0.9])
    kinds = [kind_of(t) for t in stored(storage, spec).trials]
    assert kinds == ["infeasible", "timed out", "diverged", "pruned", "complete"]
    found = progress_of(storage, "made")
    assert (found.pruned, found.epochs_saved, found.finished) == (1, 4, 5)


def test_a_study_of_networks_that_are_too_large_says_what_to_change(storage: Storage) -> None:
    spec = enter(storage)
    for _ in range(3):
        ended(storage, spec, "it has too many parameters", "parameters")
    says = why_nothing_is_chosen(stored(storage, spec))
    assert "3 infeasible" in says and "max_parameters" in says and "--timeout" not in says


def test_a_study_without_a_complete_trial_counts_how_all_ended(storage: Storage) -> None:
    spec = enter(storage)
    for what in ("memory", "maps"):
        ended(storage, spec, "it takes too much", what)
    lease = claimed(storage, spec)
    endings.fail(storage, begin_trial(storage, spec, lease), lease, "OSError: a disk")
    says = why_nothing_is_chosen(stored(storage, spec))
    assert "none of 3 ended trials is complete: 2 infeasible, 1 failed" in says
    assert "fewer workers" in says and "larger images" in says and "max_parameters" not in says


def test_a_study_whose_trials_all_came_to_nothing_waits_for_no_worker(storage: Storage) -> None:
    spec = enter(storage, trials=3)
    ended(storage, spec, "it has too many parameters", "parameters")
    ended(storage, spec, "the loss was no finite number after epoch 1", diverged=True)
    assert "no worker serves" in (why_waiting(storage, progress_of(storage, "made")) or "")
    ended(storage, spec, "the loss was no finite number after epoch 2", diverged=True)
    says = why_waiting(storage, progress_of(storage, "made")) or ""
    assert says.startswith(
        "its budget is spent, and none of 3 ended trials is complete: 2 diverged, 1 infeasible; of "
        "the last diverged one: the loss was no finite number after epoch 2; lower "
        "space.learning_rate"
    )
    assert "worker" not in says and "--timeout" not in says


def test_the_log_and_the_record_say_what_kind_of_ending_it_was(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    spec = enter(storage, trials=10)
    with caplog.at_level(logging.INFO, logger=endings.__name__):
        ended(storage, spec, "too large", "memory")
        ended(storage, spec, "too slow", "trial_timeout")
        ended(storage, spec, "no number", diverged=True)
        ended(storage, spec, "too weak")
    kinds = ["infeasible", "timed out", "diverged", "pruned"]
    assert [r.message for r in caplog.records] == [
        f"trial {number} of 'made' ended: {kind}" for number, kind in enumerate(kinds)
    ]
    assert [r.__dict__["kind"] for r in caplog.records] == kinds
    assert [t.user_attrs["ended"] for t in stored(storage, spec).trials] == kinds


@pytest.mark.parametrize("loss", ["train_loss", "test_loss"])
def test_a_record_without_a_kind_has_diverged_where_its_last_loss_is_no_number(
    storage: Storage, loss: str
) -> None:
    epoch = {"train_loss": 1.0, "test_loss": 1.0}
    reason = {"reason": "the loss was no finite number after epoch 2"}
    for last, kind in ((epoch | {loss: None}, "diverged"), (epoch, "pruned")):
        attrs = reason | {"curve": [epoch, last]}
        assert kind_of(create_trial(state=TrialState.PRUNED, user_attrs=attrs)) == kind
