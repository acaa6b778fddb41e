"""From a study file to one model: search, choose, open validation once, report, export."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress as DecodingProgress
from hpsearch.errors import NothingToChooseError, RunsFolderError, SealError, WorkerError
from hpsearch.results.export import chosen_trial, exported_yaml, write_whole
from hpsearch.results.final import run_final
from hpsearch.results.formats import markdown, trials_csv
from hpsearch.results.report import Report, last_result, make_report
from hpsearch.search.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from hpsearch.search.ledger import StudyRow
from hpsearch.search.local_workers import LocalWorkers
from hpsearch.search.processes import (
    check_device_name,
    in_child,
    interrupts_noted,
    workers_for,
)
from hpsearch.search.progress import Progress, progress_of
from hpsearch.search.storage import Storage, open_storage, storage_errors
from hpsearch.search.studies import enter_study, read_stored_study
from hpsearch.study.spec import StudySpec

LOOK_EVERY_S = 0.25  # at the worker processes
WATCH_EVERY_S = 1.0  # at the storage, for the person who watches


@dataclass
class Watcher:
    """What a launch tells while it runs; the command line draws it, a script may ignore it."""

    decoding: DecodingProgress = no_progress
    prepared: Callable[[Prepared], None] = lambda prepared: None
    searching: Callable[[Progress], None] = lambda progress: None
    finishing: Callable[[int, dict[str, Any]], None] = lambda trial, epoch: None


@dataclass(frozen=True)
class Outcome:
    """What a launch came to. `already_done`: nothing was left to do, and nothing was changed."""

    report: Report
    folder: Path
    already_done: bool


def launch(
    spec: StudySpec,
    storage_url: str = DEFAULT_STORAGE,
    *,
    data_root: str | Path | None = None,
    runs: Path = Path(DEFAULT_RUNS),
    workers: int | None = None,
    device: str = "auto",
    final: bool = True,
    open_again: bool = False,
    watcher: Watcher | None = None,
) -> Outcome:
    """Search until the budget of a study is spent, then choose, measure once, report and export.

    Creates the study or goes on with it. Files appear under `runs/STUDY/`. Raises HpsearchError
    for whatever its user can mend; on KeyboardInterrupt workers give their trials back, and the
    next launch goes on with them.
    """
    check_device_name(device)
    watcher = watcher or Watcher()
    folder = runs / spec.name
    _check_writable(folder)
    prepared = prepare(spec.data, data_root, watcher.decoding)
    watcher.prepared(prepared)
    storage = open_storage(storage_url)
    try:
        with storage_errors(storage):
            enter_study(storage, spec, prepared)
            row = storage.ledger.study(spec.name)
            assert row is not None
            searched = _is_finished(row, spec)
            if not searched:
                _search(storage, spec, prepared, workers or workers_for(device), device, watcher)
            measured = final and _final(
                storage, spec, prepared, device, folder, open_again, watcher
            )
            report = make_report(storage, spec.name)
            if not searched or measured or not (folder / "report.md").exists():
                _write(report, folder)
            return Outcome(report, folder, already_done=searched and not measured)
    finally:
        storage.close()


def _check_writable(folder: Path) -> None:
    """Find out before the search, not after it, that results cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise RunsFolderError(
            f"{folder}: results cannot be written there: {error.strerror}; choose another place "
            "with --runs"
        ) from None


def _is_finished(row: StudyRow, spec: StudySpec) -> bool:
    """Whether a study is done and the budget asks for nothing more."""
    if row.state != "done" or spec.trial_budget() > row.trials:
        return False
    if row.claimed >= row.trials:
        return True
    before, now = row.timeout_s, spec.search.timeout
    return before is not None and now is not None and now <= before


def _search(
    storage: Storage,
    spec: StudySpec,
    prepared: Prepared,
    count: int,
    device: str,
    watcher: Watcher,
) -> None:
    ledger, name = storage.ledger, spec.name
    row = ledger.study(name)
    budget = max(spec.trial_budget(), row.claimed if row else 0)
    ledger.begin_launch(name, spec.model_dump_json(), budget, spec.search.timeout)
    workers = LocalWorkers(storage, name, prepared.folder, min(count, budget), device)
    accounted = watched = time.monotonic()
    with interrupts_noted() as interrupted:
        try:
            watcher.searching(progress_of(storage, name, workers.count))
            workers.start()
            while workers.look():
                if interrupted():
                    raise KeyboardInterrupt
                time.sleep(LOOK_EVERY_S)
                now = time.monotonic()
                if now - watched >= WATCH_EVERY_S:
                    watcher.searching(progress_of(storage, name, workers.count))
                    ledger.add_spent(name, now - accounted)
                    accounted = watched = now
        finally:
            workers.stop()
            ledger.add_spent(name, time.monotonic() - accounted)
    progress = progress_of(storage, name, workers.count)
    watcher.searching(progress)
    if workers.gave_up and progress.finished < progress.budget:
        raise WorkerError(
            f"no worker of study '{name}' could go on after {progress.finished} of "
            f"{progress.budget} trials; 'hpsearch status {name}' shows why trials failed"
        )
    if progress.best is not None:
        ledger.set_state(name, "done")


def _final(
    storage: Storage,
    spec: StudySpec,
    prepared: Prepared,
    device: str,
    folder: Path,
    open_again: bool,
    watcher: Watcher,
) -> bool:
    """Measure the choice on validation where that is due; return whether it was measured."""
    study = read_stored_study(storage, spec.name)
    trial = chosen_trial(study)
    mine = [o for o in storage.ledger.openings(study.fingerprint) if o.study == spec.name]
    result = last_result(mine)
    if result is not None and (result["trial"] == trial.number or not open_again):
        return False  # measured already; a better trial since is named by the report
    unfinished = next((o for o in mine if o.result is None), None)
    if unfinished is not None and unfinished.trial_number != trial.number and not open_again:
        raise SealError(
            f"validation was opened for trial {unfinished.trial_number} and not measured to the "
            f"end; the choice is trial {trial.number} now. --open-again opens it a second time, "
            "and the report will say so"
        )
    same = unfinished is not None and unfinished.trial_number == trial.number
    config = study.config(trial)
    started = time.monotonic()
    in_child(
        run_final,
        storage.url.render_as_string(hide_password=False),
        spec.name,
        trial.number,
        config,
        prepared.folder,
        device,
        folder / "model.safetensors",
        "final choice" if not mine else "asked for with --open-again",
        unfinished.id if same and unfinished else None,
        threads=config.threads,
        hear=lambda epoch: watcher.finishing(trial.number, epoch),
    )
    storage.ledger.add_spent(spec.name, time.monotonic() - started)
    return True


def _write(report: Report, folder: Path) -> None:
    """Write report, configuration and table of trials; the weights are there already."""
    study = report.study
    write_whole(folder / "report.md", markdown(report))
    number = None if report.final is None else report.final["trial"]
    try:
        trial = chosen_trial(study, number)
    except NothingToChooseError:
        return
    write_whole(folder / "best.yaml", exported_yaml(study, trial, report.final))
    write_whole(folder / "trials.csv", trials_csv(report))
