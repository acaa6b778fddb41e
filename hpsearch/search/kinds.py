"""What became of a trial, from its record: the one place that tells endings apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

Kind = Literal[
    "complete",
    "pruned",
    "infeasible",
    "diverged",
    "timed out",
    "known",
    "failed",
    "running",
    "paused",
    "waiting",
]

TIMEOUT_CONSTRAINT = "trial_timeout"
ENDED = "ended"  # the attribute of a trial, which the dashboard shows, too
PAUSED = "paused"  # of one that waits for the scheduler to resume it: after which epoch; None after
KNOWN: Kind = "known"  # not trained: its configuration is that of another trial
EXHAUSTED = "exhausted"  # of a study: how many configurations its space has, all of them tried
RESUMED = "resumed"  # of one that was: after which epoch, the last time
CHANGES = {
    "infeasible": "narrow the space",
    "diverged": "lower space.learning_rate",
    "timed out": "raise search.trial_timeout",
    "known": "give the space more to try",
    "pruned": "give the pruner more warmup_epochs, or more --trials",
    "failed": "see why in 'hpsearch status'",
}
INSTEAD = {  # of what there was too little
    "parameters": ", or raise search.constraints.parameters (or max_parameters)",
    "flops": ", or raise search.constraints.flops",
    "latency": ", or raise search.constraints.latency_ms",
    "memory": ", or run fewer workers on a machine with more memory",
    "maps": ", or give it larger images",
    "time": ", or raise search.minutes",
}


def kind_of_pruned(infeasible: str | None, diverged: bool) -> Kind:
    """Return how a trial ended that came to no score; `infeasible` is what it took too much of."""
    if infeasible == TIMEOUT_CONSTRAINT:
        return "timed out"
    if infeasible is not None:
        return "infeasible"
    return "diverged" if diverged else "pruned"


def kind_of(trial: FrozenTrial) -> Kind:
    """Return how a trial ended: Optuna's PRUNED is the pruner's doing, or one of four others."""
    if trial.state == TrialState.PRUNED:
        recorded: Kind | None = trial.user_attrs.get(ENDED)
        return recorded or kind_of_pruned(_lacked(trial), _diverged(trial))
    kinds: dict[TrialState, Kind] = {
        TrialState.COMPLETE: "complete",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running" if trial.user_attrs.get(PAUSED) is None else "paused",
    }
    return kinds.get(trial.state, "waiting")


def _lacked(trial: FrozenTrial) -> str | None:
    """Return what a trial took too much of, None where it did not."""
    over = [what for what, value in trial.constraints.items() if value > 0]
    return TIMEOUT_CONSTRAINT if TIMEOUT_CONSTRAINT in over else next(iter(over), None)


def _diverged(trial: FrozenTrial) -> bool:
    """Whether a trial of a version that recorded no kind of ending had a loss that is no number."""
    curve = trial.user_attrs.get("curve") or [{}]
    return None in (curve[-1].get("train_loss", 0.0), curve[-1].get("test_loss", 0.0))


def counted(kinds: dict[str, int]) -> str:
    """Return counts in words, those of none left out, but for complete ones."""
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n or kind == "complete")


def why_none_completes(trials: Iterable[FrozenTrial]) -> str | None:
    """Return how the ended trials of a study without a complete one ended, and what to change."""
    ended = sorted((t for t in trials if t.state.is_finished()), key=lambda t: t.number)
    found: Counter[str] = Counter(kind_of(t) for t in ended)
    if not found or found["complete"]:
        return None
    most = max(found, key=lambda kind: (kind != KNOWN, found[kind]))  # a known one has its kind
    last = [t for t in ended if kind_of(t) == most][-1]
    words, instead = counted(dict(found.most_common())), CHANGES[most]
    if most == "infeasible":
        lacked = Counter(_lacked(t) for t in ended if kind_of(t) == most)
        instead += "".join(text for what, text in INSTEAD.items() if lacked[what])
    reason = last.user_attrs.get("reason", "no reason was recorded")
    return (
        f"none of {found.total()} ended trials is complete: {words}; of the last {most} one: "
        f"{reason}; {instead}"
    )
