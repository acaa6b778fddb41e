#!/bin/sh
# Optuna: GPSampler learns nothing from pruned trials, whatever constraint they broke.
# Expected by the documentation: Trial.set_constraint says that a trial is infeasible, and GPSampler
# handles constraints. Seen: it reads COMPLETE and RUNNING trials alone, so that where infeasible
# trials end as PRUNED it goes on at random until n_startup_trials others are complete.
# Installing torch takes minutes; PYTHON=/path/to/python uses one that has optuna, scipy and torch.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$folder/venv"
    PYTHON="$folder/venv/bin/python"
    "$PYTHON" -m pip install -q "optuna==5.0.0" "scipy==1.17.1" "torch==2.14.1"
fi
cat > "$folder/seen.py" <<'PYTHON'
import importlib.metadata
import statistics

import optuna
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

for name in ("optuna", "scipy", "torch"):
    print(name, importlib.metadata.version(name))
optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIALS, STARTUP, SEEDS = 30, 10, 5


def infeasible(sampler, ends_as):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(TRIALS):
        trial = study.ask()
        size = trial.suggest_int("size", 8, 128, step=8)
        trial.set_constraint("size", size - 16)
        if size <= 16:
            study.tell(trial, size / 128)
        elif ends_as == TrialState.PRUNED:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, 0.0)
    return sum(t.params["size"] > 16 for t in study.trials)


def median(make, ends_as=TrialState.PRUNED):
    return statistics.median(infeasible(make(seed), ends_as) for seed in range(SEEDS))


def gp(seed):
    return GPSampler(seed=seed, n_startup_trials=STARTUP)


pruned, complete = median(gp), median(gp, TrialState.COMPLETE)
tpe = median(lambda seed: TPESampler(seed=seed, n_startup_trials=STARTUP))
random = median(lambda seed: RandomSampler(seed=seed))
print(f"infeasible of {TRIALS} trials, where 2 of 16 values are feasible; medians of {SEEDS} seeds")
print(f"random {random:g}, tpe {tpe:g}, gp with infeasible trials COMPLETE {complete:g}")
print(f"expected of gp with infeasible trials PRUNED: about {complete:g}; seen: {pruned:g}")
raise SystemExit(0 if pruned >= random - 2 and complete <= pruned - 8 else 1)
PYTHON
"$PYTHON" -W ignore "$folder/seen.py"
