"""The lowest versions that pyproject.toml declares still launch a study; run by hand, -m lowest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
STUDY = """
name: smoke
data: {source: digits}
space: {filters: [4, 8], layers: 1, units1: 16, units2: 16}
search: {trials: 2, epochs: 2}
"""


def declared() -> dict[str, Version]:
    """Return the lowest version of every requirement of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest: dict[str, Version] = {}
    for requirement in map(Requirement, project["dependencies"]):
        (least,) = (s.version for s in requirement.specifier if s.operator == ">=")
        lowest[canonicalize_name(requirement.name)] = Version(least)
    return lowest


def installed_in(uv: str, venv: Path, names: frozenset[str]) -> dict[str, Version]:
    """Return the versions that an environment has of some packages."""
    listed = [uv, "pip", "list", "--python", str(venv), "--format", "json"]
    found = json.loads(subprocess.run(listed, check=True, capture_output=True, text=True).stdout)
    return {of["name"]: Version(of["version"]) for of in found if of["name"] in names}


@pytest.mark.lowest
@pytest.mark.timeout(3600)
def test_a_small_study_runs_on_the_lowest_declared_versions(tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not here: pip install uv")
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--python", sys.executable, str(venv)], check=True)
    words = [uv, "pip", "install", "--resolution", "lowest-direct", "-e", str(ROOT)]
    # Without PYTHONPATH: the packages of the new environment are what is tested.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own |= {"VIRTUAL_ENV": str(venv), "HPSEARCH_CACHE": str(tmp_path / "cache")}
    installed = subprocess.run(words, env=own, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"the lowest versions cannot be installed here: {installed.stderr[-500:]}")
    lowest = declared()
    assert installed_in(uv, venv, frozenset(lowest)) == lowest, "what is declared is what is tried"
    (tmp_path / "smoke.yaml").write_text(STUDY)
    hpsearch = str(venv / "bin" / "hpsearch")
    printed = ""
    for words in (
        [hpsearch, "launch", "smoke.yaml", "--workers", "1"],
        [hpsearch, "report", "smoke"],
    ):
        done = subprocess.run(
            words, cwd=tmp_path, env=own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    assert "validation" in printed
