"""How far the report's statistics hold, in simulated studies of which the truth is known.

    python tests/benchmarks/simulated_studies.py [--studies 2000] [--configs 40] [--images 1000]

For each kind of search space: the share of studies in which the 95 % interval of validation covers
the truth of the final network, the share in which that of the best search value does, and the mean
optimism: as told, from known noise and from nine trainings of three finalists, and as it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))
from simulated import (
    Studies,
    equal,
    improving,
    narrow,
    of_two_kinds,
    on_a_plateau,
    studies,
    tailed,
)

from hpsearch.evaluation.intervals import wilson_interval
from hpsearch.evaluation.selection_bias import accuracy_optimism, expected_optimism
from hpsearch.search.finalist_statistics import seed_variance

SEED_SD = 0.003


def covered(of: Studies, scores: NDArray[np.float64], images: int) -> float:
    low, high = wilson_interval(np.round(scores * images), images)
    return float(((low <= of.final_truth) & (of.final_truth <= high)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--configs", type=int, default=40)
    parser.add_argument("--images", type=int, default=1000, help="of test, and of validation")
    given = parser.parse_args()
    print(
        f"{given.studies} studies of {given.configs} configurations, {given.images} images, "
        f"standard deviation between seeds {SEED_SD}\n"
    )
    print(f"{'':>14}  {'covers the truth':^21}  {'mean optimism of the best':^37}")
    print(
        f"{'truths':>14}  {'validation':>10} {'search':>10}  "
        f"{'was':>7} {'told':>7} {'off':>7}  {'from 9':>6} {'off':>6}"
    )
    for truths in (tailed, improving, equal, of_two_kinds, on_a_plateau, narrow):
        of = studies(truths, given.studies, given.configs, given.images, given.images, SEED_SD)
        was = float((of.best - of.truth).mean())
        told = np.mean([accuracy_optimism(one, SEED_SD, given.images) for one in of.scores])
        noise = np.array([np.sqrt(seed_variance(again)) for again in of.again])
        nine = expected_optimism(of.scores, noise).mean()
        print(
            f"{truths.__name__:>14}  {covered(of, of.validation, given.images):>10.1%} "
            f"{covered(of, of.best, given.images):>10.1%}  {was:>7.4f} {told:>7.4f} "
            f"{told / was - 1:>+7.1%}  {nine:>6.4f} {nine / was - 1:>+6.1%}"
        )


if __name__ == "__main__":
    main()
