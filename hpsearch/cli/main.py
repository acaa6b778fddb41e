"""The command line: reads arguments, calls one function, prints its result.

Results go to stdout, words on the way to stderr. A command imports its room when it runs, so that
`--help`, `status`, `report`, `export` and `dashboard` answer without loading torch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from hpsearch.errors import HpsearchError, StudyFileError
from hpsearch.search.defaults import DEFAULT_RUNS, DEFAULT_STORAGE

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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON for scripts.")]


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show_version:
        print(version("hpsearch"))
        raise typer.Exit


@app.command(epilog="Example: hpsearch launch studies/digits.yaml --trials 30 --timeout 30m")
def launch(
    study_file: StudyFile,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: DataRoot = None,
    runs: Runs = Path(DEFAULT_RUNS),
    workers: Annotated[
        str, typer.Option(help="Worker processes; auto is one per core, or per GPU.")
    ] = "auto",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of the whole study, instead of the file's.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Time of the whole study, final included: 90s, 30m, 2h.")
    ] = None,
    device: Device = "auto",
    final: Annotated[
        bool, typer.Option("--final/--no-final", help="Choose and open validation at the end.")
    ] = True,
    open_again: Annotated[
        bool,
        typer.Option("--open-again", help="Open validation for a new choice; the report says so."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create or resume a study: search, choose, open validation once, report, export."""
    from hpsearch.cli.display import Display
    from hpsearch.cli.printed import print_report
    from hpsearch.results.formats import as_json as report_json
    from hpsearch.results.launch import launch as launch_study

    spec = _spec(study_file, trials, timeout)
    with Display(spec) as display:
        outcome = launch_study(
            spec,
            storage,
            data_root=data,
            runs=runs,
            workers=_workers(workers),
            device=device,
            final=final,
            open_again=open_again,
            watcher=display.watcher(),
        )
    if as_json:
        _print_json(report_json(outcome.report) | {"folder": str(outcome.folder)})
        return
    print_report(outcome.report)
    display.close(outcome, study_file, storage)


@app.command(epilog="Example: hpsearch status digits")
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study.")] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Show all studies of a storage, or one: trials by state, best so far, failures, time left."""
    from hpsearch.cli.printed import print_status, print_studies
    from hpsearch.results.formats import counts, trial_json
    from hpsearch.results.report import make_report
    from hpsearch.search.progress import progress_of
    from hpsearch.search.storage import open_storage, storage_errors

    opened = open_storage(storage, create=False)
    with storage_errors(opened):
        if study is not None:
            report = make_report(opened, _name(study))
            p = report.progress
            if as_json:
                best = None if p.best is None else trial_json(p.study, p.best)
                _print_json(
                    {
                        "study": p.study.spec.name,
                        "state": p.state,
                        "trials": counts(p),
                        "best": best,
                        "time_left_s": p.time_left_s,
                        "pruner_waits_for": p.pruner_waits_for,
                        "openings": report.openings,
                    }
                )
            else:
                print_status(report)
            return
        found = [progress_of(opened, name) for name in opened.study_names()]
        if as_json:
            _print_json(
                [
                    {
                        "study": p.study.spec.name,
                        "state": p.state,
                        "trials": counts(p),
                        "best": None if p.best is None else p.best.value,
                    }
                    for p in found
                ]
            )
        else:
            print_studies(found, opened.shown)


@app.command(epilog="Example: hpsearch report digits --json")
def report(
    study: StudyName, storage: StorageUrl = DEFAULT_STORAGE, as_json: AsJson = False
) -> None:
    """Print the report of a study again, from storage alone."""
    from hpsearch.cli.printed import print_report
    from hpsearch.results.formats import as_json as report_json
    from hpsearch.results.report import make_report
    from hpsearch.search.storage import open_storage, storage_errors

    opened = open_storage(storage, create=False)
    with storage_errors(opened):
        made = make_report(opened, _name(study))
    if as_json:
        _print_json(report_json(made))
    else:
        print_report(made)


@app.command(epilog="Example: hpsearch export digits --trial 7 -o trial-7.yaml")
def export(
    study: StudyName,
    trial: Annotated[int | None, typer.Option(min=0, help="This trial, not the best.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write; else stdout.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Write the complete configuration of the best trial, or of one trial, as YAML."""
    from hpsearch.results.export import chosen_trial, exported_yaml, write_whole
    from hpsearch.results.formats import trial_json
    from hpsearch.results.report import make_report
    from hpsearch.search.storage import open_storage, storage_errors

    opened = open_storage(storage, create=False)
    with storage_errors(opened):
        made = make_report(opened, _name(study))
        chosen = chosen_trial(made.study, trial)
        if as_json:
            text = json.dumps(trial_json(made.study, chosen), indent=2) + "\n"
        else:
            text = exported_yaml(made.study, chosen, made.final)
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)
        _say(f"wrote {output}; train it with: hpsearch train {output}")


@app.command(epilog="Example: hpsearch train runs/digits/best.yaml -o model.safetensors")
def train(
    config_file: Annotated[Path, typer.Argument(metavar="BEST.yaml", help="From 'export'.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the weights to this file.")
    ] = None,
    data: DataRoot = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train from an exported file alone, and compare with the score recorded in it."""
    from hpsearch.cli.display import training_display
    from hpsearch.cli.printed import print_training
    from hpsearch.results.export import read_exported
    from hpsearch.results.train import train_exported

    exported = read_exported(config_file)
    with training_display(exported.config.epochs) as (decoding, epoch):
        trained = train_exported(exported, data, device, output, decoding, epoch)
    if as_json:
        _print_json(trained)
    else:
        print_training(trained, exported, output)


@app.command(epilog="Example: hpsearch dashboard --port 8080")
def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8080,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Serve optuna-dashboard on the same storage, read-only, on this machine alone."""
    from hpsearch.results.dashboard import serve
    from hpsearch.search.storage import open_storage

    opened = open_storage(storage, create=False)
    server = serve(opened, port)
    _say(f"dashboard of {opened.shown}: http://127.0.0.1:{port}/ (Ctrl-C ends it)")
    server.run()


@app.command(epilog="Example: hpsearch check studies/flowers.yaml --data ~/pictures")
def check(
    study_file: StudyFile,
    data: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Find all that can be wrong without training: the file, the data, the space."""
    from hpsearch.cli.display import decoding_display
    from hpsearch.cli.printed import print_check
    from hpsearch.results.check import check as check_study

    spec = _spec(study_file, None, None)
    with decoding_display() as decoding:
        checked = check_study(spec, data, decoding)
    if as_json:
        prepared = checked.prepared
        _print_json(
            {
                "study": spec.name,
                "classes": prepared.classes,
                "counts": prepared.counts,
                "image_shape": prepared.image_shape,
                "fingerprint": prepared.fingerprint,
                "skipped": prepared.skipped,
                "samples": [
                    {
                        "config": config.model_dump(mode="json"),
                        "parameters": price.parameters,
                        "forward_flops": price.forward_flops,
                    }
                    for config, price in checked.samples
                ],
            }
        )
    else:
        print_check(spec, checked, study_file)


def _spec(path: Path, trials: int | None, timeout: str | None) -> Any:
    """Return the study of a file, its budget replaced by the flags that are given."""
    from hpsearch.study.file import read_study
    from hpsearch.study.spec import seconds

    spec = read_study(path)
    budget: dict[str, Any] = {}
    if trials is not None:
        budget["trials"] = trials
    if timeout is not None:
        try:
            budget["timeout"] = seconds(timeout)
        except ValueError as error:
            raise StudyFileError(f"--timeout: {error}") from None
    return spec.model_copy(update={"search": spec.search.model_copy(update=budget)})


def _workers(written: str) -> int | None:
    if written == "auto":
        return None
    if not written.isdecimal() or int(written) < 1:
        raise StudyFileError(f"--workers: {written!r} is neither auto nor a number above 0")
    return int(written)


def _name(study: str) -> str:
    """Return a study's name; a study file stands for the study in it."""
    if study.endswith((".yaml", ".yml")) and Path(study).exists():
        return str(_spec(Path(study), None, None).name)
    return study


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; errors of ours end with one line and exit code 1, Ctrl-C with 130."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except HpsearchError as error:
        _say(f"hpsearch: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
