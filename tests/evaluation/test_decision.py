"""What is chosen, what was found since, and what is said of both in every place."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures_storage import on_sqlite
from made_records import EPOCH, SCORES, final_record
from made_studies import begin_trial, claimed, enter, run_trial, stored
from optuna.trial import TrialState
from typer.testing import CliRunner

from hpsearch.cli.display import Display
from hpsearch.cli.main import app
from hpsearch.reports.formats import as_json, markdown
from hpsearch.reports.report import make_report
from hpsearch.search.progress import progress_of
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

pytestmark = on_sqlite


def trained(storage: Storage, spec: StudySpec, score: float) -> None:
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    for key, value in (("parameters", 1000), ("duration_s", 1.0), ("curve", [EPOCH])):
        trial.set_user_attr(key, value)
    trial.study.tell(trial, score)
    storage.leases.finish(lease)


def measured(storage: Storage, trial: int, complete: int, best: float) -> None:
    """Write the final of a trial, after so many complete ones."""
    luck = {"complete": complete, "best": best, "trial": trial, "optimism": 0.01}
    result = final_record(trial=trial, test=SCORES | {"accuracy": best}, search=luck)
    made = storage.openings.write("made", "a" * 64, trial, "me", "final choice")
    storage.openings.write_result(made, result)


@pytest.fixture
def gone_on(storage: Storage) -> Storage:
    """A study whose default configuration was measured, and whose search found a better one."""
    spec = enter(storage)
    trained(storage, spec, 0.5)
    trained(storage, spec, 0.4)
    measured(storage, 0, 2, 0.5)
    trained(storage, spec, 0.9)
    return storage


def test_a_better_trial_since_and_nothing_better_are_never_said_at_once(gone_on: Storage) -> None:
    text = markdown(make_report(gone_on, "made"))
    assert "Trial 2 scored better on test since (test accuracy 0.9000)" in text
    assert "The choice that was measured is the default configuration." in text
    assert "found nothing better" not in text and "Tuning gained" not in text
    assert "best test score of 2 complete trial(s) at that time, trial 0" in text
    assert "no worse than the best test score at that time" in text


def test_before_that_the_search_found_nothing_better(storage: Storage) -> None:
    spec = enter(storage)
    trained(storage, spec, 0.5)
    trained(storage, spec, 0.4)
    measured(storage, 0, 2, 0.5)
    text = markdown(make_report(storage, "made"))
    assert "The choice is the default configuration: the search found nothing better." in text
    assert "at that time" not in text and "Tuning gained" not in text


def test_export_gives_what_was_measured_and_says_what_scored_better_since(
    gone_on: Storage, tmp_path: Path
) -> None:
    url = gone_on.url.render_as_string(hide_password=False)
    told = as_json(make_report(gone_on, "made"))
    assert told["chosen"]["number"] == 0
    export = CliRunner().invoke(app, ["export", "made", "--storage", url])
    assert "# Trial 0 of study 'made'" in export.stdout
    assert "validation was sealed until it was chosen" in export.stdout
    assert "Trial 2 scored better on test since" in export.stderr
    assert "--trial 2 exports it" in export.stderr
    other = CliRunner().invoke(app, ["export", "made", "--trial", "2", "--storage", url])
    assert "# Trial 2 of study 'made'" in other.stdout and "since" not in other.stderr
    assert "Validation has not judged this configuration" in other.stdout
    assert "sealed until" not in other.stdout


def test_status_and_audit_say_how_often_it_was_opened_in_the_same_words(gone_on: Storage) -> None:
    url = gone_on.url.render_as_string(hide_password=False)
    gone_on.openings.write("gone", "a" * 64, 0, "me", "final choice")
    words = "opened 2 times: optimistic (1 by this study, 1 by study 'gone' that is deleted)"
    for command in ("status", "audit", "report"):
        said = CliRunner().invoke(app, [command, "made", "--storage", url]).stdout
        assert words in " ".join(said.split()), command


def test_every_trial_that_was_the_best_when_it_ended_is_marked_however_seldom_one_looks(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = enter(storage)
    with Display(spec) as display:
        display._searching(progress_of(storage, "made"))
        for score in (0.5, 0.6, 0.55, 0.7):
            run_trial(storage, spec, [score])
        run_trial(storage, spec, [0.9], TrialState.PRUNED)
        display._searching(progress_of(storage, "made"))
    assert stored(storage, spec).best_in_turn() == {0, 1, 3}
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("trial ")]
    assert [line.split()[1] for line in lines] == ["0", "1", "2", "3", "4"]
    assert ["best so far" in line for line in lines] == [True, True, False, True, False]
