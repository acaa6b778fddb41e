"""What a search started from and what of its space it tried, in words."""

from __future__ import annotations

from optuna.trial import TrialState

from hpsearch.search.progress import Progress, epochs_of
from hpsearch.search.warm_start import SUMMARY, warm_lines


def tried_lines(p: Progress) -> list[str]:
    """Return in words what a search took over, and what it tried of its space."""
    lines = warm_lines(p.study.attrs.get(SUMMARY))
    if p.known:
        lines.append(
            f"{p.known} trial(s) were not trained: each has the configuration of another one"
        )
    if p.exhausted is not None:
        lines.append(
            f"All {p.exhausted} configurations of the space were tried, so the search ended "
            f"before its {p.study.spec.search.trials:,} trials"
        )
    return lines


def epochs_words(p: Progress) -> str:
    """Return how many epochs a trial has, and of how many images where those are not all."""
    search, train = p.study.spec.search, p.study.data_summary["totals"][0]
    wanted = search.epoch_images
    if wanted is None or wanted >= train:
        return f"{search.epochs} epochs"
    return f"{search.epochs} epochs of {wanted:,} of {train:,} images"


def early_lines(p: Progress) -> list[str]:
    """Return in words how many trials early stopping ended; nothing where there is none."""
    search = p.study.spec.search
    if search.early_stopping is None:
        return []
    ended = p.study.in_state(TrialState.COMPLETE)
    early = sum(epochs_of(trial) < search.epochs for trial in ended)
    return [f"Early stopping ended {early} of {len(ended)} complete trial(s)"]
