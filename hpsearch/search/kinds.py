"""What became of a trial, from its record: the one place that tells endings apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

Kind = Literal[
    "complete", "pruned", "infeasible", "diverged", "timed out", "failed", "running", "waiting"
]

TIMEOUT_CONSTRAINT = "trial_timeout"
CHANGES = {
    "infeasible": "narrow the space, or raise search.max_parameters or the memory",
    "diverged": "lower space.learning_rate",
    "timed out": "raise search.trial_timeout",
    "pruned": "give the pruner more warmup_epochs, or more --trials",
    "failed": "see why in 'hpsearch status'",
}


def kind_of(trial: FrozenTrial) -> Kind:
    """Return how a trial ended: Optuna's PRUNED is the pruner's doing, or one of three others."""
    if trial.state == TrialState.PRUNED:
        if TIMEOUT_CONSTRAINT in trial.constraints:
            return "timed out"
        if any(value > 0 for value in trial.constraints.values()):
            return "infeasible"
        curve = trial.user_attrs.get("curve")
        no_number = trial.user_attrs.get("reason", "").startswith("the loss was no finite number")
        if no_number or (curve and curve[-1]["train_loss"] is None):
            return "diverged"
        return "pruned"
    kinds: dict[TrialState, Kind] = {
        TrialState.COMPLETE: "complete",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
    }
    return kinds.get(trial.state, "waiting")


def counted(kinds: dict[str, int]) -> str:
    """Return counts in words, those of none left out, but for complete ones."""
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n or kind == "complete")


def why_none_completes(trials: Iterable[FrozenTrial]) -> str | None:
    """Return how the ended trials of a study without a complete one ended, and what to change."""
    found: Counter[str] = Counter(kind_of(t) for t in trials if t.state.is_finished())
    if not found or found["complete"]:
        return None
    most, _ = found.most_common(1)[0]
    words = counted(dict(found.most_common()))
    return f"none of {found.total()} ended trials is complete: {words}; {CHANGES[most]}"
