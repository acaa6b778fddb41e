"""What the confirmations of a study say: for the report, and as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpsearch.reports.sections import Section, Table
from hpsearch.search.finalists import Finalist, Verdict, plan, verdict
from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.tasks import WORDS, Metric, shown

PREFERRED = {
    "smaller": "the one with the fewest parameters is chosen",
    "faster": "the one with the fewest FLOPs is chosen",
    "score": "the one with the best mean is chosen",
}


def confirm_section(study: OpenStudy) -> Section | None:
    """Return how the finalists did with new seeds; None where none was trained again."""
    found = verdict(study)
    if found is None:
        return _without_verdict(study)
    metric = study.spec.metric
    rows = [
        (
            str(f.trial.number),
            shown(metric, f.trial.value or 0.0),
            shown(metric, f.mean) if f.scores else "",
            _spread(metric, f),
            str(len(f.scores)),
            f"{study.record(f.trial).parameters or 0:,}",
            _said(f, found),
        )
        for f in found.finalists
    ]
    header = ("trial", "search", "new seeds", "+-", "seeds", "parameters", "")
    title = f"Confirmed by test {WORDS[metric]}: trained again with new seeds"
    return Section(title, _lines(study, found), Table(header, rows))


def confirm_json(study: OpenStudy) -> dict[str, Any] | None:
    """Return the same as plain data, None where no finalist was trained again."""
    found = verdict(study)
    if found is None:
        return None
    return {
        "chosen": found.chosen.trial.number,
        "finalists": [
            {
                "trial": f.trial.number,
                "search_score": f.trial.value,
                "scores": list(f.scores),
                "parameters": study.record(f.trial).parameters,
                "tied": f.tied,
                "out_after": f.out_after,
                "failed": f.failed,
            }
            for f in found.finalists
        ],
    }


def _lines(study: OpenStudy, found: Verdict) -> list[str]:
    choice, tied = found.chosen, [f for f in found.finalists if f.tied]
    number = choice.trial.number
    if len(tied) > 1:
        of = ", ".join(str(f.trial.number) for f in tied)
        why = f"Trials {of} cannot be distinguished (95 %): {PREFERRED[study.spec.confirm.prefer]}"
        lines = [f"{why}, trial {number}."]
    elif len(found.finalists) == 1:
        lines = [f"Trial {number} is the only candidate."]
    elif len(choice.scores) == 1:
        lines = [f"Trial {number} has the best score; one seed does not tell how sure that is."]
    else:
        lines = [f"Trial {number} has the best mean, and is distinguished from the others (95 %)."]
    best = found.finalists[0]
    if best.scores:
        metric = study.spec.metric
        lines.append(
            f"The best trial of the search scored {shown(metric, best.trial.value or 0.0)}; with "
            f"new seeds its mean is {shown(metric, best.mean)}."
        )
    return lines + _cut_short(study)


def _cut_short(study: OpenStudy) -> list[str]:
    """Return what was planned and was not done."""
    planned = plan(study)
    if not planned.due:
        return []
    return [
        f"Of {planned.of} trainings {planned.ended} have ended; the others did not fit into the "
        "timeout, or are still to come."
    ]


def _without_verdict(study: OpenStudy) -> Section | None:
    reasons = [
        f"trial {c.trial_number}, seed {c.repeat + 1}: {c.reason}"
        for c in study.confirmations
        if c.reason is not None
    ]
    return Section("No finalist could be confirmed", reasons) if reasons else None


def _spread(metric: Metric, finalist: Finalist) -> str:
    """Return the standard deviation between seeds."""
    if len(finalist.scores) < 2:
        return ""
    return shown(metric, float(np.std(finalist.scores, ddof=1)))


def _said(finalist: Finalist, found: Verdict) -> str:
    if finalist is found.chosen:
        return "chosen"
    if finalist.failed is not None:
        return f"no score with one seed: {finalist.failed}"
    if finalist.out_after is not None:
        return f"out of the race after {finalist.out_after} seeds"
    if finalist.tied:
        return "tie"
    return "worse" if len(found.chosen.scores) > 1 else "lower"
