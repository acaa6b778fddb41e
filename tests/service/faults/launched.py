"""`hpsearch` as the command line has it, but that every epoch leaves a checkpoint."""

from __future__ import annotations

import multiprocessing
from functools import partial

LOADED = ["torch", "sklearn.datasets", "hpsearch.search.worker", "hpsearch.evaluation.final"]


def main() -> None:
    from hpsearch.cli import main as command
    from hpsearch.service import launch
    from hpsearch.storage.checkpoints import Checkpoints
    from hpsearch.workers.local import LocalWorkers

    vars(launch).update(
        Checkpoints=partial(Checkpoints, every_s=0.0),
        LocalWorkers=partial(LocalWorkers, checkpoint_every_s=0.0),
    )
    command.main()


def start_quickly() -> None:
    """Have this launch's processes come from one that has loaded torch: one more is no trouble."""
    from hpsearch.evaluation import supervised
    from hpsearch.machine import children
    from hpsearch.workers import local

    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(LOADED)
    for module in (children, supervised, local):
        module.SPAWN = server  # type: ignore[attr-defined]


if __name__ == "__main__":
    start_quickly()
    main()
