"""The report says which trials are the best of their size."""

from __future__ import annotations

from typing import Any

from fixtures_storage import on_sqlite
from made_studies import enter, run_trial
from optuna.trial import TrialState

from hpsearch.reports.formats import as_json, markdown
from hpsearch.reports.frames import trials_frame
from hpsearch.reports.report import Report, make_report, sections
from hpsearch.reports.sections import Section
from hpsearch.storage.storage import Storage

SIZES = [(0.9, 5000), (0.8, 500), (0.7, 600), (0.6, 50)]  # scores and parameters


def made(storage: Storage, sizes: list[tuple[float, int]] = SIZES, **search: Any) -> Report:
    spec = enter(storage, trials=50, **search)
    for score, parameters in sizes:
        flops = 1e6 * parameters
        latency: dict[str, Any] = {}
        if search.get("also") == "latency":
            latency = {"latency_ms": 7000.0 / parameters, "latency_on": "a machine, 1 thread"}
        run_trial(storage, spec, (score,), parameters=parameters, forward_flops=flops, **latency)
    return make_report(storage, "made")


def part(report: Report) -> Section | None:
    return next((s for s in sections(report) if "against size" in s.title), None)


@on_sqlite
def test_a_report_lists_the_trials_that_no_other_beats(storage: Storage) -> None:
    report = made(storage)
    found = part(report)
    assert found is not None and found.table is not None
    assert found.table.header[:4] == ("trial", "test accuracy", "parameters", "MFLOP")
    assert found.table.rows == [
        ("0", "0.9000", "5,000", "5,000.00", "parameters, flops", "chosen"),
        ("1", "0.8000", "500", "500.00", "parameters, flops", ""),
        ("3", "0.6000", "50", "50.00", "parameters, flops", ""),
    ]
    assert "hpsearch export made --trial N" in " ".join(found.lines)
    assert "| 1 | 0.8000 | 500 |" in markdown(report)
    assert not any("are shown" in line for line in found.lines)


@on_sqlite
def test_what_the_study_wants_to_be_small_comes_first(storage: Storage) -> None:
    report = made(storage, also="latency")
    found = part(report)
    assert found is not None and found.table is not None
    assert found.table.header[2] == "ms"
    assert [row[0] for row in found.table.rows] == ["0", "1", "3"]
    assert found.table.rows[0][5] == "latency, parameters, flops"
    assert found.table.rows[1][5] == "parameters, flops", "it is slower than the better one"
    assert any("measured before training on a machine, 1 thread" in line for line in found.lines)


@on_sqlite
def test_a_long_front_is_cut_and_says_so(storage: Storage) -> None:
    report = made(storage, [(0.5 + i / 100, 10 + i) for i in range(14)])
    found = part(report)
    assert found is not None and found.table is not None
    rows = [row[0] for row in found.table.rows]
    assert len(rows) == 10
    assert (rows[0], rows[-1]) == ("13", "0"), "both ends are among them"
    assert "10 of 14 are shown; all are in trials.csv and --json" in found.lines
    told = as_json(report)["fronts"]
    assert [t["trial"] for t in told["parameters"]] == list(range(13, -1, -1))
    assert told["flops"][0] == {"trial": 13, "test_accuracy": 0.63, "forward_flops": 23e6}
    assert "latency" not in told


@on_sqlite
def test_a_trial_that_beats_all_others_needs_no_table(storage: Storage) -> None:
    assert part(made(storage, [(0.9, 10), (0.8, 20)])) is None


@on_sqlite
def test_a_table_of_trials_says_which_are_the_best_of_their_size(storage: Storage) -> None:
    report = made(storage)
    run_trial(storage, report.study.spec, (0.99,), TrialState.PRUNED, forward_flops=1.0)
    frame = trials_frame(make_report(storage, "made").study).set_index("trial")
    assert frame["front"].isna().tolist() == [False, False, True, False, True]
    assert frame["front"][0] == "parameters, flops"
    assert frame["latency_ms"].isna().all()
