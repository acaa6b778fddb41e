"""Commands that begin with a file: launch, check, train."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import AsJson, Checkpoints, DataRoot, Device, Runs, StorageUrl, StudyFile
from hpsearch.errors import StudyFileError
from hpsearch.storage.defaults import DEFAULT_RUNS, DEFAULT_STORAGE

if TYPE_CHECKING:
    from hpsearch.service.launch import StartWorkers


def launch(
    study_file: StudyFile,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: DataRoot = None,
    runs: Runs = Path(DEFAULT_RUNS),
    checkpoints: Checkpoints = None,
    workers: options.Workers = "auto",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of the whole study, instead of the file's.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Time of the whole study, final included: 90s, 30m, 2h.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Plan the whole study for so many minutes.")
    ] = None,
    device: Device = "auto",
    final: Annotated[
        bool, typer.Option("--final/--no-final", help="Choose and open validation at the end.")
    ] = True,
    open_again: Annotated[
        bool,
        typer.Option("--open-again", help="Open validation for a new choice; the report says so."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only enter the study, for 'hpsearch worker' to serve.")
    ] = False,
    priority: Annotated[
        int | None, typer.Option(help="Studies of higher priority are served first; 0 at first.")
    ] = None,
    on: Annotated[
        str, typer.Option(help="Where workers run: local, or ray (needs hpsearch\\[ray]).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; without it, Ray on this machine.")
    ] = None,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="Of a Ray worker.")] = 0,
    cpus_per_worker: Annotated[float, typer.Option(min=0, help="Of a Ray worker.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Create or resume a study: search, choose, open validation once, report, export."""
    from hpsearch.cli.display import Display
    from hpsearch.cli.printed import print_report
    from hpsearch.reports.formats import as_json as report_json
    from hpsearch.service.queue import queue

    spec = options.spec_of(study_file, trials, timeout, minutes)
    count = options.worker_count(workers)
    start = _on(on, address, count, cpus_per_worker, gpus_per_worker, data, device)
    with Display(spec) as display:
        if detach:
            opened = queue(
                spec, storage, data_root=data, final=final, open_again=open_again,
                priority=priority, decoding=display.decoding, on_prepared=display.prepared,
                opened_before=display.opened_before, planned=display.planned,
                starting=display.starting,
            )  # fmt: skip
            display.queued(storage, opened)
            return
        from hpsearch.service.launch import launch as launch_study

        outcome = launch_study(
            spec,
            storage,
            data_root=data,
            runs=runs,
            checkpoints=checkpoints,
            workers=start or count,
            device=device,
            final=final,
            open_again=open_again,
            priority=priority,
            watcher=display.watcher(),
        )
    if as_json:
        came = {"folder": str(outcome.folder), "unopened": outcome.unopened}
        options.print_json(report_json(outcome.report) | came)
        return
    print_report(outcome.report)
    display.close(outcome, study_file, storage)


def _on(
    where: str,
    address: str | None,
    workers: int | None,
    cpus: float,
    gpus: float,
    data: str | None,
    device: str,
) -> StartWorkers | None:
    """Return what starts workers elsewhere than on this machine, None for here."""
    if where == "local":
        return None
    if where != "ray":
        raise StudyFileError(f"--on: unknown place '{where}'; use local or ray")
    from hpsearch.workers.ray import ray_workers

    return ray_workers(address, workers, cpus, gpus, data and str(Path(data).absolute()), device)


def train(
    config_file: Annotated[Path, typer.Argument(metavar="BEST.yaml", help="From 'export'.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the weights to this file.")
    ] = None,
    data: DataRoot = None,
    device: Device = "auto",
    compare: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where the score differs beyond noise.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train from an exported file alone, and compare with the score recorded in it."""
    from hpsearch.cli.display import training_display
    from hpsearch.cli.printed import print_training
    from hpsearch.evaluation.exported import read_exported
    from hpsearch.evaluation.retrain_exported import DIFFERS, train_exported

    exported = read_exported(config_file)
    with training_display(exported.config.epochs, exported.config.metric) as (decoding, epoch):
        trained = train_exported(exported, data, device, output, decoding, epoch, compare)
    if as_json:
        options.print_json(trained)
    else:
        print_training(trained, exported, output)
    if compare and trained["verdict"] == DIFFERS:
        raise typer.Exit(1)


def check(
    study_file: StudyFile,
    data: DataRoot = None,
    workers: options.Workers = "auto",
    device: Device = "auto",
    storage: StorageUrl = DEFAULT_STORAGE,
    locality: Annotated[
        bool, typer.Option("--locality", help="Train twice, to see whether positions matter.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find all that can be wrong before a launch, and what it would cost."""

    spec = options.spec_of(study_file)  # what is wrong with it is said before torch is loaded
    from hpsearch.cli.decoding import decoding_display
    from hpsearch.cli.printed import print_check
    from hpsearch.data.account import account_json
    from hpsearch.preflight.check import check as check_study
    from hpsearch.reports.seal import seal_json

    with decoding_display() as decoding:
        count = options.worker_count(workers)
        checked = check_study(spec, data, decoding, count, device, locality, storage)
    if as_json:
        prepared = checked.prepared
        options.print_json(
            {
                "study": spec.name,
                "task": prepared.task,
                "outputs": prepared.outputs,
                "counts": prepared.counts,
                "totals": prepared.totals,
                "groups": prepared.groups,
                "image_shape": prepared.image_shape,
                "fingerprint": prepared.fingerprint,
                "account": account_json(prepared.account),
                "estimate": asdict(checked.estimate),
                "plan": checked.plan and checked.plan.as_json(),
                "locality": checked.locality and asdict(checked.locality),
                "warnings": spec.warnings(),
                "seal": None if checked.seal is None else seal_json(checked.seal),
                "audit": asdict(checked.audit) | {"folder": str(prepared.folder)},
                "samples": [
                    {
                        "config": config.model_dump(mode="json"),
                        "parameters": cost.parameters,
                        "forward_flops": cost.forward_flops,
                    }
                    for config, cost in checked.samples
                ],
            }
        )
    else:
        print_check(spec, checked, study_file)
