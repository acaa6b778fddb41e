"""How far a study is, and what it will cost, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpsearch.cli.about_data import err
from hpsearch.reports.report import hours
from hpsearch.search.kinds import counted
from hpsearch.search.progress import Progress
from hpsearch.storage.studies import DONE
from hpsearch.study.tasks import shown

if TYPE_CHECKING:
    from hpsearch.preflight.estimate import Estimate


def summary(p: Progress) -> str:
    best = "none yet"
    if p.best is not None:
        score = shown(p.study.spec.metric, p.best.value or 0.0)
        best = f"{score} (trial {p.best.number})"
    confirm = ""
    if p.confirm is not None and p.confirm.has_begun:
        confirm = f"; confirm: {p.confirm.ended} of {p.confirm.of} trainings"
    paused = f"{len(p.paused)} paused, " if p.paused else ""
    words = f"{len(p.running)} running, {paused}{counted(p.ended)}; best test {best}{confirm}"
    return words if p.state == DONE else f"{words}; {_to_come(p)}"


def _to_come(p: Progress) -> str:
    """Return in words how long a study that is not done goes on, and what is left of it."""
    left = "unknown yet" if p.time_left_s is None else hours(p.time_left_s)
    if p.final_is_due:
        return f"the final is due, about {left}" if p.time_left_s else "the final is due"
    return f"time left {left}"


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
