"""Command lines run in this process, which has loaded what they need; their children are real."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from hpsearch.cli.main import run


def ended(folder: Path, *words: str) -> tuple[int, str, str]:
    """Return the exit code of a command line in a folder, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    ours = logging.getLogger("hpsearch")
    before = ours.handlers[:], ours.level, ours.propagate
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setitem(os.environ, "COLUMNS", "80")
        patch.setattr(sys, "stdin", io.StringIO())  # no terminal: nobody is asked
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            run(list(words))
    ours.handlers[:], ours.propagate = before[0], before[2]
    ours.setLevel(before[1])
    with warnings.catch_warnings():  # waitress closes no socket that it could not bind
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


def said(folder: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Return what a command line printed, on stdout and on stderr; it has to end with `code`."""
    found, out, err = ended(folder, *words)
    assert found == code, out + err
    return out, err
