"""The end of a study: choose, open validation once, and write down what came of it."""

from __future__ import annotations

import logging
import shlex
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpsearch.errors import (
    HpsearchError,
    ProcessDiedError,
    RunsFolderError,
    StorageError,
    WorkerError,
)
from hpsearch.evaluation.final_order import INTERRUPTED, LOST, MEASURED, MODEL, UNFINISHED, Order
from hpsearch.evaluation.places import pictures_of, sha256_of, take_place
from hpsearch.evaluation.seal import seal_of
from hpsearch.evaluation.supervised import train_and_measure
from hpsearch.machine.files import write_whole
from hpsearch.reports.best_yaml import chosen_trial, exported_yaml
from hpsearch.reports.formats import markdown, trials_csv
from hpsearch.reports.report import Report
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.leases import MAX_ATTEMPTS, Lease
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.schema import FINAL
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE

logger = logging.getLogger(__name__)

Finishing = Callable[[int, dict[str, Any]], None]  # given the trial's number and every epoch


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
    begins: Callable[[], None] = lambda: None,
) -> bool | None:
    """Measure the choice on validation where that is due, and call the study done.

    Returns whether it was measured now; None where another is at it, or where the study does not go
    on. Any number may ask at once: a lease lets one in, and calls `begins()`. A process that dies
    of it is another attempt. Raises NothingToChooseError, SealError, and WorkerError after
    MAX_ATTEMPTS of those.
    """
    series = _Series(finishing)
    while True:
        token = uuid.uuid4().hex[:8]  # no other claim is called the same: see `Leases.claim`
        with _freed_where_writing_fails(storage, f"{who}-final-{token}") as claimant:
            lease = storage.leases.claim(name, claimant, kind=FINAL)
        if lease is None:
            return None
        place = folder / f"{UNFINISHED}{token}"
        try:
            series.begin(lease, begins)
            ended = _measure(storage, lease, prepared, device, place, checkpoints, open_again,
                             series.hear, interrupted)  # fmt: skip
        except ProcessDiedError as error:
            logger.warning("study '%s', its final: %s; it is begun again", name, error)
            storage.leases.expire_worker(lease.worker)
            series.died()
        except (HpsearchError, KeyboardInterrupt) as error:
            _let_go(storage, lease, error)
            raise
        else:
            break
    if ended in (LOST, INTERRUPTED):
        shutil.rmtree(place, ignore_errors=True)
        if interrupted():
            raise KeyboardInterrupt
        return None
    with _freed_where_writing_fails(storage, lease.worker):
        if not storage.leases.conclude(lease, DONE):
            return None
    checkpoints.drop_study(name)  # of trials that their time cut short
    _remove_unfinished(folder)
    return ended == MEASURED


class _Series:
    """Attempts at one final, one after the other: what they said, and how many died in a row."""

    def __init__(self, finishing: Finishing) -> None:
        self._finishing = finishing
        self._heard: dict[bool, int] = {}  # the last epoch of the choice, and of the baseline
        self._deaths, self._furthest = 0, -1

    def hear(self, trial: int, epoch: dict[str, Any]) -> None:
        """Pass an epoch on; later attempts tell of what earlier ones trained, too."""
        of, number = bool(epoch.get("baseline")), epoch["epoch"]
        if number > self._heard.get(of, 0):
            self._heard[of] = number
            self._finishing(trial, epoch)

    def begin(self, lease: Lease, begins: Callable[[], None]) -> None:
        """Call `begins()` for the first attempt of all; WorkerError after too many deaths."""
        if max(lease.attempts - 1, self._deaths) >= MAX_ATTEMPTS:
            raise WorkerError(
                f"{MAX_ATTEMPTS} processes died on the final of study '{lease.study}', one after "
                "the other; the log above says how"
            )
        if lease.attempts == 1 and not self._deaths:
            begins()

    def died(self) -> None:
        """Count a death, from 1 again where that attempt came further than those before."""
        reached = sum(self._heard.values())
        self._deaths = 1 if reached > self._furthest else self._deaths + 1
        self._furthest = max(self._furthest, reached)


@contextmanager
def _freed_where_writing_fails(storage: Storage, claimant: str) -> Iterator[str]:
    """Give back what a claimant may hold, where the database fails for good inside the block.

    The write may have been carried out unheard. Where it cannot be given back either, as where the
    database is gone, the lease runs out.
    """
    try:
        yield claimant
    except DATABASE_ERRORS:
        with suppress(*DATABASE_ERRORS):
            storage.leases.expire_worker(claimant)
        raise


def _let_go(storage: Storage, lease: Lease, error: BaseException) -> None:
    """Leave a final that an error has ended to whoever may try it next."""
    if isinstance(error, KeyboardInterrupt):
        storage.leases.give_back(lease)  # does nothing where its process has done so
    elif isinstance(error, StorageError | RunsFolderError):
        storage.leases.expire_worker(lease.worker)  # of this machine, perhaps: others may try
    else:
        storage.leases.finish(lease)


def _measure(
    storage: Storage,
    lease: Lease,
    prepared: Path,
    device: str,
    place: Path,
    checkpoints: Checkpoints,
    open_again: bool,
    hear: Finishing,
    interrupted: Callable[[], bool],
) -> str | None:
    """Return how the final ended, None where it had been measured before."""
    study = read_stored_study(storage, lease.study)
    trial = chosen_trial(study)
    seal = seal_of(storage, lease.study)
    result, folder = seal.result, place.parent
    if result is not None and (result.trial == trial.number or not open_again):
        recover(result, folder)
        return None  # a better trial since is named by the report
    seal.to_go_on_with(trial.number, open_again)  # found now, not after the training
    order = Order(
        storage_url=storage.url.render_as_string(hide_password=False),
        lease=lease,
        trial=trial.number,
        config=study.config(trial),
        asked=study.spec.final,
        prepared=prepared,
        device=device,
        folder=folder,
        place=place,
        checkpoints=checkpoints.url,
        checkpoint_every_s=checkpoints.every_s,
        timeout_s=study.spec.search.trial_timeout,
        open_again=open_again,
    )
    return train_and_measure(
        storage, study, order, lambda epoch: hear(trial.number, epoch), interrupted
    )


def recover(result: FinalRecord, folder: Path) -> None:
    """Give what a final measured its place, where its process died between the two."""
    known = result.weights_sha256
    for place in folder.glob(f"{UNFINISHED}*"):
        model = place / MODEL
        if known and model.is_file() and sha256_of(model) == known:
            take_place(place, folder, result)


def _remove_unfinished(folder: Path) -> None:
    for place in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(place, ignore_errors=True)


def missing_results(report: Report, folder: Path) -> list[str]:
    """Return what a final wrote here that is not there any more, and the command that makes it.

    Pictures of validation are drawn where it is opened, and not again: that would be a second look.
    """
    final = report.final
    host, _, path = ("" if final is None else final.weights).partition(":")
    if final is None or host != socket.gethostname():
        return []
    written, best = Path(path), folder / "best.yaml"
    name = shlex.quote(report.study.spec.name)
    found = []
    for what in (MODEL, *pictures_of(final)):
        here = folder / what
        if here.exists():
            continue
        if written.with_name(what).exists():
            found.append(f"{here} is not here; the final wrote it to {written.with_name(what)}")
        elif what == MODEL:
            train = f"hpsearch train {shlex.quote(str(best))} -o {shlex.quote(str(here))}"
            found.append(f"{here} is missing; {train} trains it again")
        else:
            shows = f"hpsearch report {name} --json"
            found.append(f"{here} is missing; what it shows stands in {shows}")
    return found


def write_results(report: Report, folder: Path) -> tuple[str, ...]:
    """Write report, configuration and table of trials, where they are not there as they should be.

    Returns what else is missing, in words, with the command that makes it.
    """
    study: OpenStudy = report.study
    _write(folder / "report.md", markdown(report))
    trial = report.decision.trial
    if trial is None:
        return ()
    exported = exported_yaml(study, trial, report.final, report.seal.is_honest)
    _write(folder / "best.yaml", exported)
    _write(folder / "trials.csv", trials_csv(report))
    return tuple(missing_results(report, folder))


def _write(path: Path, content: str) -> None:
    """Write a file whose content is not that already."""
    try:
        if path.read_bytes() == content.encode():
            return
    except OSError:
        pass
    write_whole(path, content)
