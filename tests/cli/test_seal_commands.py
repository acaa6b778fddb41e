"""A seal that others have opened, as its user meets it: before the search, at its end, after it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from made_commands import said

TINY = """
name: NAME
data: {source: digits, image_size: SIZE}
space: {filters: 8, layers: 1, units1: 16, units2: 16, dropout: [0.1, 0.2]}
search: {trials: 1, epochs: 1}
final: {baseline: false}
"""


def study(folder: Path, name: str, size: int = 8, more: str = "") -> str:
    text = TINY.replace("NAME", name).replace("SIZE", str(size)) + more
    (folder / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study of the digits has opened its validation."""
    place = tmp_path_factory.mktemp("seal")
    out, err = said(place, "launch", study(place, "first"), "--workers", "1")
    assert "was opened before" not in err and "opened once." in out
    return place


def test_check_says_who_has_opened_it_and_makes_no_storage(folder: Path, tmp_path: Path) -> None:
    file = study(folder, "looked", 12)
    words = " ".join(said(folder, "check", file)[0].split())
    assert "was opened before, for trial 0 of study 'first' on 20" in words
    assert "once before: optimistic (1 by study 'first')" in words
    told = json.loads(said(folder, "check", file, "--json")[0])["seal"]
    assert (told["openings_in_all"], told["sealed_examples"], told["seen_by_others"]) == (
        1, 179, 179
    )  # fmt: skip
    said(tmp_path, "check", study(tmp_path, "alone"))
    assert [p.name for p in tmp_path.iterdir()] == ["alone.yaml"]
    wrong = study(folder, "wrong", more="continues: frist\n")
    assert "studies here: first" in said(folder, "check", wrong, code=1)[1]
    wrong = study(tmp_path, "wrong", more="continues: first\n")
    assert "no study 'first'" in said(tmp_path, "check", wrong, code=1)[1]


def test_a_search_on_opened_data_ends_without_its_final_until_that_is_asked_for(
    folder: Path,
) -> None:
    file = study(folder, "second", 12)
    out, err = said(folder, "launch", file, "--workers", "1")
    before, _, after = err.partition("trial   0")
    assert "was opened before, for trial 0 of study 'first' on 20" in before
    assert "Validation was not opened" in after and "on validation" not in out
    assert f"hpsearch launch {file} --open-again" in after
    assert "has to be asked for with --open-again" in out
    told = json.loads(said(folder, "status", "second", "--json")[0])
    assert (told["state"], told["openings"], told["openings_in_all"]) == ("done", 0, 1)
    out, err = said(folder, "launch", file, "--workers", "1", "--open-again")
    assert "It will be opened once more at the end" in err
    assert "judged it |" not in out and "validation" in out
    words = "Validation was opened 2 times: optimistic (1 by this study, 1 by study 'first')."
    for command in ("report", "audit", "status"):
        assert words in " ".join(said(folder, command, "second")[0].split()), command
    assert "score is optimistic" in (folder / "runs/second/best.yaml").read_text()


def test_a_person_at_a_terminal_is_asked(folder: Path) -> None:
    ours, theirs = pty.openpty()
    launched = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "launch", study(folder, "asked"), "--workers", "1"],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, b"y\n")
    assert launched.stderr is not None
    _, words = launched.communicate(timeout=300)
    os.close(ours)
    assert launched.returncode == 0, words
    assert "Open it once more at the end?" in words and "Done in" in words
    assert json.loads(said(folder, "status", "asked", "--json")[0])["openings"] == 1


@pytest.mark.parametrize("asked", [True, False])
def test_workers_open_again_what_a_detached_study_asked_for(folder: Path, asked: bool) -> None:
    name = f"detached-{asked}"
    flags = ["--open-again"] if asked else []
    _, err = said(folder, "launch", study(folder, name), "--detach", *flags)
    assert "was opened before" in err
    said(folder, "worker", "--until-idle", "--workers", "1")
    told = json.loads(said(folder, "status", name, "--json")[0])
    assert (told["state"], told["openings"]) == ("done", int(asked))
    assert (folder / "runs" / name / "report.md").exists()


def test_a_study_that_continues_another_says_so(folder: Path) -> None:
    file = study(folder, "bigger", 12, "continues: first\n")
    out, _ = said(folder, "launch", file, "--workers", "1", "--no-final")
    assert "1 by study 'first', which this one continues" in " ".join(out.split())
    other = study(folder, "other", more="continues: first\n")
    text = (folder / other).read_text().replace("image_size: 8", "split: {seed: 1}")
    (folder / other).write_text(text)
    _, error = said(folder, "launch", other, "--workers", "1", code=1)
    assert "their data is not the same" in error and "examples were not in it" in error
