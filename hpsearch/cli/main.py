"""The command line: reads arguments, calls one function, prints its result.

Results go to stdout, words on the way to stderr. A command imports its room when it runs, so that
`--help`, `status`, `report`, `audit`, `export` and `dashboard` answer without loading torch.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from hpsearch.cli import search, service, stored
from hpsearch.cli.options import say
from hpsearch.errors import HpsearchError
from hpsearch.study.names import with_short_words

app = typer.Typer(
    name="hpsearch",
    help="Search the best convolutional network for your own data. One study file in, one model "
    "out: [b]train[/b] learns, [b]test[/b] selects, [b]validation[/b] stays sealed until the end.",
    epilog="Start with: hpsearch launch studies/digits.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: tuple[tuple[Callable[..., Any], str], ...] = (
    (search.launch, "launch studies/digits.yaml --trials 30 --timeout 30m"),
    (stored.status, "status digits"),
    (stored.report, "report digits --json"),
    (stored.audit, "audit digits"),
    (stored.export, "export digits --trial 7 -o trial-7.yaml"),
    (search.train, "train runs/digits/best.yaml -o model.safetensors"),
    (stored.dashboard, "dashboard --port 8080"),
    (search.check, "check studies/flowers.yaml --data ~/pictures"),
    (service.worker, "worker --storage postgresql://me@db/hpsearch --data /data"),
    (service.pause, "pause digits"),
    (service.resume, "resume digits"),
    (service.stop, "stop digits --finish"),
    (service.delete, "delete digits"),
)
for _command, _example in COMMANDS:
    app.command(epilog=f"Example: hpsearch {_example}")(_command)

storage = typer.Typer(
    help="Look after the storage itself.", no_args_is_help=True, rich_markup_mode="rich"
)
storage.command(epilog="Example: hpsearch storage upgrade --dry-run", help=service.upgrade.__doc__)(
    service.upgrade
)
app.add_typer(storage, name="storage", epilog="Example: hpsearch storage upgrade --dry-run")


@storage.callback()
def _storage() -> None:
    """Look after the storage itself."""


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    from hpsearch.machine.logs import set_up_logging

    set_up_logging(logging.WARNING)
    if show_version:
        print(version("hpsearch"))
        raise typer.Exit


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line as a program: a stop is asked for as by Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    run()


def run(words: list[str] | None = None) -> None:
    """Run a command line, that of this process without `words`, and leave with its exit code.

    Errors of ours end with one line and 1, arguments that are none with 2, Ctrl-C with 130.
    """
    try:
        app(words, standalone_mode=True)
    except HpsearchError as error:
        say(f"hpsearch: {with_short_words(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
