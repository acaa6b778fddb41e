"""From a study file to one model: search, choose, open validation once, report, export."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpsearch.data.account import write_names
from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress as DecodingProgress
from hpsearch.errors import (
    RunsFolderError,
    SealError,
    StudyFileError,
    StudyNotFoundError,
    WorkerError,
)
from hpsearch.evaluation.seal import OpenedBefore, as_asked, seal_of
from hpsearch.machine.children import check_device_name, check_guarded, interrupts_noted
from hpsearch.models.weights import check_weights
from hpsearch.preflight.estimate import Estimate, estimate, is_worth_it
from hpsearch.reports.report import Report, make_report
from hpsearch.search.entering import enter, start_lines
from hpsearch.search.kinds import why_none_completes
from hpsearch.search.progress import Progress, progress_of
from hpsearch.service.conclude import Finishing, conclude, write_results
from hpsearch.service.planned import Planning
from hpsearch.service.queue import is_finished, open_study
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.defaults import CHECKPOINTS, DEFAULT_RUNS, DEFAULT_STORAGE
from hpsearch.storage.storage import Storage, opened_storage
from hpsearch.storage.studies import DONE, STOPPED
from hpsearch.study.spec import StudySpec
from hpsearch.workers.local import LocalWorkers
from hpsearch.workers.protocol import Workers
from hpsearch.workers.supervising import supervise

WATCH_EVERY_S = 1.0  # at the storage, for the person who watches


@dataclass
class Watcher:
    """What a launch tells while it runs; the command line draws it, a script may ignore it.

    `opened_before` is called before the search where others have opened this validation, and
    answers whether to open it once more at the end. `starting` is called before the first trial of
    a study, with what it tries first and takes over.
    """

    decoding: DecodingProgress = no_progress
    prepared: Callable[[Prepared], None] = lambda prepared: None
    estimated: Callable[[Estimate], None] = lambda estimate: None
    planned: Callable[[StudySpec, str], None] = lambda spec, words: None
    opened_before: OpenedBefore = as_asked
    searching: Callable[[Progress], None] = lambda progress: None
    finishing: Finishing = lambda trial, epoch: None
    starting: Callable[[list[str]], None] = lambda lines: None


@dataclass(frozen=True)
class Outcome:
    """What a launch came to. `already_done`: nothing was left to train or open.

    `unopened` is why validation was not opened for the choice though a final was wanted: others had
    opened it, and opening it again was not asked for. `missing` names results that are not in the
    folder any more and are not written by a launch, each with the command that makes it.
    """

    report: Report
    folder: Path
    already_done: bool
    unopened: str | None = None
    missing: tuple[str, ...] = ()


StartWorkers = Callable[[Storage, str, str], Workers]  # of a study, with their checkpoints at a URL


def launch(
    spec: StudySpec,
    storage_url: str = DEFAULT_STORAGE,
    *,
    data_root: str | Path | None = None,
    runs: str | Path = DEFAULT_RUNS,
    checkpoints: str | None = None,
    workers: int | StartWorkers | None = None,
    device: str = "auto",
    final: bool = True,
    open_again: bool = False,
    priority: int | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Search until the budget of a study is spent, then choose, measure once, report and export.

    Creates the study or goes on with it. Files appear under `runs/STUDY/`, checkpoints in
    `checkpoints` (a folder or a URL; below `runs` unless it says otherwise). `workers` is how many
    run on this machine, or what starts them elsewhere. Raises HpsearchError for whatever its user
    can mend; on KeyboardInterrupt workers give their trials back, and the next launch goes on.
    """
    check_guarded()
    if not isinstance(spec, StudySpec):
        raise StudyFileError(
            f"launch takes what read_study returns, not {type(spec).__name__}: write "
            "launch(read_study('STUDY.yaml'))"
        )
    check_device_name(device)
    watcher = watcher or Watcher()
    runs = Path(runs)
    folder = runs / spec.name
    place = checkpoints or str((runs / CHECKPOINTS).absolute())
    _check_writable(folder)
    prepared = prepare(spec.data, data_root, watcher.decoding)
    watcher.prepared(prepared)
    write_names(folder, prepared.account)
    check_weights(spec)
    with (
        interrupts_noted() as interrupted,
        opened_storage(storage_url, create=True, gives_up=interrupted) as storage,
    ):
        count = None if callable(workers) else workers
        planning = Planning(storage, spec, prepared, count, device, interrupted, final)
        spec = planning.spec
        if planning.said:
            watcher.planned(spec, planning.said)
        enter(storage, spec, prepared)
        planning.keep()
        seal = seal_of(storage, spec.name)
        if final and seal.needs_asking:
            open_again = watcher.opened_before(seal, open_again)
        storage.ledger.set_open_again(spec.name, open_again)
        row = storage.ledger.study(spec.name)
        assert row is not None
        searched = is_finished(storage, row, spec)
        if not searched:
            open_study(storage, spec, final, priority)
            if not row.claimed:
                watcher.starting(start_lines(storage, spec.name))
            asks = not row.claimed and not callable(workers) and not planning.said
            if asks and is_worth_it(spec, prepared):
                watcher.estimated(estimate(spec, prepared, count, device, interrupted))
            started = _workers_of(storage, spec, workers, device, place)
            _search(storage, spec.name, started, watcher, interrupted)
        measured, unopened = False, None
        try:
            if final:
                measured = _conclude(
                    storage, spec.name, prepared, device, folder, Checkpoints(place),
                    open_again, watcher.finishing, interrupted,
                )  # fmt: skip
        except SealError as error:  # the search is over all the same
            unopened = str(error)
            storage.ledger.set_state(spec.name, DONE)
        report = make_report(storage, spec.name)
        missing = write_results(report, folder)
        return Outcome(report, folder, searched and not measured, unopened, missing)


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


def _workers_of(
    storage: Storage,
    spec: StudySpec,
    workers: int | StartWorkers | None,
    device: str,
    place: str,
) -> Workers:
    if callable(workers):
        return workers(storage, spec.name, place)
    return LocalWorkers(storage, spec.name, place, workers, device, most=spec.trial_budget())


def _search(
    storage: Storage,
    name: str,
    workers: Workers,
    watcher: Watcher,
    interrupted: Callable[[], bool],
) -> None:
    """Have workers run trials until the budget or the time of a study is spent."""
    ledger = storage.ledger

    def watch() -> float:
        ledger.tick(name)
        watcher.searching(progress_of(storage, name))
        return WATCH_EVERY_S

    if supervise(workers, interrupted, watch):
        raise KeyboardInterrupt
    progress = progress_of(storage, name)
    watcher.searching(progress)
    if progress.state == STOPPED:
        raise WorkerError(
            f"study '{name}' was stopped: {progress.note}{_none_completes(progress)}. 'hpsearch "
            f"status {name}' shows what happened; launch it again, and it goes on"
        )
    if workers.gave_up and progress.finished < progress.budget:
        why = f"'hpsearch status {name}' shows why trials failed"
        raise WorkerError(
            f"no worker of study '{name}' could go on after {progress.ended_words}"
            f"{_none_completes(progress)}; "
            f"{why if progress.failed else 'what they said is above'}"
        )
    confirm = progress.confirm
    if workers.gave_up and confirm is not None and confirm.is_due and confirm.ended < confirm.of:
        raise WorkerError(
            f"no worker of study '{name}' could go on after {confirm.ended} of {confirm.of} "
            "trainings of finalists; launch it again, and it goes on"
        )
    if progress.best is not None and not progress.wants_final:
        ledger.set_state(name, DONE)


def _none_completes(progress: Progress) -> str:
    """Return why no trial of a study is complete, to be added to an error; nothing where one is."""
    why = why_none_completes(progress.study.trials)
    return "" if why is None else f" ({why})"


def _conclude(
    storage: Storage,
    name: str,
    prepared: Prepared,
    device: str,
    folder: Path,
    checkpoints: Checkpoints,
    open_again: bool,
    finishing: Finishing,
    interrupted: Callable[[], bool],
) -> bool:
    """Measure the choice, or wait for whoever is at it; return whether it was measured here."""
    who = f"{socket.gethostname()}-{os.getpid()}"
    while True:
        measured = conclude(
            storage,
            name,
            who,
            prepared.folder,
            device,
            folder,
            checkpoints,
            open_again=open_again,
            finishing=finishing,
            interrupted=interrupted,
        )
        if measured is not None:
            return measured
        if interrupted():
            raise KeyboardInterrupt
        row = storage.ledger.study(name)
        if row is None:
            raise StudyNotFoundError(f"study '{name}' was deleted before its final")
        if row.state == STOPPED:
            raise WorkerError(f"study '{name}' was stopped: {row.note}. Launch it again to go on")
        time.sleep(WATCH_EVERY_S)
