"""How often the samplers propose networks that are too large, without training any.

    python tests/benchmarks/gaussian.py [--seeds 10]

30 trials of `max_parameters: 30000`, in a space of `filters` alone and in that of the shipped
study of digits with more filters. A made test score that grows smoothly with the filters stands
for training: it draws towards what is too large.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from made_proposals import SPACES, searched

SAMPLERS = ("plain gp", "gp", "tpe", "random")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for space in SPACES:
        for sampler in SAMPLERS:
            found = [searched(space, sampler, seed) for seed in range(given.seeds)]
            too_large, best = zip(*found, strict=True)
            print(
                f"{space:<8} {sampler:<9} {np.median(too_large):>5g} of 30 ({min(too_large)} to "
                f"{max(too_large)}), best score {np.median(best):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
