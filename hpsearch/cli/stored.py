"""Commands that look at a storage: status, report, audit, export, dashboard; without torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import AsJson, Checkpoints, Runs, StorageUrl, StudyName
from hpsearch.storage.defaults import CHECKPOINTS, DEFAULT_RUNS, DEFAULT_STORAGE


def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study.")] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    runs: Runs = Path(DEFAULT_RUNS),
    checkpoints: Checkpoints = None,
    as_json: AsJson = False,
) -> None:
    """Show all studies of a storage, or one: trials by state, best so far, failures, time left."""
    from hpsearch.cli.printed import print_status, print_studies
    from hpsearch.reports.report import make_report
    from hpsearch.reports.status import stand_json, stand_of, standing_of
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        if study is not None:
            place = checkpoints or str((runs / CHECKPOINTS).absolute())
            stand = stand_of(opened, make_report(opened, options.name_of(study)), place)
            if as_json:
                options.print_json(stand_json(stand))
            else:
                print_status(stand)
            return
        standing = standing_of(opened)
    if as_json:
        options.print_json(standing.as_json())
    else:
        print_studies(standing, opened.shown)


def report(
    study: StudyName, storage: StorageUrl = DEFAULT_STORAGE, as_json: AsJson = False
) -> None:
    """Print the report of a study again, from storage alone."""
    from hpsearch.cli.printed import print_report
    from hpsearch.reports.formats import as_json as report_json
    from hpsearch.reports.report import make_report
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        made = make_report(opened, options.name_of(study))
    if as_json:
        options.print_json(report_json(made))
    else:
        print_report(made)


def audit(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE, as_json: AsJson = False) -> None:
    """Show who opened the validation split of a study's data, when, for what, and what it showed.

    Openings by other studies of the same data, and by deleted ones, are in it.
    """
    from hpsearch.cli.printed import print_history
    from hpsearch.evaluation.seal import seal_of
    from hpsearch.reports.seal import history_json
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        stored = opened.row(options.name_of(study))
        seal = seal_of(opened, stored.name)
    if as_json:
        options.print_json(history_json(stored, seal))
    else:
        print_history(stored, seal)


def export(
    study: StudyName,
    trial: Annotated[int | None, typer.Option(min=0, help="This trial, not the choice.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write; else stdout.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Write the complete configuration of the choice, or of one trial, as YAML.

    The choice is the trial that the final has measured, once it has.
    """
    from hpsearch.evaluation.decision import instead_words
    from hpsearch.machine.files import write_whole
    from hpsearch.reports.best_yaml import chosen_trial, exported_yaml
    from hpsearch.reports.formats import trial_json
    from hpsearch.reports.report import make_report
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        made = make_report(opened, options.name_of(study))
        chosen = made.decision.trial if trial is None else None
        chosen = chosen or chosen_trial(made.study, trial)
        instead = instead_words(made.study, made.decision) if trial is None else None
        if as_json:
            text = json.dumps(trial_json(made.study, chosen), indent=2) + "\n"
        else:
            text = exported_yaml(made.study, chosen, made.final, made.seal.is_honest)
    if instead is not None:
        words = f"this is the choice that the final measured, trial {chosen.number}. {instead}"
        options.say(f"{words}: --trial {instead.split()[1]} exports it")
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)
        options.say(
            f"wrote {output}; train it with: {options.command('hpsearch', 'train', output)}"
        )


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8080,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; only this machine's names are answered."),
    ] = "127.0.0.1",
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Serve optuna-dashboard on the same storage, read-only, on this machine alone."""
    from hpsearch.service.dashboard import serve
    from hpsearch.storage.storage import opened_storage

    with opened_storage(storage) as opened:
        server = serve(opened, port, host)
        options.say(f"dashboard of {opened.shown}: http://{host}:{port}/ (Ctrl-C ends it)")
        server.run()
