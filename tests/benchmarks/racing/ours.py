"""hpsearch in the race: a launch of the study file, and a look at its storage twice a second."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from racing.lines import Lines
from ruamel.yaml import YAML

from hpsearch.study.searching import Search
from hpsearch.study.spec import StudySpec

LOOK_EVERY_S = 0.5
STUDY = Path(__file__).parents[1] / "race.yaml"
NEW = """
SELECT e.trial_intermediate_value_id, t.trial_id, t.number, e.step, e.intermediate_value
FROM trial_intermediate_values AS e JOIN trials AS t ON t.trial_id = e.trial_id
WHERE e.trial_intermediate_value_id > ? ORDER BY e.trial_intermediate_value_id
"""
BEGUN = "SELECT trial_id, number FROM trials WHERE trial_id > ? AND number IS NOT NULL"
PARAMS = "SELECT param_name, param_value FROM trial_params WHERE trial_id = ?"
COMPLETE = "SELECT number FROM trials WHERE state = 'COMPLETE'"


def study_of(
    file: Path, section: dict[str, Any], minutes: float, seed: int, precision: str
) -> dict[str, Any]:
    """Return the study of a race: the file's, with its data, minutes and seed."""
    study: dict[str, Any] = YAML(typ="safe").load(file)
    study["data"] = section
    search = study["search"] | {"seed": seed}
    if precision != "auto":
        search["precision"] = precision
    search.pop("minutes", None)
    if "minutes" in Search.model_fields:
        search["minutes"] = minutes
    else:  # a version without planned budgets
        search |= {"timeout": f"{round(60 * minutes)}s", "trials": 10_000}
    study["search"] = search
    return study


def spec_of(study: dict[str, Any]) -> StudySpec:
    """Return a study's specification, for baselines that have no budget of its kind."""
    search = {k: v for k, v in study["search"].items() if k != "minutes"}
    return StudySpec.model_validate(study | {"search": search})


def run(study: dict[str, Any], folder: Path, lines: Lines, seconds: float, grace_s: float) -> None:
    """Launch a study in a fresh folder and a cache of its own, and say what comes of it."""
    (folder / "study.json").write_text(json.dumps(study, indent=2))  # JSON is YAML
    database = folder / "study.db"
    command = [sys.executable, "-m", "hpsearch", "launch", str(folder / "study.json"), "--json"]
    command += ["--storage", f"sqlite:///{database}", "--runs", str(folder / "runs")]
    environment = os.environ | {"HPSEARCH_CACHE": str(folder / "cache")}
    watch = Watch(database, lines)
    with (folder / "report.json").open("w") as report, (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=report, stderr=said)
        try:
            while process.poll() is None and time.time() < lines.began + seconds + grace_s:
                time.sleep(LOOK_EVERY_S)
                watch.look()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
    watch.look()
    lines.say("ended", code=process.returncode)
    final = json.loads((folder / "report.json").read_text() or "{}").get("final")
    if final is not None:
        lines.validation(final["validation"]["accuracy"], final["test"]["accuracy"])


class Watch:
    """Sees epochs and ends of trials in a storage, each once."""

    def __init__(self, database: Path, lines: Lines) -> None:
        self._database, self._lines = database, lines
        self._epoch = self._trial = -1
        self._complete: set[int] = set()

    def look(self) -> None:
        """Say what is new since the last look; nothing while the storage is not there yet."""
        if not self._database.exists():
            return
        with (
            contextlib.suppress(sqlite3.OperationalError),  # its tables are being made
            contextlib.closing(
                sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)
            ) as connection,
        ):
            self._look(connection)

    def _look(self, connection: sqlite3.Connection) -> None:
        for trial_id, number in connection.execute(BEGUN, (self._trial,)):
            self._trial = trial_id
            self._lines.begun(number, {})
        for row, trial_id, number, step, value in connection.execute(NEW, (self._epoch,)):
            if step == 1:  # what was sampled is written with the first epoch at the latest
                self._lines.say(
                    "sampled", trial=number, config=dict(connection.execute(PARAMS, (trial_id,)))
                )
            self._epoch = row
            self._lines.epoch(number, step, value)
        for (number,) in connection.execute(COMPLETE):
            if number not in self._complete:
                self._complete.add(number)
                self._lines.complete(number)
