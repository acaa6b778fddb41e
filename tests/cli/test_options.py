"""What commands print: safe to see, and safe to copy."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from hpsearch.cli import options
from hpsearch.errors import StudyFileError


def test_a_command_to_be_copied_is_quoted() -> None:
    words = ("hpsearch", "launch", Path("my studies/a;b $(x).yaml"))
    assert shlex.split(options.command(*words)) == [str(word) for word in words]
    assert options.command("hpsearch", "train", "best.yaml") == "hpsearch train best.yaml"


def test_a_name_is_no_markup_and_moves_no_cursor() -> None:
    shown = io.StringIO()
    Console(file=shown, force_terminal=False).print(options.safe("[red]a[/red]\x1b[2J\nb"))
    assert shown.getvalue() == "[red]a[/red]\\x1b[2J\\nb\n"


def test_errors_reach_the_terminal_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    options.say("hpsearch: class 'a\x1b]0;title\x07'\nsecond line")
    assert capsys.readouterr().err == "hpsearch: class 'a\\x1b]0;title\\x07'\nsecond line\n"


@pytest.mark.parametrize("written", ["0", "-1", "many", "9" * 5000, "²", "1025", "1.5", ""])
def test_a_number_of_workers_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(StudyFileError, match="neither auto nor a number from 1 to 1024"):
        options.worker_count(written)


def test_a_budget_of_the_command_line_has_the_limits_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\ndata: {source: digits}\n")
    assert options.spec_of(path, 7, "30m").search.timeout == 1800
    with pytest.raises(StudyFileError, match="trials: 3000000000 is above 1,000,000"):
        options.spec_of(path, trials=3_000_000_000)
    with pytest.raises(StudyFileError, match=r"timeout: .* is above 31,622,400"):
        options.spec_of(path, timeout="9999d")
