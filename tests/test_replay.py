"""What replays of recorded curves count, on tables whose answer can be counted by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from made_tables import AXES, made_table
from replays.counting import Spent, Work, order, quartiles, spent_by
from replays.policies import InOrder, Median, OneEpochFirst, Ours, Pruned
from replays.samplers import Proposing, View, all_rungs, final_alone
from replays.table import Table, read

from hpsearch.search.decisions import Scheduler

FOUR = Table(  # the third row is the best, and only at its end
    "four",
    AXES[:1],
    tuple({"filters": 8 * (row + 1)} for row in range(4)),
    np.array([[0.5, 0.6, 0.7], [0.4, 0.5, 0.6], [0.6, 0.8, 0.9], [0.1, 0.1, 0.1]]),
    np.array([[1.0] * 3, [2.0] * 3, [4.0] * 3, [8.0] * 3]),
)


class Listed:
    """Rows in the order that they are listed in, and nothing learned."""

    def __init__(self, rows: list[int]) -> None:
        self._rows = rows

    def row(self, number: int) -> int:
        return self._rows[number]

    def told(self, number: int, epoch: int, score: float) -> None:
        pass

    def became(self, number: int, kind: str) -> None:
        pass


def test_one_worker_spends_all_epochs_until_the_best_is_seen() -> None:
    assert spent_by(Ours(Scheduler(), Listed([0, 1, 2, 3]), FOUR), FOUR, 1) == Spent(9, 21.0)
    assert spent_by(Ours(Scheduler(), Listed([2, 0, 1, 3]), FOUR), FOUR, 1) == Spent(3, 12.0)


def test_several_workers_spend_the_epochs_of_all_by_a_clock() -> None:
    # Two begin at 0 and 1; the first is free at 3 s and needs 12 s more. Until then the other has
    # ended its three epochs at 6 s and trained one of the last row, which takes until 14 s.
    assert spent_by(Ours(Scheduler(), Listed([0, 1, 2, 3]), FOUR), FOUR, 2) == Spent(10, 30.0)


def test_a_score_counts_at_whatever_epoch_within_the_margin() -> None:
    early = Table("early", FOUR.axes, FOUR.configs, FOUR.scores[:, ::-1], FOUR.seconds)
    assert spent_by(Ours(Scheduler(), Listed([0, 1, 2, 3]), early), early, 1).epochs == 7
    assert spent_by(Ours(Scheduler(), Listed([0, 1, 2, 3]), FOUR), FOUR, 1, 0.1).epochs == 8


class Stopping:
    """Stops every trial after its first epoch, or goes on with those that it `resumes`."""

    def __init__(self, resumes: list[int]) -> None:
        self._begun, self._resumes = 0, resumes

    def take(self) -> Work | None:
        if self._begun < 4:
            self._begun += 1
            return Work(self._begun - 1, self._begun - 1)
        return Work(2, self._resumes.pop()) if self._resumes else None

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        return epoch > 1


def test_a_search_that_stops_what_is_best_never_finds_it() -> None:
    assert spent_by(Stopping([]), FOUR, 1) == Spent(math.inf, math.inf)


def test_a_paused_trial_goes_on_from_where_it_was() -> None:
    assert spent_by(Stopping([2]), FOUR, 1) == Spent(4 + 2, 1 + 2 + 4 + 8 + 2 * 4)


def test_a_tool_that_goes_on_with_what_is_over_is_wrong() -> None:
    with pytest.raises(ValueError, match="trial 2 cannot be taken up"):
        spent_by(Stopping([2, 2]), FOUR, 1, margin=-1)


def test_orders_are_the_same_for_every_tool() -> None:
    table = made_table()
    assert order(table, 3) == order(table, 3) != order(table, 4)
    assert sorted(order(table, 3)) == list(range(table.rows))


@pytest.mark.parametrize("workers", [1, 4])
def test_the_quick_median_decides_as_optunas_pruner(workers: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []
    for seed in range(6):
        table = made_table(40, 6, seed, noise=0.05)
        pruner = optuna.pruners.MedianPruner(5)
        asked = spent_by(Pruned(pruner, table, seed), table, workers)
        assert spent_by(Median(table, seed), table, workers) == asked
        found.append(asked.epochs < spent_by(_random(table, seed), table, workers).epochs)
    assert any(found), "the pruner never stopped anything"


def _random(table: Table, seed: int) -> Ours:
    return Ours(Scheduler(), InOrder(table, seed), table)


def test_one_epoch_of_each_comes_before_the_best_of_eight() -> None:
    table = made_table(16, 3, noise=0.0)
    best = int(table.scores[:, -1].argmax())
    position = order(table, 1).index(best)
    group = position // 8
    wanted = 8 * (group + 1) + 2 * (group + 1)  # one best of each group is trained to its end
    assert spent_by(OneEpochFirst(table, 1), table, 1, 1e-6).epochs == wanted


def test_the_nearest_row_is_of_the_same_words_and_near_numbers() -> None:
    table = made_table(40)
    row = table.nearest(table.configs[7], ())
    assert table.configs[row] == table.configs[7]
    wanted = table.configs[7] | {"learning_rate": 0.02}
    by_hand = min(range(40), key=lambda other: _apart(table, wanted, other))
    assert table.nearest(wanted, ()) == by_hand
    assert table.nearest(wanted, [by_hand]) != by_hand
    with pytest.raises(IndexError, match="every row"):
        table.nearest(wanted, range(40))


def _apart(table: Table, wanted: dict[str, str | int | float], row: int) -> float:
    config = table.configs[row]
    return (
        abs(float(wanted["filters"]) - float(config["filters"])) / 40
        + abs(float(wanted["layers"]) - float(config["layers"])) / 2
        + (wanted["optimizer"] != config["optimizer"])
        + abs(math.log10(float(wanted["learning_rate"]) / float(config["learning_rate"]))) / 3
    )


@pytest.mark.parametrize("view", [all_rungs, final_alone])
def test_a_sampler_learns_from_the_rows_that_it_was_answered_with(view: View) -> None:
    table = made_table(200, 1, noise=0.0)
    rows = []
    proposing = Proposing(table, 0, view=view)
    for number in range(40):
        rows.append(proposing.row(number))
        proposing.told(number, 1, float(table.scores[rows[-1], 0]))
        proposing.became(number, "complete")
    assert len(set(rows)) == 40
    assert table.scores[rows[10:], 0].mean() > table.scores[:, 0].mean() + 0.01


def test_a_search_may_begin_with_the_row_most_like_the_default() -> None:
    table = replace(made_table(30, 1), default=dict(made_table(30, 1).configs[5]))
    proposing = Proposing(table, 0, first=True)
    rows = [proposing.row(number) for number in range(30)]
    assert table.configs[rows[0]] == table.default
    assert sorted(rows) == list(range(30))


def test_a_sampler_has_no_more_to_propose_than_rows() -> None:
    table = made_table(12, 1)
    proposing = Proposing(table, 0)
    assert sorted(proposing.row(number) for number in range(12)) == list(range(12))
    with pytest.raises(IndexError, match="every row"):
        proposing.row(12)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table, file = made_table(12, 3), tmp_path / "made.json.gz"
    table.write(file)
    again = read(file)
    assert again.configs == table.configs and again.axes == table.axes
    np.testing.assert_allclose(again.scores, table.scores, atol=1e-5)
    first = file.read_bytes()
    again.write(file)
    assert file.read_bytes() == first


def test_quartiles_hold_where_some_were_never_reached() -> None:
    assert quartiles([3.0, math.inf, 1.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)
    assert json.dumps(quartiles([1.0] * 3)) == "[1.0, 1.0, 1.0]"
