"""How good the fronts of score and size are that the samplers come to, without training any.

    python tests/benchmarks/fronts.py [--seeds 12] [--trials 30] [--samplers tpe tpe+also ...]

In the space of the shipped study of digits with more filters a made score stands for training: the
error falls with a power of the width, as those of real networks do. `+also` is a sampler under
`search.also: parameters`. Printed are means over the seeds: which share of all errors (to 0.3) and
sizes (1,000 to 1,000,000 parameters, by their logarithm) the trials beat, the share of seeds in
which that is more than plain TPE's, and the best score.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from made_proposals import dominated, made_score_by_size, proposed

SAMPLERS = ("tpe", "random", "tpe+also", "gp", "gp+also")


def found(sampler: str, seed: int, trials: int) -> tuple[float, float]:
    """Return the share that a search's trials beat, and its best score."""
    name, _, also = sampler.partition("+")
    search = {"sampler": name, "also": "parameters" if also else None}
    study = proposed("digits", search, seed, trials, made_score_by_size)
    return dominated(study), max(t.value for t in study.trials if t.value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    plain = np.array([found("tpe", seed, given.trials)[0] for seed in range(given.seeds)])
    for sampler in given.samplers:
        pairs = [found(sampler, seed, given.trials) for seed in range(given.seeds)]
        shares, best = np.array(pairs).T
        print(
            f"{sampler:<9} beats {shares.mean():.3f} ({shares.min():.3f} to {shares.max():.3f}), "
            f"more than tpe in {(shares > plain).mean():.0%}, best score {best.mean():.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
