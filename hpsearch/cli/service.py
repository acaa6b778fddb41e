"""Commands of the service: worker, pause, resume, stop, delete, storage upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import Checkpoints, DataRoot, Device, Runs, StorageUrl, StudyName
from hpsearch.storage.defaults import CHECKPOINTS, DEFAULT_RUNS, DEFAULT_STORAGE
from hpsearch.study.names import plain


def worker(
    storage: StorageUrl = DEFAULT_STORAGE,
    study: Annotated[str | None, typer.Option(help="Serve this study alone, to its end.")] = None,
    workers: options.Workers = "auto",
    device: Device = "auto",
    data: DataRoot = None,
    runs: Runs = Path(DEFAULT_RUNS),
    checkpoints: Checkpoints = None,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when nothing is left to do.")
    ] = False,
    search_only: Annotated[
        bool, typer.Option("--search-only", help="Run trials; leave every final to others.")
    ] = False,
    log: Annotated[
        str | None, typer.Option(envvar="HPSEARCH_LOG", help="text, or json: one line per event.")
    ] = None,
) -> None:
    """Serve the open studies of a storage, by priority and fairly, and wait for more."""
    import logging
    import os

    from hpsearch.machine.logs import FORMAT_VARIABLE, set_up_logging
    from hpsearch.service.pool import serve

    if log is not None:
        os.environ[FORMAT_VARIABLE] = log  # worker processes inherit it
    set_up_logging(logging.INFO, dated=True)
    serve(
        storage,
        study=study and options.name_of(study),
        data_root=data,
        runs=runs,
        checkpoints=checkpoints or str((runs / CHECKPOINTS).absolute()),
        workers=options.worker_count(workers),
        device=device,
        until_idle=until_idle,
        search_only=search_only,
    )


def _resume(name: str) -> str:
    return options.command("hpsearch", "resume", name)


def pause(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Keep the running trials of a study and let no trial go on, until it is resumed."""
    from hpsearch.search.control import pause as pause_study
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        name = options.name_of(study)
        pause_study(opened, name)
    options.say(f"study '{name}' is paused; go on with: {_resume(name)}")


def resume(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Let a paused or stopped study go on."""
    from hpsearch.search.control import resume as resume_study
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        name = options.name_of(study)
        resume_study(opened, name)
    options.say(f"study '{name}' is open; workers go on with it: hpsearch worker")


def stop(
    study: StudyName,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Let running trials end, then choose, measure and report."),
    ] = False,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """End a search early. Its trials are kept, and validation stays sealed unless --finish."""
    from hpsearch.search.control import finish as finish_study
    from hpsearch.search.control import stop as stop_study
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        name = options.name_of(study)
        if finish:
            finish_study(opened, name)
            options.say(f"study '{name}' begins no more trials, and ends when those at work have")
        else:
            stop_study(opened, name)
            options.say(f"study '{name}' is stopped; go on with: {_resume(name)}")


def delete(
    study: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage: StorageUrl = DEFAULT_STORAGE,
    runs: Runs = Path(DEFAULT_RUNS),
    checkpoints: Checkpoints = None,
) -> None:
    """Delete a study with its trials and checkpoints. Openings of validation stay on record."""
    from hpsearch.search.control import delete as delete_study
    from hpsearch.storage.checkpoints import Checkpoints as Place
    from hpsearch.storage.storage import opened_storage
    from hpsearch.study.spec import is_name

    with opened_storage(storage) as opened:
        name = options.name_of(study)
        trials = opened.row(name).claimed
        if not yes:
            asked = f"Delete study '{plain(name)}' with its {trials} trials?"
            typer.confirm(asked, abort=True, err=True)
        place = Place(checkpoints or str((runs / CHECKPOINTS).absolute()))
        delete_study(opened, name, place)
    if is_name(name):
        options.say(f"study '{name}' is deleted; its results in {runs / name}/ are left alone")
    else:
        options.say(
            f"study '{plain(name)}' is deleted. No study may have that name: another program, or "
            "damage, has put it there, and no checkpoints or results can be of it"
        )


def upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Bring a storage of an older hpsearch up to date, after a copy of a SQLite file."""
    from hpsearch.storage.upgrade import upgrade_storage

    upgrade_storage(storage, dry_run, print)
