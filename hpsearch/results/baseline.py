"""The baseline: the study's default configuration, which tuning has to beat."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from hpsearch.search.studies import OpenStudy


def baseline_of(study: OpenStudy) -> FrozenTrial | None:
    """Return the trial of the default configuration, None where it was never trained.

    A grid has none: its first trial is one of its corners.
    """
    if study.spec.search.sampler.name == "grid":
        return None
    first = next((t for t in study.trials if t.user_attrs.get("slot") == 0), None)
    if first is None or not first.user_attrs.get("curve"):
        return None
    trained = first.state == TrialState.COMPLETE or (
        first.state == TrialState.PRUNED and first.user_attrs["curve"][-1]["train_loss"] is not None
    )
    return first if trained else None
