"""How studies stand, for the person who asks while workers are at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpsearch.errors import StudyNotFoundError, UnreadableStudyError
from hpsearch.reports.formats import counts, trial_json
from hpsearch.reports.report import Report
from hpsearch.reports.seal import seal_json
from hpsearch.search.progress import Progress, progress_of, why_waiting
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.storage.stored_records import readable
from hpsearch.storage.worker_registry import ListedWorker


@dataclass(frozen=True)
class Stand:
    """How one study stands. `waits` is why nobody is at it, None where somebody is or need not."""

    report: Report
    waits: str | None
    checkpoint_bytes: int  # that are within this machine's reach

    @property
    def progress(self) -> Progress:
        return self.report.progress


@dataclass(frozen=True)
class Unreadable:
    """A study that this version cannot read, and why."""

    name: str
    state: str
    why: str


@dataclass(frozen=True)
class Standing:
    """How all studies of a storage stand, and who is at work on them."""

    studies: list[tuple[Progress, str | None]]  # and why it waits
    workers: list[ListedWorker]
    unreadable: list[Unreadable] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for scripts."""
        return {
            "studies": [
                {
                    "study": p.study.spec.name,
                    "state": p.state,
                    "note": p.note,
                    "priority": p.priority,
                    "waits": waits,
                    "trials": counts(p),
                    "best": None if p.best is None else p.best.value,
                }
                for p, waits in self.studies
            ],
            "unreadable": [vars(study) for study in self.unreadable],
            "workers": [vars(worker) for worker in self.workers],
        }


def standing_of(storage: Storage) -> Standing:
    """Return how all studies of a storage stand."""
    found: list[tuple[Progress, str | None]] = []
    unreadable: list[Unreadable] = []
    for name in storage.study_names():
        row = storage.ledger.study(name)
        if row is None:  # deleted since
            continue
        try:
            with readable(name, row.version):
                progress = progress_of(storage, name)
        except StudyNotFoundError:
            continue
        except UnreadableStudyError as error:
            unreadable.append(Unreadable(name, row.state, str(error)))
            continue
        found.append((progress, why_waiting(storage, progress)))
    return Standing(found, storage.workers.present(), unreadable)


def stand_of(storage: Storage, report: Report, checkpoints: str) -> Stand:
    """Return how one study stands; `checkpoints` is the folder or URL of its checkpoints."""
    size = Checkpoints(checkpoints).size_bytes(report.study.spec.name)
    return Stand(report, why_waiting(storage, report.progress), size)


def stand_json(stand: Stand) -> dict[str, Any]:
    """Return how one study stands as plain data for scripts."""
    p = stand.progress
    return {
        "study": p.study.spec.name,
        "state": p.state,
        "note": p.note,
        "priority": p.priority,
        "waits": stand.waits,
        "trials": counts(p),
        "best": None if p.best is None else trial_json(p.study, p.best),
        "time_left_s": p.time_left_s,
        "final_is_due": p.final_is_due,
        "confirm": None if p.confirm is None else vars(p.confirm),
        "pruner_waits_for": p.pruner_waits_for,
        **seal_json(stand.report.seal),
        "checkpoint_bytes": stand.checkpoint_bytes,
        "failures": [
            {
                "trial": t.number,
                "reason": p.study.record(t).reason,
                "traceback": p.study.record(t).traceback,
            }
            for t in p.study.trials
            if t.state.name == "FAIL"
        ],
    }
