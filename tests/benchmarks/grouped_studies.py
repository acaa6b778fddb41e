"""How often intervals cover the truth where images come in groups, of which the truth is known.

    python tests/benchmarks/grouped_studies.py [--studies 400]

Coverage at worst and on average over accuracies, likeness within groups, sizes and kinds of size:
ours, the percentile bootstrap of groups, and Wilson's, which counts images.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from grouped_images import hits_of, sizes_of

from hpsearch.evaluation.grouped import grouped_interval
from hpsearch.evaluation.intervals import wilson_interval

GROUPS = (10, 12, 20, 50, 200)
ACCURACIES, LIKENESS = (0.5, 0.8, 0.95, 0.99, 0.998, 1.0), (0.0, 0.05, 0.2, 0.5, 0.9)
RESAMPLES = 400


def covers(truth: float, low: float, high: float) -> bool:
    return bool(low <= truth <= high)


def study(kind: str, groups: int, size: int, accuracy: float, likeness: float,
          rng: np.random.Generator) -> tuple[bool, bool, bool]:  # fmt: skip
    """Return whether ours, the bootstrap's and Wilson's interval cover the truth."""
    sizes = sizes_of(kind, groups, size, rng)  # type: ignore[arg-type]
    hits, of = hits_of(sizes, accuracy, likeness, rng)
    found = grouped_interval(lambda w: w @ hits.astype(float) / w.sum(1), of, "share")
    assert found is not None
    right = np.bincount(of, hits)
    rows = rng.integers(groups, size=(RESAMPLES, groups))
    drawn = np.quantile(right[rows].sum(1) / sizes[rows].sum(1), [0.025, 0.975])
    low, high = wilson_interval(hits.sum(), len(hits))
    return (covers(accuracy, *found), covers(accuracy, *drawn),
            covers(accuracy, float(low), float(high)))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=400, help="of each kind")
    given = parser.parse_args()
    print(f"{'groups':>6}  {'ours':^15}  {'bootstrap':^15}  {'Wilson':^15}   (worst, mean)")
    for groups in GROUPS:
        rng, means = np.random.default_rng(0), []
        kinds = itertools.product(("equal", "unequal", "one large"), (5, 40), ACCURACIES, LIKENESS)
        for kind, size, accuracy, likeness in kinds:
            if accuracy == 1 and likeness:
                continue
            found = [study(kind, groups, size, accuracy, likeness, rng)
                     for _ in range(given.studies)]  # fmt: skip
            means.append(np.mean(found, axis=0))
        shown = [f"{np.min(m):>7.1%} {np.mean(m):>7.1%}" for m in np.transpose(means)]
        print(f"{groups:>6}  " + "  ".join(shown), flush=True)


if __name__ == "__main__":
    main()
