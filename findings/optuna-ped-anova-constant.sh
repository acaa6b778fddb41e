#!/bin/sh
# Optuna: the default importances rank a parameter that never varied.
# Expected by the documentation of get_param_importances: a share of what moves the score. A
# parameter with one value in all trials moves nothing; fANOVA gives it 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "optuna==5.0.0" "scikit-learn==1.9.1"
cat > "$folder/seen.py" <<'PYTHON'
import importlib.metadata
import random
import statistics

import optuna
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

for name in ("optuna", "scikit-learn"):
    print(name, importlib.metadata.version(name))
optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIALS, STUDIES = 20, 20
distributions = {name: FloatDistribution(0, 1) for name in ("moves", "never_varied")}


def shares(seed):
    draw = random.Random(seed).random
    study = optuna.create_study(direction="maximize")
    for _ in range(TRIALS):
        x = draw()
        study.add_trial(
            optuna.trial.create_trial(
                params={"moves": x, "never_varied": 0.5}, distributions=distributions, value=x
            )
        )
    fanova = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return get_param_importances(study)["never_varied"], fanova["never_varied"]


default, fanova = zip(*(shares(seed) for seed in range(STUDIES)))
print(f"share of a parameter that was 0.5 in all {TRIALS} trials, where the score is the other one")
print("expected: 0")
print(f"default:  {statistics.median(default):.3f} (median of {STUDIES} studies)")
print(f"fANOVA:   {max(fanova):.3f} (at most)")
raise SystemExit(0 if statistics.median(default) > 0.1 and max(fanova) == 0 else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/seen.py"
