"""`hpsearch` as the command line has it, but that every epoch leaves a checkpoint."""

from __future__ import annotations

from functools import partial


def main() -> None:
    from hpsearch.cli import main as command
    from hpsearch.service import launch
    from hpsearch.storage.checkpoints import Checkpoints
    from hpsearch.workers.local import LocalWorkers

    launch.Checkpoints = partial(Checkpoints, every_s=0.0)  # type: ignore[assignment,misc]
    launch.LocalWorkers = partial(LocalWorkers, checkpoint_every_s=0.0)  # type: ignore[assignment,misc]
    command.main()


if __name__ == "__main__":
    main()
