"""How trials ended, told apart by their records."""

from __future__ import annotations

from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, run_trial, stored
from optuna.trial import TrialState

from hpsearch.reports.best_yaml import _nothing_to_choose
from hpsearch.search import outcomes as endings
from hpsearch.search.kinds import kind_of
from hpsearch.search.progress import progress_of
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

pytestmark = on_sqlite


def ended(storage: Storage, spec: StudySpec, reason: str, what: str | None = None) -> None:
    lease = claimed(storage, spec)
    endings.prune(storage, begin_trial(storage, spec, lease), lease, reason, what)


def test_what_the_pruner_did_not_stop_is_not_counted_as_pruned(storage: Storage) -> None:
    spec = enter(storage, trials=10)
    ended(storage, spec, "it has too many parameters", "parameters")
    ended(storage, spec, "it took longer than search.trial_timeout, 5 s", "trial_timeout")
    ended(storage, spec, "the loss was no finite number after epoch 1")
    found = progress_of(storage, "made")
    assert found.epochs_saved == 0
    assert "none of 3 ended trials is complete" in _nothing_to_choose(stored(storage, spec))
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
    says = _nothing_to_choose(stored(storage, spec))
    assert "3 infeasible" in says and "max_parameters" in says and "--timeout" not in says
