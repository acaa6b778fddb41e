"""How many trials of a small space are wasted, and what it costs to know, without training any.

    python tests/benchmarks/wasted.py [--seeds 5] [--trials 5000]

40 trials of a space of 12 configurations, by tpe and at random: how many were trained for a
configuration that was trained before, with what is known and without. Then the time that a claim
takes to tell whether a configuration is new, after so many trials that have ended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from made_small_spaces import SMALL, searched
from made_studies import PREPARED, enter, spec_of, stored
from optuna.trial import TrialState, create_trial

from hpsearch.search.keys import key_of
from hpsearch.search.known import Known
from hpsearch.storage.storage import opened_storage


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=5000)
    given = parser.parse_args()
    for sampler in ("tpe", "random"):
        for with_known in (False, True):
            found = [wasted(sampler, seed, with_known) for seed in range(given.seeds)]
            trained, again = np.median(found, axis=0)
            knows = "with what is known" if with_known else "without it"
            print(f"{sampler:<6} {knows:<18} {trained:g} trained, {again:g} of them again")
    for trials in sorted({100, 1000, given.trials}):
        print(f"after {trials:>5} trials: {cost_ms(trials):.3f} ms a claim", flush=True)


def wasted(sampler: str, seed: int, with_known: bool) -> tuple[int, int]:
    """Return how many of 40 trials were trained, and how many of them not for the first time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_storage(f"sqlite:///{folder}/x.db", create=True) as storage,
    ):
        spec = enter(storage, spec_of(space=SMALL, trials=40, sampler=sampler, seed=seed))
        searched(storage, spec, Known(spec, PREPARED.fingerprint) if with_known else None)
        study = stored(storage, spec)
        trained = study.in_state(TrialState.COMPLETE)
        different = {key_of(study.config(trial)) for trial in trained}
        return len(trained), len(trained) - len(different)


def cost_ms(count: int) -> float:
    """Return the processor's milliseconds of a look for a configuration among so many trials."""
    known = Known(spec_of(), PREPARED.fingerprint)
    trials = []
    for number in range(count):
        attrs = {"slot": number, "key": f"{number}", "parameters": 1}
        trials.append(create_trial(value=0.5, user_attrs=attrs))
        trials[-1].number = number
    known.among(trials, "new")
    began = time.process_time()
    for _ in range(100):
        known.among(trials, "new")
    return (time.process_time() - began) * 10


if __name__ == "__main__":
    main()
