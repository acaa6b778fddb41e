"""The commands and Python blocks of README and docs are run, page by page, in order.

Every page has a folder of its own, as a user has who follows it. Made small, to take few minutes:

- the shipped studies, and those that a page shows, have two trials of one epoch and no baseline;
- Fashion-MNIST is 300 images of noise, and `my-pictures` three classes (the README writes its own).

Replaced, by programs that stand in their place:

- installing: `python3 -m venv` and `pip install` only look whether what is asked for exists;
- `hpsearch worker` would wait for ever, and ends when nothing is left to do;
- `hpsearch dashboard` listens on a free port, is asked for its studies, and is ended.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, write_folder, write_idx_set
from pages import PAGES, ROOT, Block, blocks
from pydantic import ValidationError
from ruamel.yaml import YAML

from hpsearch.study.spec import StudySpec

SMALL: dict[str, Any] = {"trials": 2, "epochs": 1, "precision": "fp32"}
BARE = ("README.md", "python.md")  # they launch `digits` themselves

HPSEARCH = f"""#!{sys.executable}
import os, signal, socket, subprocess, sys, urllib.request

words = sys.argv[1:]
program = [sys.executable, "-m", "hpsearch"]
if words[:1] == ["worker"] and "--until-idle" not in words:
    words.append("--until-idle")
if words[:1] == ["dashboard"]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    server = subprocess.Popen([*program, *words, "--port", port], stderr=subprocess.PIPE, text=True)
    said = server.stderr.readline()
    assert f":{{port}}/" in said, said
    address = f"http://127.0.0.1:{{port}}/api/studies"
    with urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(address) as answer:
        assert b"digits" in answer.read()
    server.send_signal(signal.SIGTERM)
    sys.exit(0 if server.wait() in (0, 130) else 1)
os.execv(sys.executable, [*program, *words])
"""
EXTRAS = sorted(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
)
PIP = f"""#!{sys.executable}
import sys

known = {["."] + [f".[{extra}]" for extra in EXTRAS]}
assert sys.argv[1:3] == ["install", "-e"] and sys.argv[3:] and sys.argv[3] in known, sys.argv
"""
PYTHON3 = f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" && ln -s "$(dirname "$0")"/hpsearch "$(dirname "$0")"/pip "$3/bin"
else
    exec {sys.executable} "$@"
fi
"""
STAND_INS = {"hpsearch": HPSEARCH, "pip": PIP, "python3": PYTHON3, "python": PYTHON3}


def small(text: str) -> str:
    """Return a study file with few trials and epochs; one that is not valid as it is."""
    written = YAML(typ="safe").load(StringIO(text))
    try:
        StudySpec.model_validate(written)
    except ValidationError:
        return text
    written["search"] = written.get("search", {}) | SMALL
    written["search"].pop("early_stopping", None)
    written.pop("confirm", None)
    written["final"] = written.get("final", {}) | {"baseline": False}
    out = StringIO()
    YAML(typ="safe").dump(written, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the blocks, with the programs that stand in others' place."""
    folder = tmp_path_factory.mktemp("bin")
    for name, text in STAND_INS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    root = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    return os.environ | {"PATH": path, "PYTHONPATH": root, "COLUMNS": "100"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small studies and small data, before anything was launched."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "studies").mkdir()
    for path in (ROOT / "studies").iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            (folder / "studies" / path.name).write_text(
                small(text) if path.suffix == ".yaml" else text, encoding="utf-8"
            )
    data = tmp_path_factory.mktemp("data")
    subprocess.run(
        [sys.executable, str(ROOT / "studies" / "make_data.py"), str(data)],
        check=True,
        capture_output=True,
    )
    classes = np.arange(200) % 10
    images, official = noise(200, 28, 28), noise(100, 28, 28, seed=1)
    write_idx_set(data, "fashion-mnist", (images, classes), (official, classes[:100]))
    (folder / "data").symlink_to(data)
    return folder


@pytest.fixture(scope="module")
def launched(
    bare: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same folder, after `digits` was launched, and with pictures."""
    folder = tmp_path_factory.mktemp("launched") / "site"
    shutil.copytree(bare, folder, symlinks=True)
    write_folder(folder / "my-pictures", {"cat": 60, "dog": 60, "owl": 60})
    words = [sys.executable, "-m", "hpsearch", "launch", "studies/digits.yaml", "--workers", "1"]
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def run(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """Run a block as its reader would; return what it printed. It has to end as the page says."""
    if block.language == "bash":
        words = ["bash", "-euo", "pipefail", "-c", block.text]
    else:
        script = folder / f"block_{block.line}.py"
        script.write_text(block.text, encoding="utf-8")
        words = [sys.executable, script.name]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
        check=False,
    )
    expected = re.fullmatch(r"exit code (\d+)", block.mark)
    assert done.returncode == (int(expected[1]) if expected else 0), f"{block}:\n{done.stdout}"
    assert "Traceback" not in done.stdout, f"{block}:\n{done.stdout}"
    return done.stdout


def check_output(block: Block, printed: str) -> None:
    """Compare what a page shows with what was printed; `...` stands for anything."""
    pattern = re.escape(block.text.strip()).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{block}: printed was\n{printed}"


TO_RUN = [p for p in PAGES if any(b.language in ("bash", "python") for b in blocks(p))]


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.name)
def test_what_a_page_says_can_be_done(
    page: Path, bare: Path, launched: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(bare if page.name in BARE else launched, folder, symlinks=True)
    printed: str | None = None
    for block in blocks(page):
        if block.why_not_run is not None:
            continue
        if block.file is not None:
            (folder / block.file).write_text(
                block.text if block.mark else small(block.text), encoding="utf-8"
            )
        if block.mark == "output":
            assert printed is not None, f"{block}: of what?"
            check_output(block, printed)
        if block.language in ("bash", "python"):
            printed = run(block, folder, environment)
