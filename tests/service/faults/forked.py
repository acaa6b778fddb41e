"""Launches by processes that are forked from this one, which has loaded all that they need.

Each line that comes in is a launch as JSON; each that goes out is its exit code and its words.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from typing import Any

import failing
import launched
import sklearn.datasets  # noqa: F401  # loaded here, once
import torch  # noqa: F401

import hpsearch.evaluation.final
import hpsearch.search.worker
import hpsearch.service.launch  # noqa: F401
from hpsearch.evaluation import supervised
from hpsearch.machine import children
from hpsearch.workers import local


def run(order: dict[str, Any]) -> None:
    """Be a launch, and end with its exit code."""
    os.chdir(order["folder"])
    os.environ["HPSEARCH_CACHE"] = f"{order['folder']}/cache"
    failing.fail(failing.Faults(**order["fault"]))
    for module in (children, supervised, local):
        module.SPAWN = multiprocessing.get_context("fork")  # type: ignore[attr-defined]
    sys.argv = ["hpsearch", *order["arguments"]]
    launched.main()


def main() -> None:
    for line in sys.stdin:
        with tempfile.TemporaryFile() as said:
            pid = os.fork()
            if pid == 0:
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = 0
                try:
                    run(json.loads(line))
                except SystemExit as ended:
                    code = ended.code if isinstance(ended.code, int) else 1
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    code = 70
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            _, status = os.waitpid(pid, 0)
            said.seek(0)
            words = said.read().decode(errors="replace")
        print(json.dumps([os.waitstatus_to_exitcode(status), words]), flush=True)


if __name__ == "__main__":
    main()
