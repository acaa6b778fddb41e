"""Arguments and options that commands share, and how they are read."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hpsearch.errors import StudyFileError
from hpsearch.storage.defaults import DEFAULT_STORAGE
from hpsearch.study.names import plain

if TYPE_CHECKING:
    from hpsearch.study.spec import StudySpec

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name, or its file.")]
StorageUrl = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="HPSEARCH_STORAGE",
        help="sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        show_default=DEFAULT_STORAGE,
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data",
        envvar="HPSEARCH_DATA",
        help="Where the data lies, instead of data.root; or the folder that data.root is in.",
    ),
]
Runs = Annotated[
    Path, typer.Option("--runs", envvar="HPSEARCH_RUNS", help="Where results are written.")
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        "--checkpoints",
        envvar="HPSEARCH_CHECKPOINTS",
        help="A folder, or s3://BUCKET/FOLDER, that all workers reach; else below --runs.",
    ),
]
Workers = Annotated[str, typer.Option(help="Worker processes; auto: one per core, more per GPU.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON for scripts.")]


MOST_WORKERS = 1024  # processes of one machine, each with a Python and a torch of its own


def spec_of(
    path: Path,
    trials: int | None = None,
    timeout: str | None = None,
    minutes: float | None = None,
) -> StudySpec:
    """Return the study of a file, its budget replaced by the flags that are given.

    `minutes` plan it, whatever time the file names.
    """
    from hpsearch.study.budget import TIMES
    from hpsearch.study.durations import seconds
    from hpsearch.study.file import read_study

    spec = read_study(path)
    budget: dict[str, Any] = {}
    if trials is not None:
        budget["trials"] = trials
    if minutes is not None:
        if timeout is not None:
            raise StudyFileError("--minutes and --timeout are budgets of one time; give one")
        budget |= dict.fromkeys(TIMES) | {"minutes": minutes}
    elif timeout is not None:
        if spec.search.is_planned:
            raise StudyFileError("--timeout: the file plans its time; give it another: --minutes")
        try:
            budget["timeout"] = seconds(timeout)
        except ValueError as error:
            raise StudyFileError(f"--timeout: {error}") from None
    return read_study(path, budget) if budget else spec


def worker_count(written: str) -> int | None:
    """Return a number of workers, None for `auto`."""
    if written == "auto":
        return None
    if not (written.isascii() and written.isdecimal() and 0 < int(written[:9]) <= MOST_WORKERS):
        raise StudyFileError(
            f"--workers: {written[:100]!r} is neither auto nor a number from 1 to {MOST_WORKERS}"
        )
    return int(written)


def name_of(study: str) -> str:
    """Return a study's name; a study file stands for the study in it."""
    if study.endswith((".yaml", ".yml")) and Path(study).exists():
        return str(spec_of(Path(study)).name)
    return study


def print_json(content: object) -> None:
    """Print a result for scripts."""
    print(json.dumps(content, indent=2))


def safe(text: str) -> str:
    """Return text that others chose, for a rich console: neither markup nor terminal obey it."""
    return escape(plain(text))


def command(*words: object) -> str:
    """Return a command line to be copied, each word quoted where a shell would take it apart."""
    return shlex.join(str(word) for word in words)


def say(words: str) -> None:
    """Say something on the way to a result."""
    words = plain(words, lines=True)
    print(words, file=sys.stderr, flush=True)
