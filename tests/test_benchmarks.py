"""The benchmarks can be run: each says what it measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_says_how_it_is_run(script: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert f"python tests/benchmarks/{script.name}" in ran.stdout


def test_every_benchmark_is_in_their_readme() -> None:
    text = (Path(__file__).parent / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for script in SCRIPTS:
        assert f"{script.name}" in text
