"""The environment of the peers: their pinned packages over the torch that hpsearch trains with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PINS = ("optuna==5.0.0", "ray[tune]==2.60.0", "keras==3.15.1", "keras-tuner==1.4.8")
SAME = ("torch", "torchvision", "numpy", "pillow")  # as ours, so that only the tools differ
SAY = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def made(cache: Path) -> Path:
    """Return the interpreter of the peers' environment, which is made where it is not there yet.

    It sees the packages of this process's environment, too: a torch of its own would be gigabytes,
    and might be another one.
    """
    ours = sysconfig.get_path("purelib")
    key = hashlib.sha256("\n".join([sys.version, ours, *PINS]).encode()).hexdigest()[:12]
    folder = cache / f"peers-{key}"
    python = folder / "bin" / "python"
    if (folder / "whole").exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
    (folder / "whole").touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Return what an interpreter has of the peers' packages and torch; SystemExit for others.

    An environment that was made elsewhere has to have the pinned ones.
    """
    pinned = {pin.partition("==")[0].partition("[")[0]: pin.rpartition("==")[2] for pin in PINS}
    names = [*pinned, *SAME]
    ran = subprocess.run([python, "-c", SAY, *names], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{python}: not all of {', '.join(names)} are there:\n{ran.stderr}")
    found: dict[str, str] = json.loads(ran.stdout)
    others = {name: found[name] for name, pin in pinned.items() if found[name] != pin}
    if others:
        raise SystemExit(f"{python}: these are not the pinned versions: {others}")
    return found
