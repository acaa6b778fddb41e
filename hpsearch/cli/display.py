"""What a person at the terminal sees: live progress, tables, the next step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpsearch.cli.about_data import err, say_account, say_audit, say_epoch, say_remade, say_warnings
from hpsearch.cli.decoding import Pace, bar, decoding_display
from hpsearch.cli.notes import say_estimate, summary
from hpsearch.cli.options import command, safe
from hpsearch.evaluation.seal import opened_words
from hpsearch.reports.pausing import newly_paused, paused_lines
from hpsearch.reports.report import hours
from hpsearch.search.kinds import Kind, kind_of
from hpsearch.search.progress import Progress, epochs_of
from hpsearch.search.stored_study import ended_at
from hpsearch.storage.defaults import DEFAULT_STORAGE
from hpsearch.storage.studies import OPEN, PAUSED
from hpsearch.storage.url import shown_url
from hpsearch.study.data import OUTPUTS
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import WORDS, Metric, shown

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpsearch.data.prepared import Prepared
    from hpsearch.evaluation.seal import Seal
    from hpsearch.service.launch import Outcome, Watcher
    from hpsearch.storage.records import TrialRecord

PAUSED_SHOWN = 3  # trials, in the picture
PLAIN_EVERY_S = 30.0  # a line of progress where the output is no terminal


class Display:
    """Live progress of a launch on stderr: a picture on a terminal, lines elsewhere."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._started = time.monotonic()
        self._live = Live(console=err, refresh_per_second=4, transient=True)
        self._seen: set[int] | None = None
        self._paused: dict[int, int] = {}  # the epochs after which trials were, by their numbers
        self._state = OPEN
        self._finals: dict[str, int] = {}  # epochs of the trainings of the final
        self._said_at = 0.0
        self._interactive = err.is_terminal
        self._pace = Pace()

    def __enter__(self) -> Display:
        if self._interactive:
            self._live.start()
            self._live.update(Text(f"study {self._spec.name}: looking at the data"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._interactive:
            self._live.update(Text(""))
            self._live.stop()
        if kind is KeyboardInterrupt:
            err.print(
                "Stopped. Nothing is lost: launch the same study again, and it goes on.",
                style="yellow",
            )

    def watcher(self) -> Watcher:
        """Return what a launch tells this display."""
        from hpsearch.service.launch import Watcher

        return Watcher(
            self.decoding, self.prepared, say_estimate, self.planned, self.opened_before,
            self._searching, self._finishing, self.starting,
        )  # fmt: skip

    def decoding(self, done: int, of: int) -> None:
        if self._interactive:
            self._live.update(self._pace.bar(done, of))
        elif self._pace.is_a_step(done, of):
            err.print(f"{self._pace.label(done, of)}: {done} of {of}{self._pace.left(done, of)}")

    def prepared(self, prepared: Prepared) -> None:
        train, test, validation = prepared.totals
        err.print(
            f"Study [b]{self._spec.name}[/b]: {train} train / {test} test / {validation} "
            f"validation images, {len(prepared.outputs)} {OUTPUTS[prepared.task]}"
        )
        say_remade(prepared)
        say_account(prepared)
        say_epoch(self._spec, prepared)
        say_warnings(self._spec)
        say_audit(prepared)

    def planned(self, spec: StudySpec, words: str) -> None:
        """Say what a budget of time comes to; epochs are those of the plan from now on."""
        for line in words.splitlines():
            err.print(safe(line))
        if self._spec.search.plans_epochs:
            say_warnings(spec)
        self._spec = spec

    def starting(self, lines: list[str]) -> None:
        """Say what a study takes over, and what it tries before its sampler is asked."""
        for line in lines:
            err.print(safe(line))

    def opened_before(self, seal: Seal, asked: bool) -> bool:
        """Say before the search who has opened validation; return whether to open it once more.

        A person at a terminal is asked; else it is opened where --open-again was said.
        """
        err.print(f"{safe(opened_words(seal))}.", style="yellow")
        if asked:
            err.print("It will be opened once more at the end (--open-again).", style="yellow")
            return True
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._live.stop()
            asked = typer.confirm(
                "Open it once more at the end? Every report will say so.", err=True
            )
            if self._interactive:
                self._live.start()
        if not asked:
            err.print(
                "So it stays closed at the end of this study, whose final needs --open-again.",
                style="yellow",
            )
        return asked

    def _searching(self, progress: Progress) -> None:
        ended = {t.number for t in progress.study.trials if t.state.is_finished()}
        if self._seen is None:  # the first look comes before any worker starts
            if ended:
                of = f" of {progress.budget}" if progress.counts_trials else ""
                err.print(f"going on after {len(ended)}{of} trials")
            self._seen = set(ended)
        best = progress.study.best_in_turn()
        for trial in sorted(progress.study.trials, key=ended_at):
            if trial.number in ended - self._seen:
                record = progress.study.record(trial)
                is_best = trial.number in best
                err.print(_line_of(self._spec.metric, trial, record, kind_of(trial), is_best))
        self._seen |= ended
        for trial in newly_paused(progress.paused, self._paused):
            record = progress.study.record(trial)
            err.print(_line_of(self._spec.metric, trial, record, "paused"))
        if progress.state != self._state:
            self._state = progress.state
            if progress.state == PAUSED:
                name = self._spec.name
                err.print(f"paused {safe(progress.note)}; 'hpsearch resume {name}' goes on")
        if self._interactive:
            self._live.update(self._picture(progress))
        elif time.monotonic() - self._said_at > PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            err.print(summary(progress))

    def _picture(self, progress: Progress) -> RenderableType:
        rows: list[RenderableType] = [_how_far(progress)]
        confirm = progress.confirm
        if confirm is not None and confirm.has_begun:
            rows.append(bar("confirm: trainings", confirm.ended, confirm.of))
        rows.append(Text.from_markup(summary(progress)))
        for trial in progress.running:
            epochs = epochs_of(trial)
            last = trial.intermediate_values.get(epochs)
            score = "" if last is None else f", test {shown(self._spec.metric, last)}"
            family = trial.params.get("family", "")
            rows.append(
                Text(
                    f"  trial {trial.number}: epoch {epochs} of "
                    f"{self._spec.search.epochs}{score} {family}",
                    style="dim",
                )
            )
        rows += [Text(f"  {line}", style="dim") for line in paused_lines(progress, PAUSED_SHOWN)]
        return Group(*rows)

    def _finishing(self, trial: int, epoch: dict[str, Any]) -> None:
        which = "the default configuration" if epoch.get("baseline") else f"trial {trial} again"
        words = f"final: {which}, epoch"
        self._finals[words] = epoch["epoch"]
        if self._interactive:
            of = self._spec.search.epochs
            self._live.update(Group(*(bar(w, done, of) for w, done in self._finals.items())))
        elif epoch["epoch"] == 1:
            err.print(f"{words}s 1 to {self._spec.search.epochs}")

    def queued(self, storage: str, opened: bool) -> None:
        """Say that a study is entered, and what serves it."""
        if not opened:
            err.print(f"Study {self._spec.name} was finished before; nothing was changed.")
            return
        at = _storage_flag(storage)
        name = self._spec.name
        err.print(f"Study {name} is entered; nothing runs yet.")
        _print_steps(
            [
                (f"hpsearch worker{at}", "serve it, here or on any machine with the data"),
                (f"hpsearch status {name}{at}", "see how far it is, and why it waits"),
            ]
        )

    def close(self, outcome: Outcome, study_file: Path, storage: str) -> None:
        """Say where the files are, and what can be done next."""
        took = hours(time.monotonic() - self._started)
        if outcome.already_done:
            err.print(
                f"\nStudy {self._spec.name} was finished before: nothing was trained or opened. "
                f"To go on, {_to_go_on(outcome.report.progress)}"
            )
        else:
            err.print(f"\nDone in {took}.")
        for line in outcome.missing:
            err.print(safe(line), style="yellow")
        if outcome.unopened is not None:
            err.print(f"Validation was not opened now. {safe(outcome.unopened)}", style="yellow")
        name, folder = self._spec.name, outcome.folder
        names = ", ".join(sorted(p.name for p in folder.iterdir()))
        err.print(safe(f"Files in {folder}/: {names}"))
        at = _storage_flag(storage)
        more = _more(outcome.report.progress)
        steps = [
            (f"hpsearch dashboard{at}", "look at every trial"),
            (command("hpsearch", "train", folder / "best.yaml"), "train the choice again"),
            (f"{command('hpsearch', 'launch', study_file)}{at} {more}", "search on"),
            (f"hpsearch report {name}{at}", "this report again"),
        ]
        if outcome.report.progress.exhausted is not None:
            del steps[2]
        if outcome.unopened is not None:
            again = f"{command('hpsearch', 'launch', study_file)}{at} --open-again"
            steps.insert(0, (again, "open validation once more, for this choice"))
        _print_steps(steps)


def _how_far(p: Progress) -> RenderableType:
    """Return a bar of the trials that have ended or, where time is the budget, of the time.

    A paused trial is done with, for all that is known.
    """
    if p.counts_trials or p.time_left_s is None or p.timeout_s is None:
        return bar("trials", p.finished + len(p.paused), p.budget)
    return bar("seconds", round(p.timeout_s - p.time_left_s), round(p.timeout_s))


def _to_go_on(p: Progress) -> str:
    """Return what a study that is finished needs to search on."""
    if p.exhausted is None:
        return f"give it more: {_more(p)}"
    return f"widen its space in a study of another name, with continues: {p.study.spec.name}"


def _more(p: Progress) -> str:
    """Return the option that gives a study twice its budget."""
    if p.study.spec.search.is_planned and p.timeout_s is not None:
        return f"--minutes {p.timeout_s / 30:g}"
    return f"--trials {p.budget * 2}"


def _print_steps(steps: list[tuple[str, str]]) -> None:
    width = max(len(words) for words, _ in steps)
    err.print("Next:")
    for words, purpose in steps:
        err.print(f"  {safe(words):<{width}}  [dim]{purpose}[/dim]")


def _storage_flag(storage: str) -> str:
    """Return what a next command has to say of the storage; never a password."""
    if storage in (DEFAULT_STORAGE, os.environ.get("HPSEARCH_STORAGE")):
        return ""
    return f" {command('--storage', shown_url(storage))}"


def _line_of(
    metric: Metric, trial: FrozenTrial, record: TrialRecord, state: Kind, is_best: bool = False
) -> str:
    colour = {"complete": "green", "failed": "red"}.get(state, "yellow")
    value = trial.intermediate_values.get(epochs_of(trial)) if state == "paused" else trial.value
    score = "" if value is None else f" test {shown(metric, value)}"
    star = "  [b]best so far[/b]" if is_best else ""
    stated = state not in ("complete", "pruned", "paused")
    reason = safe(f": {record.reason or ''}") if stated else ""
    took = hours(record.duration_s or 0.0)
    return (
        f"trial {trial.number:>3} [{colour}]{state:<10}[/{colour}]{score} after "
        f"{epochs_of(trial)} epochs, {took}{reason}{star}"
    )


def _loss(loss: float | None) -> str:
    return "no number" if loss is None else f"{loss:.4f}"


@contextmanager
def training_display(
    epochs: int,
    metric: Metric,
) -> Iterator[tuple[Callable[[int, int], None], Callable[[dict[str, Any]], None]]]:
    """Show decoding, then a line for every epoch."""

    def epoch(numbers: dict[str, Any]) -> None:
        parts = [f"train loss {_loss(numbers['train_loss'])}"]
        if numbers["test_loss"] is not None:  # test was not taught
            score = shown(metric, numbers["test_metric"])
            parts += [f"test loss {_loss(numbers['test_loss'])}", f"test {WORDS[metric]} {score}"]
        parts.append(f"{numbers['duration_s']:.1f} s")
        err.print(f"epoch {numbers['epoch']:>3} of {epochs}: {', '.join(parts)}")

    with decoding_display() as decoding:
        yield decoding, epoch
