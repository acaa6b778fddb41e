"""Other tools, each in an environment of its own, where its own code is asked and told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replays.counting import Spent

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """A tool: its environment and what is installed there, its script here and its name in it."""

    environment: str
    packages: tuple[str, ...]
    script: str
    tool: str


SYNE_TUNE = ("syne-tune", ("syne-tune==0.16.0",), "peer_syne_tune.py")
SYNE_TUNE_OLD = ("syne-tune-0.13", ("syne-tune==0.13.0",), "peer_syne_tune_old.py")
NEPS = ("neps", ("neural-pipeline-search==0.17.0",), "peer_neps.py")
SMAC = ("smac", ("smac==2.4.1",), "peer_smac.py")
PEERS = {
    "Syne Tune, ASHA stopping": Peer(*SYNE_TUNE, "asha"),
    "Syne Tune, ASHA promotion": Peer(*SYNE_TUNE_OLD, "promotion"),
    "Syne Tune, PASHA": Peer(*SYNE_TUNE_OLD, "pasha"),
    "NePS, PriorBand": Peer(*NEPS, "priorband"),
    "NePS, PriorBand on ASHA": Peer(*NEPS, "priorband-asha"),
    "SMAC3, multi-fidelity": Peer(*SMAC, "multi-fidelity"),
}


def asked(peer: Peer, folder: Path, table: Path, workers: int, seeds: Sequence[int]) -> list[Spent]:
    """Return what a peer spends for each seed; fewer where its script ends early, and says why."""
    python = environment(peer, folder)
    script = TESTS / "replays" / peer.script
    numbers = [str(min(seeds)), str(max(seeds) + 1), str(workers)]
    ran = subprocess.run(
        [str(python), str(script), str(table), peer.tool, *numbers],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "ignore"},
    )
    if ran.returncode:
        print(f"{peer.script} {peer.tool} ended with {ran.returncode}", file=sys.stderr)
    return [Spent(*json.loads(line)) for line in ran.stdout.splitlines() if line.startswith("[")]


def environment(peer: Peer, folder: Path) -> Path:
    """Return the Python of a peer's environment, which is made where it is missing."""
    root = folder / peer.environment
    python = root / "bin" / "python"
    if not (root / "complete").exists():
        venv.create(root, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *peer.packages], check=True)
        (root / "complete").touch()
    return python
