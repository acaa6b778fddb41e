"""A pool of workers: serves every open study of a storage, to its end, and waits for more."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import find_prepared
from hpsearch.errors import (
    HpsearchError,
    RunsFolderError,
    SealError,
    StorageError,
    UnreadableStudyError,
    WorkerError,
)
from hpsearch.machine.children import check_device_name, interrupts_noted
from hpsearch.machine.stopping import or_orphaned
from hpsearch.reports.report import make_report
from hpsearch.search.progress import SUPERVISOR
from hpsearch.service.conclude import conclude, write_results
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.storage import Storage, opened_storage
from hpsearch.storage.studies import DONE, STOPPED
from hpsearch.storage.waiting import Waiting
from hpsearch.storage.worker_registry import SEEN_EVERY_S
from hpsearch.study.names import plain
from hpsearch.workers.local import LocalWorkers
from hpsearch.workers.supervising import LOOK_EVERY_S, supervise

logger = logging.getLogger(__name__)

POLL_S = 5.0  # at the ledger, and ...
IDLE_POLL_S = 10.0  # ... where no study was open at the last look
TRY_DATA_AGAIN_S = 300.0
CLEAN_UP_S = 1.0  # after data that was half prepared
PARENT_VARIABLE = "HPSEARCH_PARENT"  # a process without which this one should not go on


@dataclass
class Pool:
    """The supervisor of this machine's workers: what they cannot do, it does for them.

    It prepares the data of studies that are new here, and concludes those whose search is over.
    """

    storage: Storage
    workers: LocalWorkers
    runs: Path
    data_root: str | None
    device: str
    interrupted: Callable[[], bool]
    search_only: bool = False
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    _preparing: threading.Thread | None = field(default=None, init=False)
    _lacks: dict[str, tuple[float, str]] = field(default_factory=dict, init=False)
    _seen_at: float = field(default=float("-inf"), init=False)
    _busy: bool = field(default=False, init=False)

    def serve(self) -> None:
        """Run until `interrupted()` turns true, or until there is nothing left for workers."""
        self.storage.workers.enter(self.name, SUPERVISOR, "")
        try:
            self._prepare_all()  # or workers would find nothing they can serve
            if not supervise(self.workers, self.interrupted, self._look_around):
                self._look()
        finally:
            if self._preparing is not None:
                self._preparing.join(CLEAN_UP_S)
            self.storage.workers.leave(self.name)

    def _prepare_all(self) -> None:
        self._look()
        while self._preparing is not None and not self.interrupted():
            self._show_itself()
            self._preparing.join(LOOK_EVERY_S)
            if not self._preparing.is_alive():
                self._preparing = None
                self._look()

    def _look_around(self) -> float:
        """Look at the storage; return after how many seconds again."""
        self._look()
        return POLL_S if self._busy else IDLE_POLL_S

    def _look(self) -> None:
        waiting = self.storage.ledger.waiting()
        self._busy = bool(waiting)
        for name in self._lacks.keys() - {study.name for study in waiting}:
            del self._lacks[name]
        for study in waiting:
            if self.workers.study not in (None, study.name) or self.interrupted():
                continue
            try:
                self._look_at(study)
            except DATABASE_ERRORS:
                raise
            except UnreadableStudyError as error:
                self._lack(study.name, str(error))
            except Exception as error:  # whatever is wrong with it, others are served
                if self.workers.study is not None:
                    raise
                self._lack(study.name, f"{type(error).__name__}: {error}")
        self._show_itself()

    def _look_at(self, study: Waiting) -> None:
        """Do for one study what workers cannot."""
        folder = find_prepared(study.fingerprint, whole=True)
        if folder is None:
            self._prepare(study)
        elif study.is_over and not self.search_only:
            self._conclude(study, folder)

    def _show_itself(self) -> None:
        if time.monotonic() - self._seen_at > SEEN_EVERY_S:
            note = "; ".join(
                f"{name}: {why.replace('; ', ', ')}" for name, (_, why) in list(self._lacks.items())
            )
            self.storage.workers.see(self.name, note)
            self._seen_at = time.monotonic()

    def _prepare(self, study: Waiting) -> None:
        """Prepare the data of a study beside the work on others; note why where it is not here.

        One at a time, by a thread that does not keep the process from ending: it may have to wait
        for another process that prepares the same.
        """
        now = time.monotonic()
        tried = self._lacks.get(study.name)
        busy = self._preparing is not None and self._preparing.is_alive()
        if busy or (tried is not None and now - tried[0] < TRY_DATA_AGAIN_S):
            return
        row = self.storage.ledger.study(study.name)
        if row is None:
            return
        spec = row.spec

        def run() -> None:
            try:
                logger.info("preparing the data of study '%s'", study.name)
                prepared = prepare(spec.data, self.data_root, self._end_if_interrupted)
            except HpsearchError as error:
                self._lack(study.name, str(error))
                return
            except Exception as error:  # or it would be tried again at once, for ever
                self._lack(study.name, f"{type(error).__name__}: {error}")
                return
            if prepared.fingerprint == study.fingerprint:
                self._lacks.pop(study.name, None)
            else:
                self._lack(
                    study.name,
                    f"the data here has fingerprint {prepared.fingerprint[:12]}, the study's has "
                    f"{study.fingerprint[:12]}; give this machine the same files",
                )

        self._preparing = threading.Thread(target=run, daemon=True)
        self._preparing.start()

    def _end_if_interrupted(self, _done: int, _of: int) -> None:
        if self.interrupted():
            sys.exit()  # ends the thread alone; what it has written is removed

    def _lack(self, study: str, why: str) -> None:
        _, before = self._lacks.get(study, (0.0, None))
        if why != before:  # once, not at each look
            logger.warning("study '%s' cannot be served here: %s", study, why)
            self._seen_at = float("-inf")
        self._lacks[study] = (time.monotonic(), why)

    def _conclude(self, study: Waiting, prepared: Path) -> None:
        """Bring a study whose search is over to its end."""
        name = study.name
        folder = self.runs / name
        try:
            if not study.wants_final:
                self.storage.ledger.set_state(name, DONE)
                return
            measured = conclude(
                self.storage, name, self.name, prepared, self.device, folder,
                Checkpoints(self.workers.checkpoints), open_again=self._may_open_again(name),
                interrupted=self._must_stop,
                begins=lambda: logger.info(
                    "study '%s': its search is over; the final begins", name
                ),
            )  # fmt: skip
            if measured is None:
                return  # another pool is at it
            self._write_results(name, folder)
            logger.info("study '%s' is done; results in %s", name, folder)
        except KeyboardInterrupt:
            if not self.interrupted():
                raise
            logger.info("study '%s': its final is given up, for another worker to begin", name)
        except UnreadableStudyError:
            raise  # by this version; another may bring it to its end
        except SealError as error:  # the search is over all the same
            logger.warning("study '%s' is done but for its final: %s", name, error)
            self.storage.ledger.set_state(name, DONE, f"its final was not run: {error}")
            self._write_results(name, folder)
        except (StorageError, RunsFolderError) as error:  # of this machine, and they may pass
            logger.error("study '%s': its final is tried again: %s", name, error)
        except HpsearchError as error:
            logger.error("study '%s' cannot be concluded: %s", name, error)
            self.storage.ledger.set_state(name, STOPPED, f"it cannot be concluded: {error}")

    def _may_open_again(self, name: str) -> bool:
        row = self.storage.ledger.study(name)
        return row is not None and row.open_again

    def _write_results(self, name: str, folder: Path) -> None:
        for line in write_results(make_report(self.storage, name), folder):
            logger.warning("study '%s': %s", name, plain(line))

    def _must_stop(self) -> bool:
        """Look after the workers while a final trains; whether it has to stop."""
        self.workers.look()
        self._show_itself()
        return self.interrupted()


def serve(
    storage_url: str,
    *,
    study: str | None = None,
    data_root: str | None = None,
    runs: Path,
    checkpoints: str,
    workers: int | None = None,
    device: str = "auto",
    until_idle: bool = False,
    search_only: bool = False,
) -> None:
    """Serve the open studies of a storage, or one, with workers of this machine.

    Waits for a database that does not answer, from the start. Runs until Ctrl-C or SIGTERM, upon
    which trials are kept and given back, or, for one `study` and for `until_idle`, until nothing
    is left to do. `search_only` leaves finals to others.
    """
    check_device_name(device)
    with interrupts_noted() as noted:
        parent = os.environ.get(PARENT_VARIABLE)
        interrupted = noted if parent is None else or_orphaned(noted, int(parent))
        with ExitStack() as opened:
            try:
                storage = opened.enter_context(
                    opened_storage(storage_url, True, gives_up=interrupted, waits_to_open=True)
                )
            except StorageError:
                if interrupted():  # while it waited for the database
                    return
                raise
            if not storage.study_names():
                logger.info("%s holds no study yet; it waits for one", storage.shown)
            started = LocalWorkers(
                storage,
                study,
                checkpoints,
                workers,
                device,
                waits=not until_idle,
                log_level=logging.INFO,
            )
            pool = Pool(storage, started, runs, data_root, device, interrupted, search_only)
            pool.serve()
            if started.gave_up and not interrupted():
                raise WorkerError("no worker of this machine can go on; see the log above")
