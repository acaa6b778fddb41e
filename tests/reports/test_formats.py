"""The report in other forms: what leaves for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from made_studies import enter, run_trial
from optuna.trial import TrialState

from hpsearch.reports.formats import trials_csv
from hpsearch.reports.report import make_report
from hpsearch.storage.storage import open_storage


def test_the_table_of_trials_holds_no_formula_and_every_number_as_it_is(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    spec = enter(storage)
    reason = '=HYPERLINK("x","\x1b[2J\n")'
    run_trial(storage, spec, (0.25, 0.5))
    run_trial(storage, spec, state=TrialState.FAIL, reason=reason)
    text = trials_csv(make_report(storage, spec.name))
    storage.close()
    good, failed = csv.DictReader(io.StringIO(text))
    assert (good["test_accuracy"], good["parameters"], good["reason"]) == ("0.5", "1000", "")
    assert failed["reason"] == '\'=HYPERLINK("x","\\x1b[2J\\n")'
    assert (failed["kind"], failed["parameters"], failed["test_accuracy"]) == ("failed", "1000", "")
