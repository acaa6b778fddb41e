"""Validation that others open while a search goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_studies import spec_of

from hpsearch.evaluation.seal import Seal
from hpsearch.search.progress import Progress
from hpsearch.service.launch import Watcher, launch
from hpsearch.storage.storage import open_storage

SPACE = {"filters": 8, "layers": 1, "units1": 16, "units2": [16, 32]}


def test_an_opening_while_the_search_goes_on_has_to_be_asked_for_at_its_end(tmp_path: Path) -> None:
    url, asked = f"sqlite:///{tmp_path}/db.sqlite", []
    written: list[Any] = []
    spec = spec_of("made", space=SPACE, trials=1, epochs=1)

    def another_opens(progress: Progress) -> None:
        if not written:
            storage = open_storage(url)
            fingerprint = progress.study.fingerprint
            written.append(storage.openings.write("other", fingerprint, 3, "me", "final choice"))
            storage.close()

    def opened_before(seal: Seal, said: bool) -> bool:
        asked.append(seal.times)
        return said

    watcher = Watcher(searching=another_opens, opened_before=opened_before)
    outcome = launch(spec, url, runs=tmp_path, workers=1, watcher=watcher)
    assert asked == [] and written, "nobody had opened it when the search began"
    assert outcome.unopened is not None and "for trial 3 of study 'other'" in outcome.unopened
    assert (outcome.report.openings, outcome.report.final) == (0, None)
    assert outcome.report.progress.state == "done" and not outcome.already_done
    again = launch(spec, url, runs=tmp_path, workers=1, watcher=watcher)
    assert asked == [1] and again.unopened is not None and again.already_done
    opened = launch(spec, url, runs=tmp_path, workers=1, open_again=True)
    assert opened.unopened is None and opened.report.final is not None
    assert (opened.report.openings, opened.report.seal.times) == (1, 2)
