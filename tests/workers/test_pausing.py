"""Workers whose scheduler pauses trials: the budget is exact, and curves are as if never paused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures_storage import on_sqlite
from made_policies import BEST, RUNG, BestGoOn, obey
from made_studies import open_leases
from made_workers import HERE, environment, work_here
from optuna.trial import FrozenTrial, TrialState
from undisturbed import assert_undisturbed, digits_spec, opened

from hpsearch.search.decisions import GoOn, Pause, Stop, TrialSoFar
from hpsearch.search.kinds import PAUSED, RESUMED, kind_of
from hpsearch.search.scheduler import SCHEDULERS
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.storage import Storage

TRIALS, EPOCHS = 5, 8


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave schedulers as they were: workers of other tests are made in this process, too."""
    before = dict(SCHEDULERS)
    yield
    SCHEDULERS.update(before)


def start(storage: Storage, study: str, place: Path, name: str) -> subprocess.Popen[bytes]:
    url = storage.url.render_as_string(hide_password=False)
    script = str(HERE / "made_policies.py")
    return subprocess.Popen(
        [sys.executable, script, url, study, str(place), name], env=environment()
    )


def trials_of(storage: Storage, name: str) -> list[FrozenTrial]:
    return storage.known(name).get_trials(deepcopy=False)


def at_rung(trial: FrozenTrial) -> tuple[float, float, int]:
    """Return what `BestGoOn` ranks by: the scores so far, of equals the earlier trial."""
    scores = trial.intermediate_values
    return scores[1], scores[2], -trial.number


def assert_the_best_went_on(storage: Storage, name: str, trials: int) -> None:
    """So many trials, all ended: the best of the rung complete, the rest pruned there."""
    study = read_stored_study(storage, name)
    assert len(study.trials) == trials and open_leases(storage, name) == 0
    assert sorted(t.user_attrs["slot"] for t in study.trials) == list(range(trials))
    by_rung = sorted(study.trials, key=at_rung)
    best = {trial.number for trial in by_rung[-BEST:]}
    for trial in study.trials:
        goes_on = trial.state == TrialState.COMPLETE
        assert len(trial.user_attrs["curve"]) == (study.spec.search.epochs if goes_on else RUNG)
        assert kind_of(trial) == ("complete" if goes_on else "pruned")
        assert trial.user_attrs.get(RESUMED) == (RUNG if goes_on else None)
    complete = study.in_state(TrialState.COMPLETE)
    assert len(complete) == BEST
    assert {t.number for t in complete} == best
    assert not study.paused | study.held | study.interrupted


@pytest.mark.timeout(300)
def test_paused_trials_go_on_at_any_worker_and_one_that_is_killed_costs_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, digits_spec("waits", trials=TRIALS, epochs=EPOCHS))
    crew = {name: start(storage, "waits", tmp_path, name) for name in ("first", "second")}
    killed: list[str] = []
    try:
        while any(process.poll() is None for process in crew.values()):
            time.sleep(0.05)
            for name in [n for n, p in crew.items() if p.poll() == -signal.SIGKILL]:
                killed.append(name)
                del crew[name]
                storage.leases.expire_worker(name)  # as its supervisor does
                crew["third"] = start(storage, "waits", tmp_path, "third")
        assert {process.returncode for process in crew.values()} == {0}
    finally:
        for process in crew.values():
            process.kill()
            process.wait()
    assert len(killed) == 1, "it was at a trial that had been resumed"
    assert_the_best_went_on(storage, "waits", TRIALS)
    assert_undisturbed(storage, "waits", prepared)


class Dies(BestGoOn):
    """Its process ends where a trial is to be paused, once the epoch was reported."""

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        decision = super().after_epoch(trial)
        if isinstance(decision, Pause):
            raise KeyboardInterrupt
        return decision


@pytest.mark.parametrize("marked", [False, True])
def test_a_pause_that_a_worker_died_on_is_decided_again(
    marked: bool, storage: Storage, tmp_path: Path
) -> None:
    obey()
    prepared = opened(storage, digits_spec("again", trials=3))
    SCHEDULERS["none"] = lambda search: Dies()
    with pytest.raises(KeyboardInterrupt):
        work_here(storage, "again", tmp_path)
    (trial,) = trials_of(storage, "again")
    assert len(trial.intermediate_values) == RUNG
    if marked:  # it had written so much, and its lease was not given back yet
        storage.optuna.write(id_of(trial), {PAUSED: RUNG})
    storage.leases.expire_worker("here")
    obey()
    work_here(storage, "again", tmp_path)
    assert_the_best_went_on(storage, "again", 3)
    assert_undisturbed(storage, "again", prepared)


def killed_once(storage: Storage, study: str, place: Path) -> None:
    """Have two workers search, of which one is killed at a trial that was resumed."""
    crew = {name: start(storage, study, place, name) for name in ("first", "second")}
    killed = False
    try:
        while any(process.poll() is None for process in crew.values()):
            time.sleep(0.02)
            at_work = [t for t in trials_of(storage, study) if kind_of(t) == "running"]
            resumed = [t for t in at_work if t.user_attrs.get(RESUMED) is not None]
            if not killed and resumed:
                name = resumed[0].user_attrs["worker"]
                crew[name].kill()
                crew.pop(name).wait()
                killed = True
                storage.leases.expire_worker(name)
                crew["third"] = start(storage, study, place, "third")
        assert {process.returncode for process in crew.values()} == {0}
    finally:
        for process in crew.values():
            process.kill()
            process.wait()
    assert killed


@pytest.mark.timeout(600)
def test_promotion_brings_the_best_to_its_end_bit_for_bit_though_a_worker_is_killed(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, digits_spec("promoted", trials=6, epochs=9, pruner="promote"))
    killed_once(storage, "promoted", tmp_path)
    study = assert_all_ended(storage, "promoted", trials=6)
    assert {1, 9} <= {len(t.user_attrs["curve"]) for t in study.trials} <= {1, 3, 9}
    best = study.best()
    by_first = sorted(study.trials, key=lambda t: t.intermediate_values[1])
    assert best is not None and best.number in {t.number for t in by_first[-4:]}
    assert_undisturbed(storage, "promoted", prepared)


@on_sqlite
@pytest.mark.timeout(600)
def test_what_the_median_pruner_paused_goes_on_in_the_end(storage: Storage, tmp_path: Path) -> None:
    pruner = {"name": "median", "resume": True, "startup_trials": 1, "min_trials": 1}
    prepared = opened(storage, digits_spec("again", trials=5, epochs=6, pruner=pruner))
    work_here(storage, "again", tmp_path)
    study = assert_all_ended(storage, "again", trials=5)
    resumed = [t for t in study.trials if t.user_attrs.get(RESUMED)]
    assert len(resumed) == 1 and resumed[0].state == TrialState.COMPLETE
    assert_undisturbed(storage, "again", prepared)


def assert_all_ended(storage: Storage, name: str, trials: int) -> OpenStudy:
    """So many trials: some complete, some of them resumed, the others paused and left so."""
    study = read_stored_study(storage, name)
    assert sorted(t.user_attrs["slot"] for t in study.trials) == list(range(trials))
    assert open_leases(storage, name) == 0
    kinds = Counter(kind_of(t) for t in study.trials)
    assert kinds["complete"] >= 1 and set(kinds) == {"complete", "pruned"}
    for trial in study.in_state(TrialState.PRUNED):
        assert trial.user_attrs["reason"].endswith("and never resumed")
    assert any(t.user_attrs.get(RESUMED) for t in study.trials)
    return study
