"""A script that every fresh process would run again from the top is refused, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from made_workers import environment

SCRIPT = """
from pathlib import Path

import hpsearch
from hpsearch.study.spec import StudySpec

spec = StudySpec.model_validate({
    "name": "small",
    "data": {"source": "digits"},
    "space": {"filters": [4, 8], "layers": 1, "units1": 8, "units2": 8},
    "search": {"trials": 2, "epochs": 1},
})
hpsearch.launch(spec, "sqlite:///small.db", runs=Path("runs"), workers=2)
"""


def test_a_script_without_a_guard_ends_with_one_error_that_says_to_guard_it(
    tmp_path: Path,
) -> None:
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment() | {"PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1, ended.stderr
    assert ended.stderr.count("hpsearch.errors.WorkerError: ") == 1
    assert f"{script} starts hpsearch wherever it is imported" in ended.stderr
    assert "if __name__ == '__main__':" in ended.stderr.splitlines()[-1]
