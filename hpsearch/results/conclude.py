"""The end of a study: choose, open validation once, and write down what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpsearch.results.export import chosen_trial, exported_yaml, write_whole
from hpsearch.results.formats import markdown, trials_csv
from hpsearch.results.report import Report
from hpsearch.results.seal import seal_of
from hpsearch.search.checkpoints import Checkpoints
from hpsearch.search.held_lease import HeldLease
from hpsearch.search.ledger import DONE
from hpsearch.search.processes import in_child
from hpsearch.search.storage import Storage
from hpsearch.search.studies import OpenStudy, read_stored_study

RUN_FINAL = "hpsearch.results.final:run_final"  # imported by its process alone, with torch

Finishing = Callable[[int, dict[str, Any]], None]  # told the trial's number and every epoch


def conclude(
    storage: Storage,
    name: str,
    who: str,
    prepared: Path,
    device: str,
    folder: Path,
    checkpoints: Checkpoints,
    *,
    open_again: bool = False,
    finishing: Finishing = lambda trial, epoch: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> bool | None:
    """Measure the choice on validation where that is due, and call the study done.

    Returns whether it was measured now; None where another is at it. Any number may ask at once:
    a lease lets one in. Raises NothingToChooseError and SealError.
    """
    lease = storage.leases.claim_final(name, who)
    if lease is None:
        return None
    try:
        with HeldLease(storage.leases, lease):
            measured = _measure(storage, name, prepared, device, folder, open_again, finishing,
                                interrupted)  # fmt: skip
            storage.ledger.set_state(name, DONE)
            checkpoints.drop_study(name)  # of trials that their time cut short
            return measured
    finally:
        storage.leases.finish(lease)


def _measure(
    storage: Storage,
    name: str,
    prepared: Path,
    device: str,
    folder: Path,
    open_again: bool,
    finishing: Finishing,
    interrupted: Callable[[], bool],
) -> bool:
    study = read_stored_study(storage, name)
    trial = chosen_trial(study)
    seal = seal_of(storage, name)
    result = seal.result
    if result is not None and (result["trial"] == trial.number or not open_again):
        return False  # measured already; a better trial since is named by the report
    unfinished = seal.to_go_on_with(trial.number, open_again)
    config = study.config(trial)
    in_child(
        RUN_FINAL,
        storage.url.render_as_string(hide_password=False),
        name,
        trial.number,
        config,
        prepared,
        device,
        folder / "model.safetensors",
        "asked for with --open-again" if seal.looks else "final choice",
        None if unfinished is None else unfinished.id,
        threads=config.threads,
        hear=lambda epoch: finishing(trial.number, epoch),
        interrupted=interrupted,
    )
    return True


def write_results(report: Report, folder: Path) -> None:
    """Write report, configuration and table of trials; the weights are there already."""
    study: OpenStudy = report.study
    write_whole(folder / "report.md", markdown(report))
    trial = report.decision.trial
    if trial is None:
        return
    exported = exported_yaml(study, trial, report.final, report.seal.is_honest)
    write_whole(folder / "best.yaml", exported)
    write_whole(folder / "trials.csv", trials_csv(report))
