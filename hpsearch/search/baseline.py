"""The baseline: the study's default configuration, which tuning has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from hpsearch.machine.children import cores
from hpsearch.search.kinds import kind_of
from hpsearch.study.spec import StudySpec

BASELINE_SLOT = 0  # whose trial has the defaults of the space, wherever it is not a grid
HOPELESS = ("diverged", "failed")  # and would do so again
GOING = ("running", "waiting")


def baseline_of(spec: StudySpec, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial of the default configuration, None where it was never trained.

    A grid has none: its first trial is one of its corners.
    """
    if spec.search.sampler.name == "grid":
        return None
    first = next((t for t in trials if t.user_attrs.get("slot") == BASELINE_SLOT), None)
    if first is None or not first.user_attrs.get("curve"):
        return None
    return first if kind_of(first) not in (*HOPELESS, *GOING) else None


def trained_at_once(device_type: str) -> bool:
    """Whether the final trains the choice and the baseline at the same time.

    On a GPU they would share its memory, for which each of them was measured alone.
    """
    return device_type == "cpu" and cores() > 1


def whole_training_s(spec: StudySpec, trial: FrozenTrial) -> float:
    """Return what all epochs of a trial's configuration take, by those that it trained."""
    epochs = len(trial.user_attrs["curve"])
    took_s: float = trial.user_attrs.get("duration_s", 0.0)
    return took_s / epochs * spec.search.epochs
