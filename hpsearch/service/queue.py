"""Entering a study with its budget, for workers that are there or come later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpsearch.data.prepare import no_progress, prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sources.decoded import Progress
from hpsearch.evaluation.seal import OpenedBefore, as_asked, seal_of
from hpsearch.search.entering import enter, start_lines
from hpsearch.search.starts import starts_in
from hpsearch.search.stored_study import is_exhausted
from hpsearch.service.planned import Planning
from hpsearch.storage.storage import Storage, opened_storage
from hpsearch.storage.studies import DONE, StudyRow
from hpsearch.study.spec import StudySpec


def queue(
    spec: StudySpec,
    storage_url: str,
    *,
    data_root: str | Path | None = None,
    final: bool = True,
    open_again: bool = False,
    priority: int | None = None,
    decoding: Progress = no_progress,
    on_prepared: Callable[[Prepared], None] = lambda prepared: None,
    opened_before: OpenedBefore = as_asked,
    planned: Callable[[StudySpec, str], None] = lambda spec, words: None,
    starting: Callable[[list[str]], None] = lambda lines: None,
) -> bool:
    """Enter a study for the workers of a storage to serve; False where it was finished before.

    The data is prepared here, once, so that what cannot work is known now and not tomorrow. Torch
    is not loaded for it, but to plan a budget of time: for the workers that this machine would have
    by itself, and at its speed. Whoever serves the study opens validation again only where that was
    asked for here; `opened_before` is asked where others have opened it.
    """
    prepared = prepare(spec.data, data_root, decoding)
    on_prepared(prepared)
    with opened_storage(storage_url, create=True) as storage:
        planning = Planning(storage, spec, prepared, final=final)
        spec = planning.spec
        if planning.said:
            planned(spec, planning.said)
        enter(storage, spec, prepared)
        planning.keep()
        seal = seal_of(storage, spec.name)
        if final and seal.needs_asking:
            open_again = opened_before(seal, open_again)
        storage.ledger.set_open_again(spec.name, open_again)
        row = storage.ledger.study(spec.name)
        if row is not None and is_finished(storage, row, spec):
            return False
        if row is not None and not row.claimed:
            starting(start_lines(storage, spec.name))
        open_study(storage, spec, final, priority)
        return True


def is_finished(storage: Storage, row: StudyRow, spec: StudySpec) -> bool:
    """Whether a study is done, and neither the budget nor `confirm` asks for anything more."""
    if row.state != DONE:
        return False
    before, was_s, now_s = row.spec, row.timeout_s, spec.search.timeout
    more = spec.candidates() > before.candidates() or spec.confirm.seeds > before.confirm.seeds
    if spec.candidates() and more:
        return False
    in_time = was_s is not None and now_s is not None and now_s <= was_s
    if spec.search.is_planned:  # whose search ends where no other trial would end in time
        return in_time and spec.trial_budget() <= before.trial_budget()
    if spec.trial_budget() > row.trials:
        return is_exhausted(storage, spec)
    return row.claimed >= row.trials or in_time


def open_study(storage: Storage, spec: StudySpec, final: bool, priority: int | None) -> None:
    """Open an entered study with the budget of its file."""
    storage.ledger.begin_launch(
        spec.name,
        spec.model_dump_json(),
        spec.trial_budget(with_idle=starts_in(storage, spec.name) is None),
        spec.search.timeout,
        wants_final=final,
        priority=priority,
        confirm=spec.candidates() > 0,
    )
