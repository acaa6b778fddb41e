"""A race for the best network on Fashion-MNIST within some minutes, against other tools.

    python tests/benchmarks/race.py run --who optuna --minutes 20 --data DATA --out FOLDER
    python tests/benchmarks/race.py table --out FOLDER

`run` is one contestant alone: hpsearch, optuna, ray, keras, random or one-epoch. DATA holds
Fashion-MNIST as torchvision keeps it. FOLDER/WHO-SEED gets what it says, a JSON line for each trial
and epoch with the seconds since its start; imports and preparing count. All have two cores, one
split, and the space of `race.yaml`. Peers run in an environment of their own, which is made under
FOLDER/environments, or is that of `--python`. `table` shows all that ran in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from racing import environment, images, ours, same_path, table
from racing.lines import BEGAN, Lines

HERE = Path(__file__).resolve().parent
PEERS = {"optuna": "plain_optuna", "ray": "ray_asha", "keras": "keras_hyperband"}
BASELINES = ("random", "one-epoch")
CORES = 2
GRACE_S = 90.0  # after its minutes, to end by itself; what it says then is not counted
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # left to each tool


def run(asked: argparse.Namespace) -> None:
    """Run one contestant in a folder of its own, from its start to its score on validation."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for name in LIMITS:
        os.environ.pop(name, None)
    asked.out.mkdir(parents=True, exist_ok=True)
    out = asked.out.resolve()
    section = images.data_section(asked.data.resolve(), asked.images, out)
    splits = images.write_splits(section, out)
    folder = out / f"{asked.who}-{asked.seed}"
    folder.mkdir()
    seconds = 60 * asked.minutes
    python, versions = None, {name: version(name) for name in ("torch", "optuna")}
    if asked.who in PEERS:
        python = asked.python or environment.made(out / "environments")
        versions = environment.versions(python)
    study = ours.study_of(asked.study, section, asked.minutes, asked.seed, asked.precision)
    lines = Lines(folder / "lines.jsonl", time.time())
    lines.say("start", who=asked.who, minutes=asked.minutes, seed=asked.seed, versions=versions)
    if python is not None:
        given = [folder, splits, seconds, asked.seed]
        raced(python, PEERS[asked.who], [str(word) for word in given], lines)
    elif asked.who in BASELINES:
        with images.cache(folder / "cache"):
            same_path.run(asked.who, ours.spec_of(study), folder, lines.began, seconds)
    else:
        ours.run(study, folder, lines, seconds, GRACE_S)
    print(table.tables(out))


def raced(python: Path, peer: str, given: list[str], lines: Lines) -> None:
    """Run a peer for its seconds, end it, and let it judge its best on validation."""
    folder, splits, seconds, seed = given
    environ = os.environ | {"PYTHONPATH": str(HERE), BEGAN: str(lines.began)}
    command = [str(python), "-m", f"racing.{peer}", folder, splits]
    with (Path(folder) / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*command, seconds, seed],
            env=environ, stdout=said, stderr=said, cwd=folder, start_new_session=True,
        )  # fmt: skip
        try:
            left = lines.began + float(seconds) - time.time()
            process.wait(max(0.0, left))
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(process)
        lines.say("ended", code=process.returncode)
        if (Path(folder) / "best").exists():  # once more, without time, to judge it on validation
            subprocess.run([*command, "0", "0"], env=environ, stdout=said, stderr=said, check=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, and whatever it has started itself."""
    started = descendants(process.pid)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in started:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes below a process, Linux's own record of them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [below for child in children for below in (int(child), *descendants(int(child)))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    racing = commands.add_parser("run", help="run one contestant")
    racing.add_argument("--who", choices=["hpsearch", *PEERS, *BASELINES], required=True)
    racing.add_argument("--minutes", type=float, default=20)
    racing.add_argument("--data", type=Path, required=True)
    racing.add_argument("--out", type=Path, required=True)
    racing.add_argument("--seed", type=int, default=0)
    racing.add_argument("--images", type=int, help="only so many, to see that it works")
    racing.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    racing.add_argument("--python", type=Path, help="of an environment with the pinned peers")
    racing.add_argument("--study", type=Path, default=ours.STUDY, help="instead of race.yaml")
    racing.set_defaults(command=run)
    showing = commands.add_parser("table", help="show all that ran")
    showing.add_argument("--out", type=Path, required=True)
    showing.set_defaults(command=lambda asked: print(table.tables(asked.out)))
    asked = parser.parse_args()
    asked.command(asked)


if __name__ == "__main__":
    main()
