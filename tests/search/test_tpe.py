"""TPE's proposals are Optuna's to the last bit, whatever the trials before were and came to."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from hpsearch.search.tpe import QuickTPESampler

TRIALS, STARTUP = 40, 5


def plain(trial: Trial) -> None:
    trial.suggest_int("filters", 16, 128, step=8)
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    trial.suggest_int("one", 3, 3)  # has no choice


def conditional(trial: Trial) -> None:
    family = trial.suggest_categorical("family", ["alexnet", "vgg", "resnet"])
    if family == "vgg":
        trial.suggest_int("convolutions", 1, 4)
    if family != "alexnet":
        trial.suggest_int("units", 8, 256, log=True)
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)


def seeded(kind: type[TPESampler], number: int) -> TPESampler:
    return kind(n_startup_trials=STARTUP, multivariate=True, group=True, seed=number)


def end(study: optuna.Study, trial: Trial, chance: random.Random) -> None:
    """End a trial as one of all kinds, with scores of which some are equal; or leave it running."""
    for epoch in range(1, chance.randint(1, 4)):
        trial.report(chance.choice([0.1, 0.5, 0.9, float("nan")]), epoch)
    match chance.choice(["complete"] * 4 + ["pruned"] * 4 + ["infeasible", "failed", "running"]):
        case "complete":
            study.tell(trial, chance.choice([0.2, 0.4, chance.random()]))
        case "pruned":
            study.tell(trial, state=TrialState.PRUNED)
        case "infeasible":
            trial.set_constraint("parameters", chance.choice([1.0, 2.0]))
            study.tell(trial, state=TrialState.PRUNED)
        case "failed":
            study.tell(trial, state=TrialState.FAIL)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore:.*NaN:RuntimeWarning")
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("ask", [plain, conditional])
def test_a_proposal_is_that_of_optunas_sampler(
    ask: Callable[[Trial], None], direction: str
) -> None:
    studies = [optuna.create_study(direction=StudyDirection[direction.upper()]) for _ in range(2)]
    chances = [random.Random(7) for _ in range(2)]
    found: list[list[dict[str, Any]]] = [[], []]
    for number in range(TRIALS):
        for i, kind in enumerate((TPESampler, QuickTPESampler)):
            studies[i].sampler = seeded(kind, number)
            trial = studies[i].ask()
            ask(trial)
            found[i].append(dict(trial.params))
            end(studies[i], trial, chances[i])
    assert found[0] == found[1]
    assert {t.state for t in studies[1].trials} >= {
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING,
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_ended_trial_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    read: list[int] = []
    constraints = optuna.trial.FrozenTrial.constraints.fget  # type: ignore[attr-defined]

    def counted(trial: optuna.trial.FrozenTrial) -> Any:
        read.append(trial.number)
        return constraints(trial)

    monkeypatch.setattr(optuna.trial.FrozenTrial, "constraints", property(counted))
    for number in range(STARTUP + 3):
        study.sampler = seeded(QuickTPESampler, number)
        trial = study.ask()
        plain(trial)
        study.tell(trial, 0.5)
    assert sorted(read) == list(range(STARTUP + 2))
