"""Which trial is the choice, and what has happened since it was measured: decided once, for all."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hpsearch.evaluation.seal import Seal
from hpsearch.search.baseline import baseline_of
from hpsearch.search.finalists import choice, verdict
from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.tasks import WORDS, rank, shown


@dataclass(frozen=True)
class Decision:
    """What is chosen: the trial that the final has measured, or what it would measure.

    `instead` is the trial that would be chosen now, where another one was measured, and `scored`
    says whether it scored better on test than that, or is chosen by its trainings with new seeds.
    `is_default` says whether the choice is the default configuration, `beaten` whether a trial of
    the search scored better than it, and `more` how many trials are complete since it was measured.
    """

    trial: FrozenTrial | None
    measured: bool
    instead: FrozenTrial | None = None
    scored: bool = False
    is_default: bool = False
    beaten: bool = False
    more: int = 0


def decided(study: OpenStudy, seal: Seal) -> Decision:
    """Return what is chosen, by the trials of a study and the openings of its seal."""
    now, final, metric = choice(study), seal.result, study.spec.metric
    trial = now
    if final is not None:
        trial = next(t for t in study.trials if t.number == final.trial)
    if trial is None:
        return Decision(None, measured=False)
    baseline, best = baseline_of(study.spec, study.trials), study.best()
    complete = len(study.in_state(TrialState.COMPLETE))
    luck = None if final is None else final.search
    then = complete if luck is None else luck.complete
    instead = None if now is None or now.number == trial.number else now
    better = instead is not None and rank(metric, instead.value or 0) < rank(
        metric, trial.value or 0
    )
    return Decision(
        trial=trial,
        measured=final is not None,
        instead=instead,
        scored=better and verdict(study) is None,
        is_default=baseline is not None and baseline.number == trial.number,
        beaten=best is not None and rank(metric, best.value or 0) < rank(metric, trial.value or 0),
        more=complete - then,
    )


def instead_words(study: OpenStudy, decision: Decision) -> str | None:
    """Return in words which trial would be chosen now; None where it is the one measured."""
    now, metric = decision.instead, study.spec.metric
    if now is None:
        return None
    if decision.scored:
        value = shown(metric, now.value or 0.0)
        return f"Trial {now.number} scored better on test since (test {WORDS[metric]} {value})"
    return f"Trial {now.number} would be the choice now, by its trainings with new seeds"


def default_line(decision: Decision) -> str | None:
    """Return in words what it means that the default configuration was chosen; None if not."""
    if not decision.is_default:
        return None
    if decision.instead is not None:
        return "The choice that was measured is the default configuration."
    if decision.beaten:
        return (
            "The choice is the default configuration: what scored better in the search did not "
            "stand out with new seeds."
        )
    return "The choice is the default configuration: the search found nothing better."
