"""Lines of ours: how far a study is, what it will cost, and what is odd in it or its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from hpsearch.cli.options import safe
from hpsearch.data.findings import read_audit
from hpsearch.reports.report import hours
from hpsearch.search.kinds import counted
from hpsearch.search.progress import Progress
from hpsearch.storage.studies import DONE
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import shown

if TYPE_CHECKING:
    from hpsearch.data.prepared import Prepared
    from hpsearch.preflight.estimate import Estimate

err = Console(stderr=True, highlight=False, soft_wrap=True)


def summary(p: Progress) -> str:
    best = "none yet"
    if p.best is not None:
        score = shown(p.study.spec.metric, p.best.value or 0.0)
        best = f"{score} (trial {p.best.number})"
    confirm = ""
    if p.confirm is not None and p.confirm.has_begun:
        confirm = f"; confirm: {p.confirm.ended} of {p.confirm.of} trainings"
    left = "unknown yet" if p.time_left_s is None else hours(p.time_left_s)
    return f"{len(p.running)} running, {counted(p.ended)}; best test {best}{confirm}" + (
        "" if p.state == DONE else f"; time left {left}"
    )


def say_estimate(estimate: Estimate) -> None:
    err.print(estimate_words(estimate))


def estimate_words(e: Estimate) -> str:
    """Return in words what a study is expected to cost."""
    spread = (
        f" ({hours(e.shortest_s)} to {hours(e.longest_s)})" if e.longest_s > e.shortest_s else ""
    )
    words = (
        f"A trial that is not stopped takes about {hours(e.trial_s)}{spread}; the study with "
        f"{e.workers} worker(s), final included, about {hours(e.search_s)}"
    )
    if e.pruned_s < e.search_s:
        words += f", or {hours(e.pruned_s)} where pruning saves what it usually does"
    if e.trials < e.budget:
        words += f". Within its timeout about {e.trials} of {e.budget} trials fit"
    return words + "."


def say_remade(prepared: Prepared) -> None:
    """Say that the data had to be prepared anew, and why."""
    if prepared.remade is not None:
        err.print(f"{safe(prepared.remade)}: it was made anew now", style="yellow")


def say_skipped(prepared: Prepared) -> None:
    for problem in prepared.skipped:
        err.print(f"left out, broken: {safe(problem)}", style="yellow")


def say_warnings(spec: StudySpec) -> None:
    """Say what a study asks for that can have no effect."""
    for warning in spec.warnings():
        err.print(f"warning: {safe(warning)}", style="yellow")


def say_audit(prepared: Prepared) -> None:
    """Say what is odd in the data, a line each; 'check' shows it."""
    told = [finding for finding in read_audit(prepared.folder).findings if finding.images]
    for finding in told:
        err.print(f"data: {safe(finding.says)}", style="yellow")
    if told:
        err.print("data: 'hpsearch check' shows which images, and what to do", style="dim")
