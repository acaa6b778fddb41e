"""The report in other forms: Markdown, plain data for scripts, a table of trials."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from hpsearch.results.confirm import confirm_json
from hpsearch.results.report import Report, chosen, sections
from hpsearch.results.seal_words import seal_json
from hpsearch.search.progress import Progress, epochs_of
from hpsearch.search.studies import OpenStudy
from hpsearch.study.tasks import key_of


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    out: list[str] = []
    for number, part in enumerate(sections(report)):
        out += ["#" * (1 if number == 0 else 2) + f" {part.title}", ""]
        out += [f"{line}  " for line in part.lines]
        if part.table is not None:
            aligned = ["---", *["---:"] * (len(part.table.header) - 1)]
            out += ["", _row(part.table.header), _row(tuple(aligned))]
            out += [_row(row) for row in part.table.rows]
        if part.picture is not None:
            out += ["", f"![{part.title}]({part.picture})"]
        out.append("")
    return "\n".join(out)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
        **seal_json(report.seal),
        "final": report.final,
    }


def counts(p: Progress) -> dict[str, int]:
    """Return the trials of a study by state."""
    return {
        "budget": p.budget,
        "running": len(p.running),
        "interrupted": p.interrupted,
        "complete": p.complete,
        "pruned": p.pruned,
        "failed": p.failed,
    }


def trial_json(study: OpenStudy, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial as plain data."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        f"test_{key_of(study.spec.metric)}": trial.value,
        "parameters": trial.user_attrs.get("parameters"),
        "config": study.config(trial).model_dump(mode="json"),
    }


def trials_csv(report: Report) -> str:
    """Return every trial as a row: state, scores, hyperparameters, cost."""
    import pandas as pd  # half a second to import, and needed here alone

    study = report.study
    rows = []
    for trial in study.sampled():
        config = study.config(trial).model_dump(mode="json", exclude={"data", "pretrained"})
        attrs = trial.user_attrs
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                f"test_{key_of(study.spec.metric)}": trial.value,
                "epochs_run": epochs_of(trial),
                "duration_s": attrs.get("duration_s"),
                "parameters": attrs.get("parameters"),
                "forward_flops": attrs.get("forward_flops"),
                "device": attrs.get("device"),
                "reason": attrs.get("reason"),
                **config,
            }
        )
    table = pd.DataFrame(rows).convert_dtypes()  # counts stay whole where some families have none
    return str(table.to_csv(index=False))
