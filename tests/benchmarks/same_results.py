"""Whether another build of hpsearch comes to the same results: trials, curves, final and exports.

    python tests/benchmarks/same_results.py --data DATA --other CHECKOUT [--study digits ...]

Launches shipped studies with both builds, one worker each and one after the other, in folders,
caches and storages of their own, cut to `TRIALS` trials so that each takes a minute or two. DATA
holds Fashion-MNIST and `fsdd`. Prints a table of what was compared, and every difference; ends with
1 where there is one. Times, places and machines are left out, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parents[2]
TRIALS = {"digits": 12, "families": 5, "spoken-digits": 4, "digit-pairs": 6}
INCIDENTAL = {"duration_s", "started_at", "weights", "weights_sha256", "root", "epoch_s"}
SCORES = ("accuracy", "macro_f1", "mean_average_precision", "mse", "mae", "r2")  # one is printed
RENAMED = {"told": "predicted", "hits": "correct"}  # keys of records, by what they were called


def study_of(name: str, data: Path) -> dict[str, Any]:
    """Return a shipped study with fewer trials, and its data where it lies."""
    study: dict[str, Any] = YAML(typ="safe").load(HERE / "studies" / f"{name}.yaml")
    # `auto` measures, and may find another precision faster while the machine is busy
    study["search"] |= {"trials": TRIALS[name], "precision": "fp32"}
    study["search"].pop("timeout", None)
    if name == "families":
        study["search"]["epochs"] = 1
        study["final"] = {"baseline": False}
    if "root" in study["data"]:
        study["data"]["root"] = str(data / study["data"]["root"])
    return study


def launched(build: Path, place: Path, name: str, study: dict[str, Any]) -> dict[str, Any]:
    """Launch a study with one build and return what it came to."""
    place.mkdir(parents=True)
    YAML(typ="safe").dump(study, place / "study.yaml")
    url = f"sqlite:///{place}/study.db"
    where = {"PYTHONPATH": str(build), "HPSEARCH_CACHE": str(place / "cache")}
    environment = os.environ | where | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "hpsearch", "launch", str(place / "study.yaml")]
    command += ["--storage", url, "--runs", str(place / "runs"), "--workers", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{build}: {name}: {done.stderr[-2000:]}")
    return results(url, place / "runs" / name, name)


def results(url: str, run: Path, name: str) -> dict[str, Any]:
    """Return trials, confirmations, final and export of a study, as plain data."""
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    with storage.engine.connect() as connection:
        rows = {
            table: [
                json.loads(text)
                for (text,) in connection.exec_driver_sql(
                    f"SELECT result FROM {table} ORDER BY {order}"
                )
            ]
            for table, order in (
                ("hpsearch_openings", "id"),
                ("hpsearch_confirmations", "trial_number, repeat"),
            )
        }
    storage.engine.dispose()
    (final,) = rows["hpsearch_openings"]
    exported = YAML(typ="safe").load(run / "best.yaml")
    return {
        "states": [t.state.name for t in trials],
        "parameters": [t.params for t in trials],
        "scores": [t.value for t in trials],
        "epochs": [t.intermediate_values for t in trials],
        "curves": [plain(t.user_attrs.get("curve")) for t in trials],
        "configurations": [t.user_attrs.get("seed") for t in trials],
        "confirmations": plain(rows["hpsearch_confirmations"]),
        "final": plain({key: final[key] for key in ("train", "test", "validation", "config")}),
        "mistakes": plain(final.get("mistakes")),
        "best.yaml": plain(exported["config"]),
    }


def plain(value: Any) -> Any:
    """Return a record without times and places, and its keys by today's names."""
    if isinstance(value, str) and value[:1] in "[{":
        return plain(json.loads(value))
    if isinstance(value, dict):
        return {RENAMED.get(k, k): plain(v) for k, v in value.items() if k not in INCIDENTAL}
    return [plain(v) for v in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Yield each place where two records differ in what both builds know, or lack."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            if key not in other:
                continue  # recorded since
            if key not in one:
                yield f"{where}.{key}: is no longer there"
            else:
                yield from differences(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif one != other:
        yield f"{where}: {one!r:.200} here, {other!r:.200} there"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--study", choices=TRIALS, nargs="+", default=list(TRIALS))
    asked = parser.parse_args()
    builds = {"here": HERE, "there": asked.other.resolve()}
    failed = False
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        data.mkdir()
        for target, link in (("FashionMNIST", "data/FashionMNIST"), ("fsdd/recordings", "")):
            at = data / (link or "recordings")
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(asked.data.resolve() / target)
        make = [sys.executable, str(HERE / "studies" / "make_data.py"), str(data)]
        subprocess.run(make, check=True, capture_output=True, env=os.environ)
        for study in asked.study:
            spec = study_of(study, data)
            here, there = (
                launched(path, Path(name) / build / study, study, spec)
                for build, path in builds.items()
            )
            found = list(differences(here, there))
            failed |= bool(found)
            epochs = sum(len(values) for values in here["epochs"])
            counts = f"{len(here['states'])} trials, {epochs} epochs, {len(here['confirmations'])}"
            validation = here["final"]["validation"]
            score = next(f"{k} {validation[k]}" for k in SCORES if k in validation)
            print(f"{study}: {counts} confirmations, validation {score}: {len(found)} differences")
            for line in found[:20]:
                print(f"  {line}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
