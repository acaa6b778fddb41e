"""The report in other forms: Markdown, plain data for scripts, a table of trials."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from hpsearch.reports.finalists import confirm_json
from hpsearch.reports.frames import trials_frame
from hpsearch.reports.front import front_json
from hpsearch.reports.report import Report, chosen, sections
from hpsearch.reports.seal import seal_json
from hpsearch.search.kinds import kind_of
from hpsearch.search.progress import Progress
from hpsearch.search.stored_study import OpenStudy
from hpsearch.study.names import in_markdown, in_markdown_cell, in_spreadsheet
from hpsearch.study.tasks import key_of


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    out: list[str] = []
    for number, part in enumerate(sections(report)):
        out += ["#" * (1 if number == 0 else 2) + f" {in_markdown(part.title)}", ""]
        out += [f"{in_markdown(line)}  " for line in part.lines]
        if part.table is not None:
            aligned = ["---", *["---:"] * (len(part.table.header) - 1)]
            out += ["", _row(part.table.header), _row(tuple(aligned))]
            out += [_row(row) for row in part.table.rows]
        if part.picture is not None:
            out += ["", f"![{in_markdown(part.title)}]({part.picture})"]
        out.append("")
    return "\n".join(out)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(in_markdown_cell(cell) for cell in cells) + " |"


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data for scripts."""
    p = report.progress
    choice = chosen(report)
    return {
        "study": p.study.spec.name,
        "storage": report.storage,
        "state": p.state,
        "fingerprint": p.study.fingerprint,
        "data": p.study.data_summary,
        "trials": counts(p),
        "epochs_run": p.epochs_run,
        "epochs_saved": p.epochs_saved,
        "chosen": None if choice is None else trial_json(p.study, choice),
        "confirm": confirm_json(p.study),
        "fronts": front_json(p.study),
        **seal_json(report.seal),
        "final": None if report.final is None else report.final.as_json(),
    }


def counts(p: Progress) -> dict[str, int | None]:
    """Return the trials of a study by state; `budget` is None where time alone is the budget."""
    return {
        "budget": p.budget if p.counts_trials else None,
        "running": len(p.running),
        "interrupted": p.interrupted,
        "paused": len(p.paused),
        "resumed": p.resumed,
        "complete": p.complete,
        "pruned": p.pruned,
        "infeasible": p.infeasible,
        "diverged": p.diverged,
        "timed_out": p.timed_out,
        "known": p.known,
        "failed": p.failed,
    }


def trial_json(study: OpenStudy, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial as plain data."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "kind": kind_of(trial),
        f"test_{key_of(study.spec.metric)}": trial.value,
        "parameters": study.record(trial).parameters,
        "forward_flops": study.record(trial).forward_flops,
        "latency_ms": study.record(trial).latency_ms,
        "config": study.config(trial).model_dump(mode="json"),
    }


def trials_csv(report: Report) -> str:
    """Return every trial as a row: state, scores, hyperparameters, cost.

    Text is safe to open in a spreadsheet; `open_study` gives it as it is.
    """
    frame = trials_frame(report.study)
    for column in frame.select_dtypes(["object", "string"]):
        frame[column] = frame[column].map(in_spreadsheet, na_action="ignore")
    return str(frame.to_csv(index=False))
