"""From a study file to one model, with real processes on real digits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from fixtures_storage import on_postgres
from made_studies import begin_trial, claimed, open_leases
from optuna.trial import TrialState
from safetensors import safe_open

from hpsearch.data.prepare import prepare
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import (
    NothingToChooseError,
    RunsFolderError,
    StorageError,
    StudyMismatchError,
    StudyNotFoundError,
    WorkerError,
)
from hpsearch.evaluation.exported import read_exported
from hpsearch.evaluation.model_file import load_model
from hpsearch.evaluation.retrain_exported import train_exported
from hpsearch.reports.formats import markdown
from hpsearch.reports.report import make_report
from hpsearch.search.outcomes import prune
from hpsearch.search.stored_study import read_stored_study
from hpsearch.service.launch import Outcome, Watcher, launch
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.study.spec import StudySpec


def spec(name: str = "small", trials: int = 3, **search: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": name,
            "data": {"source": "digits"},
            "space": {
                "filters": {"low": 8, "high": 16, "step": 4},
                "layers": [1, 2],
                "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
                "units1": 32,
                "units2": 32,
            },
            "search": {"trials": trials, "epochs": 2, "pruner": "none"} | search,
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="module")
def url(place: Path) -> str:
    return f"sqlite:///{place}/hpsearch.db"


@pytest.fixture(scope="module")
def finished(place: Path, url: str) -> Outcome:
    return launch(spec(), url, runs=place / "runs", workers=2)


@pytest.fixture
def storage(url: str, finished: Outcome) -> Iterator[Storage]:
    opened = open_storage(url, create=False)
    yield opened
    opened.close()


def test_a_launch_ends_with_exactly_its_trials_and_one_opening(
    finished: Outcome, storage: Storage
) -> None:
    study = read_stored_study(storage, "small")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3
    assert not finished.already_done
    assert finished.report.openings == 1
    assert finished.report.final is not None
    assert finished.report.final.trial == finished.report.study.best().number  # type: ignore[union-attr]


def test_every_trial_keeps_what_decided_it_and_what_it_cost(
    finished: Outcome, storage: Storage
) -> None:
    for trial in read_stored_study(storage, "small").trials:
        attrs = trial.user_attrs
        assert attrs["parameters"] > 0 and attrs["forward_flops"] > 0
        assert (
            attrs["duration_s"] > 0 and attrs["device"] and attrs["precision"] in ("fp32", "bf16")
        )
        assert [e["test_metric"] for e in attrs["curve"]] == list(
            trial.intermediate_values.values()
        )
        assert trial.value == attrs["curve"][-1]["test_metric"]
    seeds = [t.user_attrs["seed"] for t in read_stored_study(storage, "small").trials]
    assert len(set(seeds)) == len(seeds)


def test_the_final_training_repeats_the_search_to_the_last_digit(finished: Outcome) -> None:
    assert finished.report.final is not None
    final = finished.report.final.as_json()
    assert final["test"]["accuracy"] == finished.report.study.best().value  # type: ignore[union-attr]


def test_the_saved_weights_give_the_reported_validation_score(finished: Outcome) -> None:
    trained = load_model(finished.folder / "model.safetensors")
    sealed = open_sealed(prepare(spec().data).folder)
    called = trained.probabilities(torch.tensor(np.asarray(sealed.images))).argmax(1).numpy()
    assert finished.report.final is not None
    final = finished.report.final.as_json()
    assert (called == sealed.targets).mean() == final["validation"]["accuracy"]
    assert np.trace(np.array(final["validation"]["confusion"])) == (called == sealed.targets).sum()
    low, high = final["validation"]["interval"]
    assert 0 <= low < final["validation"]["accuracy"] < high <= 1
    with safe_open(finished.folder / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["outputs"]) == [str(i) for i in range(10)]


def test_the_files_are_there_and_say_what_the_report_says(finished: Outcome) -> None:
    names = {p.name for p in finished.folder.iterdir()}
    assert finished.report.final is not None
    final = finished.report.final.as_json()
    mistakes = {"mistakes.png"} if final["validation"]["accuracy"] < 1 else set()
    assert names == {"best.yaml", "model.safetensors", "report.md", "trials.csv"} | mistakes
    text = (finished.folder / "report.md").read_text()
    assert f"{final['validation']['accuracy']:.4f}" in text
    assert "opened once" in text
    assert len((finished.folder / "trials.csv").read_text().splitlines()) == 4


def test_launching_a_finished_study_again_changes_nothing(
    finished: Outcome, place: Path, url: str, storage: Storage
) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in finished.folder.iterdir()}
    trials = [t.datetime_complete for t in read_stored_study(storage, "small").trials]
    again = launch(spec(), url, runs=place / "runs", workers=2)
    assert again.already_done
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in again.folder.iterdir()} == before
    assert [t.datetime_complete for t in read_stored_study(storage, "small").trials] == trials
    assert again.report.openings == 1


def test_the_report_comes_from_storage_alone(finished: Outcome, storage: Storage) -> None:
    again = make_report(storage, "small")
    assert markdown(again) == (finished.folder / "report.md").read_text()
    assert again.final == finished.report.final


def test_an_exported_file_alone_trains_to_the_recorded_score(
    finished: Outcome, tmp_path: Path
) -> None:
    exported = read_exported(finished.folder / "best.yaml")
    epochs: list[Any] = []
    weights = tmp_path / "again.safetensors"
    scores = train_exported(exported, None, "auto", weights, lambda done, of: None, epochs.append)
    assert scores["identical"] is True
    assert scores["test"]["accuracy"] == exported.recorded.test_score("accuracy")
    assert len(epochs) == 2
    first, second = (
        load_model(p).model.state_dict() for p in (finished.folder / "model.safetensors", weights)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_optuna_itself_reads_our_storage(finished: Outcome, url: str) -> None:
    backend = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name="small", storage=backend)
    best = finished.report.study.best()
    assert best is not None and study.best_value == best.value
    backend.remove_session()
    backend.engine.dispose()


def test_another_space_under_the_same_name_is_refused(
    finished: Outcome, place: Path, url: str
) -> None:
    other = spec().model_dump(mode="json")
    other["space"]["filters"] = {"low": 8, "high": 32, "step": 8}
    with pytest.raises(StudyMismatchError, match=r"space\.filters: was .*16.*, now .*32"):
        launch(StudySpec.model_validate(other), url, runs=place / "runs")


def test_more_trials_go_on_and_validation_stays_closed_without_being_asked(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/db.sqlite"
    first = launch(spec("more", trials=1), url, runs=tmp_path, workers=1)
    second = launch(spec("more", trials=4), url, runs=tmp_path, workers=2)
    assert len(second.report.study.trials) == 4
    assert second.report.openings == 1
    assert second.report.final == first.report.final
    best = second.report.study.best()
    assert best is not None and first.report.final is not None
    if best.number != first.report.final.trial:
        assert "--open-again" in markdown(second.report)
        third = launch(spec("more", trials=4), url, runs=tmp_path, open_again=True)
        assert third.report.openings == 2
        assert "opened 2 times" in markdown(third.report)


def test_without_final_validation_stays_sealed_until_a_launch_opens_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db.sqlite"
    sealed = launch(spec("sealed", trials=1), url, runs=tmp_path, workers=1, final=False)
    assert sealed.report.openings == 0 and sealed.report.final is None
    assert "still sealed" in markdown(sealed.report)
    opened = launch(spec("sealed", trials=1), url, runs=tmp_path, workers=1)
    assert opened.report.openings == 1 and not opened.already_done


def test_one_worker_and_one_seed_give_the_same_study_twice(tmp_path: Path) -> None:
    def run(name: str) -> list[tuple[dict[str, Any], list[float], str]]:
        pruner = {"name": "median", "startup_trials": 2, "warmup_epochs": 0, "min_trials": 1}
        asked = spec("twice", trials=6, pruner=pruner, sampler={"name": "tpe", "startup_trials": 2})
        url = f"sqlite:///{tmp_path}/{name}.db"
        outcome = launch(asked, url, runs=tmp_path / name, workers=1, final=False)
        return [
            (t.params, list(t.intermediate_values.values()), t.state.name)
            for t in outcome.report.study.trials
        ]

    first = run("a")
    assert len(first) == 6
    assert first == run("b")


@on_postgres
def test_a_launch_on_postgres_ends_as_on_sqlite(storage_url: str, tmp_path: Path) -> None:
    outcome = launch(spec("served", trials=2), storage_url, runs=tmp_path, workers=2)
    assert [t.state for t in outcome.report.study.trials] == [TrialState.COMPLETE] * 2
    assert outcome.report.openings == 1


def test_the_pruner_prunes_and_the_report_counts_the_epochs_it_saved(tmp_path: Path) -> None:
    asked = StudySpec.model_validate(
        {
            "name": "pruned",
            "data": {"source": "digits"},
            "space": {"filters": 8, "layers": 1, "units1": 16, "units2": 16,
                      "learning_rate": [3e-3, 1e-6]},
            "search": {
                "sampler": "grid", "trials": 2, "epochs": 4,
                "pruner": {"name": "median", "startup_trials": 1, "min_trials": 1},
            },
        }
    )  # fmt: skip
    url = f"sqlite:///{tmp_path}/db.sqlite"
    outcome = launch(asked, url, runs=tmp_path, workers=1, final=False)
    good, hopeless = outcome.report.study.trials
    assert good.state == TrialState.COMPLETE and hopeless.state == TrialState.PRUNED
    assert len(hopeless.intermediate_values) == 2, "epoch 1 is warm-up, epoch 2 is judged"
    assert outcome.report.progress.epochs_saved == 2
    assert "Pruning saved 2 of 8 epochs" in markdown(outcome.report)


def test_time_that_is_up_before_any_trial_ended_says_how_far_it_came(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db.sqlite"
    short = spec("short", trials=2, epochs=500, timeout=14)
    began = time.monotonic()
    with pytest.raises(NothingToChooseError, match="longest reached epoch"):
        launch(short, url, runs=tmp_path, workers=1)
    assert time.monotonic() - began < 60
    storage = open_storage(url)
    assert storage.leases.unfinished("short")[0] == set(), "no lease is held after the launch"
    storage.close()


@dataclass
class Refusing:
    """Workers whose every trial is too large for them, and which go after two."""

    storage: Storage
    spec: StudySpec
    gave_up: bool = True

    def start(self) -> None:
        for _ in range(2):
            lease = claimed(self.storage, self.spec)
            trial = begin_trial(self.storage, self.spec, lease)
            prune(self.storage, trial, lease, "it needs 9 GiB", "memory")

    def look(self) -> bool:
        return False

    def stop(self) -> None:
        pass


def test_a_launch_in_which_no_trial_could_complete_says_how_they_ended(tmp_path: Path) -> None:
    def refusing(storage: Storage, study: str, place: str) -> Refusing:
        return Refusing(storage, asked)

    asked, url = spec("refused", max_parameters=1000), f"sqlite:///{tmp_path}/db.sqlite"
    with pytest.raises(WorkerError) as raised:
        launch(asked, url, runs=tmp_path, workers=refusing)
    assert "no worker of study 'refused' could go on after 2 of 3 trials" in str(raised.value)
    assert "2 infeasible; of the last infeasible one: it needs 9 GiB" in str(raised.value)
    assert "fewer workers" in str(raised.value)
    with pytest.raises(NothingToChooseError, match=r"3 infeasible.*raise search\.constraints\.par"):
        launch(asked, url, runs=tmp_path, workers=1)


def test_results_that_cannot_be_written_are_found_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(RunsFolderError, match="choose another place"):
        launch(spec(), f"sqlite:///{tmp_path}/db.sqlite", runs=tmp_path / "runs")
    assert not (tmp_path / "db.sqlite").exists()


LONG = """
name: long
data: {source: digits}
space: {filters: 16, layers: 2, units1: [16, 32, 48, 64, 96, 128]}
search: {trials: 4, epochs: 12, pruner: none}
"""


def start_launch(folder: Path, *flags: str) -> subprocess.Popen[str]:
    (folder / "long.yaml").write_text(LONG)
    return subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "launch", "long.yaml", "--workers", "2", *flags],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Any, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that run a worker."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rsplit(")", 1)[1].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(after_name[1]) == pid and "spawn_main" in command:
            found.append(int(status.parent.name))
    return found


def epochs_begun(folder: Path) -> int:
    try:
        storage = open_storage(f"sqlite:///{folder}/runs/hpsearch.db", create=False)
    except StorageError:
        return 0  # the launch has not come so far
    try:
        return sum(len(t.intermediate_values) for t in read_stored_study(storage, "long").trials)
    except StudyNotFoundError:
        return 0
    finally:
        storage.close()


def assert_whole(folder: Path) -> None:
    """Exactly the trials of the budget, each with its whole curve, none left running."""
    storage = open_storage(f"sqlite:///{folder}/runs/hpsearch.db", create=False)
    study = read_stored_study(storage, "long")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4
    assert all(list(t.intermediate_values) == list(range(1, 13)) for t in study.trials)
    assert sorted(t.user_attrs["slot"] for t in study.trials) == [0, 1, 2, 3]
    assert open_leases(storage, "long") == 0
    assert len(storage.openings.of(study.fingerprint)) == 1
    storage.close()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
def test_a_worker_that_is_killed_costs_no_trial(tmp_path: Path) -> None:
    launched = start_launch(tmp_path)
    wait_for(lambda: epochs_begun(tmp_path) >= 2)
    os.kill(children(launched.pid)[0], signal.SIGKILL)
    _, words = launched.communicate(timeout=200)
    assert launched.returncode == 0, words
    assert "SIGKILL" in words
    assert_whole(tmp_path)


@needs_proc
def test_ctrl_c_ends_cleanly_and_the_next_launch_goes_on(tmp_path: Path) -> None:
    launched = start_launch(tmp_path)
    wait_for(lambda: epochs_begun(tmp_path) >= 2)
    workers = children(launched.pid)
    os.killpg(launched.pid, signal.SIGINT)
    _, words = launched.communicate(timeout=30)
    assert launched.returncode == 130
    assert "launch the same study again" in words and "Traceback" not in words
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    again = start_launch(tmp_path)
    _, words = again.communicate(timeout=200)
    assert again.returncode == 0, words
    assert_whole(tmp_path)


@needs_proc
def test_a_launch_that_is_killed_leaves_no_worker_and_goes_on(tmp_path: Path) -> None:
    launched = start_launch(tmp_path)
    wait_for(lambda: epochs_begun(tmp_path) >= 2)
    workers = children(launched.pid)
    assert workers
    launched.kill()
    launched.communicate(timeout=30)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
    again = start_launch(tmp_path)
    _, words = again.communicate(timeout=200)
    assert again.returncode == 0, words
    assert_whole(tmp_path)


def test_a_script_may_watch_a_launch(tmp_path: Path) -> None:
    seen: list[int] = []
    watcher = Watcher(searching=lambda progress: seen.append(progress.finished))
    url = f"sqlite:///{tmp_path}/db.sqlite"
    launch(spec("seen", trials=1), url, runs=tmp_path, workers=1, final=False, watcher=watcher)
    assert seen[0] == 0 and seen[-1] == 1
