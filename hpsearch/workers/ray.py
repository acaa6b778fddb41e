"""Workers on a Ray cluster: Ray places them on nodes and starts them again, and does no more.

Each is the same program as everywhere, `hpsearch worker`: it needs the storage's URL and the data.
A node that dies is one more lease that expires.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.errors import WorkerError
from hpsearch.machine.children import cores, death
from hpsearch.storage.storage import Storage

logger = logging.getLogger(__name__)

STOP_GRACE_S = 15.0
LOOK_S = 0.5
MAX_RETRIES = 20  # of each worker, where its node or its process dies


@dataclass(frozen=True)
class Node:
    """What a worker on a node needs to know. It travels inside Ray, not in a list of processes."""

    environment: dict[str, str]
    arguments: tuple[str, ...]


class WorkerKilled(Exception):
    """The worker program was ended by a signal; Ray starts it again."""


def run_on_node(node: Node) -> int:
    """Run the worker program here until it ends; return its exit code. Called by Ray on a node.

    Raises WorkerKilled where it did not end by itself.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "worker", *node.arguments],
        env=os.environ | node.environment | {"HPSEARCH_PARENT": str(os.getpid())},
    )
    try:
        code = process.wait()
    finally:  # Ray cancels by an exception
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if code < 0:
        raise WorkerKilled(death(code))
    return code


@dataclass
class RayWorkers:
    """Workers of one launch, each a task of Ray with its share of CPUs and GPUs."""

    storage: Storage
    study: str
    checkpoints: str
    address: str | None
    count: int
    cpus: float
    gpus: float
    data: str | None
    device: str
    gave_up: bool = False
    _ray: Any = field(default=None, init=False)
    _tasks: list[Any] = field(default_factory=list, init=False)

    def start(self) -> None:
        """Connect to the cluster, and hand it the workers."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError:
            raise WorkerError(
                "--on ray: Ray is not installed; pip install 'hpsearch[ray]'"
            ) from None
        self._ray = ray
        if self.storage.url.drivername.startswith("sqlite") and self.address is not None:
            logger.warning("workers on other machines cannot reach SQLite; use Postgres")
        try:
            ray.init(
                address=self.address,
                log_to_driver=False,  # the storage tells how far they are
                logging_level=logging.ERROR,
                **({} if self.address else {"include_dashboard": False}),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise WorkerError(f"--on ray: no cluster at {self.address}: {error}") from None
        task = ray.remote(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=MAX_RETRIES,
            retry_exceptions=[WorkerKilled],
        )(run_on_node)
        self._tasks = [task.remote(self._node()) for _ in range(self.count)]

    def _node(self) -> Node:
        url = self.storage.url
        if url.drivername.startswith("sqlite"):  # a node may work in another folder
            url = url.set(database=str(Path(str(url.database)).absolute()))
        environment = {
            "HPSEARCH_STORAGE": url.render_as_string(hide_password=False),
            "HPSEARCH_CHECKPOINTS": self.checkpoints,
        }
        if "HPSEARCH_CACHE" in os.environ:
            environment["HPSEARCH_CACHE"] = os.environ["HPSEARCH_CACHE"]
        if self.data is not None:
            environment["HPSEARCH_DATA"] = self.data
        here = str(Path(self.checkpoints).parent) if "://" not in self.checkpoints else "runs"
        return Node(
            environment,
            ("--study", self.study, "--workers", "1", "--device", self.device, "--runs", here,
             "--search-only"),
        )  # fmt: skip

    def look(self) -> bool:
        """Take note of workers that ended; return whether any is still at work, or to be placed."""
        if not self._tasks:
            return False
        ended, self._tasks = self._ray.wait(
            self._tasks, num_returns=len(self._tasks), timeout=LOOK_S
        )
        for task in ended:
            try:
                code = self._ray.get(task)
            except Exception as error:  # Ray's errors have no common root of use here
                logger.warning("a worker of the cluster was lost: %s", type(error).__name__)
                code = -1
            self.gave_up = self.gave_up or code != 0
        return bool(self._tasks)

    def stop(self) -> None:
        """Ask all workers to give their trials back, and leave the cluster."""
        if self._ray is None or not self._ray.is_initialized():
            return
        for task in self._tasks:
            self._ray.cancel(task, force=False)
        deadline = time.monotonic() + STOP_GRACE_S
        while self._tasks and time.monotonic() < deadline:
            _, self._tasks = self._ray.wait(
                self._tasks, num_returns=len(self._tasks), timeout=LOOK_S
            )
        self._ray.shutdown()


def ray_workers(
    address: str | None,
    count: int | None,
    cpus: float,
    gpus: float,
    data: str | None,
    device: str,
) -> Callable[[Storage, str, str], RayWorkers]:
    """Return what starts workers on a Ray cluster for a study, its checkpoints at a URL."""

    def start(storage: Storage, study: str, checkpoints: str) -> RayWorkers:
        return RayWorkers(
            storage, study, checkpoints, address, count or cores(), cpus, gpus, data, device
        )

    return start
