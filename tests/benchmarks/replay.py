"""Epochs until a search is within half a point of the best of 300 recorded configurations.

    python tests/benchmarks/replay.py TABLE.json.gz ... [--orders 1000] [--workers 1 4]
    python tests/benchmarks/replay.py TABLE.json.gz --only samplers [--orders 100]
    python tests/benchmarks/replay.py TABLE.json.gz --peers FOLDER [--orders 100]

Without more, policies get configurations in random order, the same orders for all. `samplers` ask
for what they like and are answered with the nearest untried row. `--peers` asks other tools' own
code, each in an environment of its own in a folder, which is made where it is missing (minutes, and
gigabytes for torch). Printed are medians and quartiles; `never` is where the best was given up.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))
from replays.counting import MARGIN, Spent, quartiles, spent_by
from replays.environments import PEERS, asked
from replays.policies import POLICIES, Made
from replays.searches import SEARCHES
from replays.table import Table, read


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--only", choices=["policies", "samplers"], default="policies")
    parser.add_argument("--names", nargs="*", default=[], help="of policies, samplers or peers")
    parser.add_argument("--peers", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for path in given.tables:
        table = read(path)
        print(
            f"{table.name}: {table.rows} configurations of {table.epochs} epochs, best "
            f"{table.best:.4f}, {sum(table.scores.max(axis=1) >= table.best - MARGIN)} of them "
            "within half a point"
        )
        for workers in given.workers:
            if given.peers is not None:
                with_peers(table, path, workers, given.peers, given.names, given.orders)
            else:
                makes = POLICIES if given.only == "policies" else SEARCHES
                for name, make in makes.items():
                    if not given.names or name in given.names:
                        replay(name, make, table, workers, given.orders)


def replay(name: str, make: Made, table: Table, workers: int, orders: int) -> None:
    """Print what a tool spends over many orders."""
    began = time.monotonic()
    found = [spent_by(make(table, seed), table, workers) for seed in range(orders)]
    show(name, workers, found, time.monotonic() - began)


def with_peers(
    table: Table, path: Path, workers: int, folder: Path, names: list[str], orders: int
) -> None:
    """Print what other tools spend."""
    for name, peer in PEERS.items():
        if not names or name in names:
            began = time.monotonic()
            found = asked(peer, folder, path, workers, range(orders))
            show(name, workers, found, time.monotonic() - began)


def show(name: str, workers: int, found: list[Spent], took_s: float) -> None:
    """Print medians and quartiles of what was spent."""
    if not found:
        print(f"{name:<32} {workers} worker(s): no answer")
        return
    lower, middle, upper = quartiles([spent.epochs for spent in found])
    seconds = quartiles([spent.seconds for spent in found])[1]
    never = sum(math.isinf(spent.epochs) for spent in found)
    print(
        f"{name:<32} {workers} worker(s), {len(found):>4} orders: {middle:>6g} epochs "
        f"({lower:g} to {upper:g}), {seconds:>7.1f} s, never {100 * never / len(found):.0f} % "
        f"[{took_s:.1f} s]",
        flush=True,
    )


if __name__ == "__main__":
    main()
