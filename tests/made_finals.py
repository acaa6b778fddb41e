"""Studies whose search is over, their finals, and processes of finals in which something is amiss.

Those stand in the place of `supervised.RUN_FINAL` and `RUN_BASELINE`, and call the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from foreign_draws import from_a_thread
from made_workers import work_here
from undisturbed import digits_spec

from hpsearch.data.prepare import prepare
from hpsearch.reports.report import Report, make_report
from hpsearch.search import attempt
from hpsearch.search.stored_study import enter_study
from hpsearch.service.conclude import conclude, write_results
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE
from hpsearch.training.loop import train

# The first trial takes the first values, and a rate of 1e-5 learns next to nothing.
SPACE = {"learning_rate": [1e-5, 1e-2], "filters": 4, "layers": 1, "dropout": 0.3}


def searched(storage: Storage, place: Path, **search: Any) -> Path:
    """Search the study `small` to its end; return the folder of its data."""
    spec = digits_spec("small", SPACE, **{"trials": 2, "epochs": 3, "seed": 1} | search)
    prepared = prepare(spec.data)
    enter_study(storage, spec, prepared)
    storage.ledger.begin_launch("small", spec.model_dump_json(), spec.trial_budget(), None)
    work_here(storage, "small", place)
    return prepared.folder


def measure(storage: Storage, place: Path, prepared: Path, **options: Any) -> bool | None:
    """Conclude it, as launch and pool do."""
    found = conclude(storage, "small", "me", prepared, "cpu", place / "runs",
                     Checkpoints(str(place / "checkpoints"), 0.0), **options)  # fmt: skip
    if found is not None:
        write_results(make_report(storage, "small"), place / "runs")
    return found


def assert_concluded_once(storage: Storage, place: Path) -> dict[str, Any]:
    """One opening, measured to its end; every file there, and no other; done. Return the final."""
    report = make_report(storage, "small")
    row = storage.ledger.study("small")
    assert row is not None and row.state == DONE
    (opening,) = report.seal.mine
    assert opening.result is not None
    final = opening.result.as_json()
    assert final["test"]["accuracy"] == report.study.best().value  # type: ignore[union-attr]
    assert final["baseline"]["curve"] == without_times(final, report)
    files = {path.name for path in (place / "runs").iterdir()}
    assert files == {"best.yaml", "mistakes.png", "model.safetensors", "report.md", "trials.csv"}
    assert not list((place / "checkpoints").rglob("*.ckpt"))
    return final


def without_times(final: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """The baseline's curve as the search had it, in the final's own times."""
    trial = next(t for t in report.study.trials if t.number == final["baseline"]["trial"])
    told = final["baseline"]["curve"]
    return [
        searched | {"duration_s": again["duration_s"]}
        for searched, again in zip(trial.user_attrs["curve"], told, strict=True)
    ]


# Processes


def _real(name: str) -> Callable[..., Any]:
    from hpsearch.evaluation import final

    found: Callable[..., Any] = getattr(final, name)
    return found


def final_beside_draws(*arguments: Any) -> Any:
    with from_a_thread():
        return _real("run_final")(*arguments)


def baseline_beside_draws(*arguments: Any) -> Any:
    with from_a_thread(seed=1):
        return _real("run_baseline")(*arguments)


def _short_of_memory() -> None:
    """Let trainings of whole batches fail after an epoch, as they do on a full GPU."""

    def trained(config: Any, *others: Any) -> Any:
        for number, epoch in enumerate(train(config, *others)):
            if config.micro_batches == 1 and number == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            yield epoch

    vars(attempt)["train"] = trained


def final_short_of_memory(*arguments: Any) -> Any:
    _short_of_memory()
    return _real("run_final")(*arguments)


def baseline_short_of_memory(*arguments: Any) -> Any:
    _short_of_memory()
    return _real("run_baseline")(*arguments)


def late_baseline(tell: Any, order: Any, *others: Any) -> Any:
    return _real("run_baseline")(tell, replace(order, timeout_s=1e-4), *others)
