"""How fast networks are trained: a study of hpsearch beside the loop of every tutorial.

    python tests/benchmarks/training.py --data DATA [--networks 16 64 112 resnet] [--repeats 3]

DATA holds Fashion-MNIST as torchvision keeps it. Both train the same networks on the same images,
with the same optimizer, schedule, batches of 64 and epochs; they take turns, and the table shows
medians. `images/s` is over everything: for the study its start, evaluation, storage and end too.
Then, on all cores at once: what share of a plain matrix product's speed a training reaches, and how
much faster than training evaluation is. Prints tables and JSON.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision import datasets, transforms

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.data.split import assign
from hpsearch.machine.children import SPAWN, child_environment, cores
from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.config import TrialConfig, has
from hpsearch.study.data import Data

BATCH = 64
RATE = 3e-3
HEAD = {"units1": 128, "units2": 64, "activation": "relu", "batch_size": BATCH}
FIRST = ["16", "64", "112", "resnet"]  # measured unless others are named
NETWORKS: dict[str, dict[str, Any]] = {
    "16": {"family": "alexnet", "filters": 16, "layers": 3},
    "64": {"family": "alexnet", "filters": 64, "layers": 3},
    "112": {"family": "alexnet", "filters": 112, "layers": 3},
    "resnet": {"family": "resnet", "filters": 16, "layers": 2, "block": "basic", "blocks": 1},
    "vgg": {"family": "vgg", "filters": 16, "layers": 3, "convolutions": 2},
    "googlenet": {"family": "googlenet", "filters": 40, "layers": 2, "reduction": 2},
    "senet": {
        "family": "senet",
        "filters": 16,
        "layers": 2,
        "block": "basic",
        "blocks": 1,
        "squeeze": 8,
        "squeeze_where": "all",
    },
}
PRODUCTS_S = 1.0  # how long matrix products are timed
STEPS = 60  # training steps between two looks at the clock


@contextmanager
def unzipped(root: Path) -> Iterator[Path]:
    """Yield a folder with Fashion-MNIST as torchvision wants it, unpacked."""
    raw = root / "FashionMNIST" / "raw"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "FashionMNIST" / "raw"
        place.mkdir(parents=True)
        for file in raw.glob("*.gz"):
            (place / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        yield Path(folder)


def study_of(
    network: dict[str, Any], root: Path, trials: int, epochs: int, seed: int
) -> dict[str, Any]:
    space = HEAD | network | {"learning_rate": RATE, "dropout": 0.1}
    return {
        "name": "benchmark",
        "data": {"source": "fashion-mnist", "root": str(root)},
        "space": space,
        "search": {
            "trials": trials,
            "epochs": epochs,
            "seed": seed,
            "sampler": "random",
            "pruner": "none",
        },
    }


def searched(
    network: dict[str, Any], root: Path, trials: int, epochs: int, seed: int
) -> tuple[float, list[float]]:
    """Run a whole study with all cores; return its seconds and the test accuracies."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.json"  # JSON is YAML
        file.write_text(json.dumps(study_of(network, root, trials, epochs, seed)))
        command = [sys.executable, "-m", "hpsearch", "launch", str(file), "--no-final"]
        command += ["--storage", f"sqlite:///{folder}/trials.db", "--runs", folder, "--json"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took_s = time.perf_counter() - began
        with (Path(folder) / "benchmark" / "trials.csv").open(encoding="utf-8") as lines:
            scores = [float(row["test_accuracy"]) for row in csv.DictReader(lines)]
    assert len(scores) == trials
    return took_s, scores


def tutorial(network: dict[str, Any], root: Path, epochs: int, seed: int) -> tuple[float, float]:
    """Train as every tutorial does; return the seconds and the test accuracy."""
    torch.manual_seed(seed)
    torch.set_num_threads(cores())
    pixels = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))])
    parts = [datasets.FashionMNIST(root, train=train, transform=pixels) for train in (True, False)]
    everything: ConcatDataset[Any] = ConcatDataset(parts)
    targets = torch.cat([part.targets for part in parts]).numpy()
    split = assign(targets, tuple(parts[0].classes), Data(source="digits").split)
    loader = DataLoader(Subset(everything, split.train.tolist()), BATCH, shuffle=True)
    config = config_of(network, epochs)
    model = build_model(config, ImageShape(1, 28, 28), 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=epochs * len(loader), cycle_momentum=False
    )
    began = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in DataLoader(Subset(everything, split.test.tolist()), 500):
                right += int((model(images).argmax(1) == labels).sum())
    return time.perf_counter() - began, right / len(split.test)


def config_of(network: dict[str, Any], epochs: int, **more: Any) -> TrialConfig:
    values: dict[str, Any] = {
        "pooling": "max", "batch_norm": True, "dropout": 0.1,
        "optimizer": "adamw", "learning_rate": RATE, "weight_decay": 1e-2,
        "schedule": "one-cycle", "patience": 2, "label_smoothing": 0.0, "flip": False,
        "shift": 0, "epochs": epochs, "seed": 0, "precision": "bf16", "threads": 1,
        "data": {"source": "digits", "fingerprint": "benchmark"},
    }  # fmt: skip
    if has(network["family"], "kernel_size"):
        values["kernel_size"] = 3
    return TrialConfig.model_validate(values | HEAD | network | more)


def side_by_side(names: list[str], root: Path, repeats: int, epochs: int) -> list[dict[str, Any]]:
    trials = cores()
    data = load_search_data(prepare(Data(source="fashion-mnist", root=str(root))).folder)
    images = len(data.train)
    rows = []
    for name in names:
        ours, theirs = [], []
        for repeat in range(repeats):
            with unzipped(root) as unpacked:
                theirs.append(tutorial(NETWORKS[name], unpacked, epochs, repeat))
            ours.append(searched(NETWORKS[name], root, trials, epochs, repeat))
        slow = epochs * images / statistics.median(took for took, _ in theirs)
        fast = trials * epochs * images / statistics.median(took for took, _ in ours)
        rows.append(
            {
                "network": name,
                "tutorial_images_per_s": round(slow),
                "study_images_per_s": round(fast),
                "ratio": round(fast / slow, 2),
                "tutorial_accuracy": round(statistics.mean(found for _, found in theirs), 4),
                "study_accuracy": round(statistics.mean(s for _, found in ours for s in found), 4),
                "tutorial_accuracies": [round(found, 4) for _, found in theirs],
                "study_accuracies": [round(s, 4) for _, found in ours for s in found],
            }
        )
        print(table(rows[-1:]), flush=True)
    return rows


def at_the_limit(name: str, precision: str, folder: str, tell: Any, barrier: Any) -> None:
    """One process of as many as there are cores: train, evaluate, multiply; tell the speeds."""
    from hpsearch.data.batches import batches_in_epoch, resident
    from hpsearch.models.cost import cost
    from hpsearch.training.loop import evaluate, step
    from hpsearch.training.state import begin

    torch.set_num_threads(1)
    data: SearchData = load_search_data(Path(folder))
    config = config_of(NETWORKS[name], 1, precision=precision, flip=True, shift=1)
    device = torch.device("cpu")
    train, test = resident(data.train, data, device), resident(data.test, data, device)
    training = begin(config, data, device, batches_in_epoch(len(train), BATCH))
    batches = train.training_batches(BATCH, config.shift, config.flip, seed=1)
    share = len(test) / len(train)  # of evaluated images for each that was trained on
    found = []
    for _ in range(3):
        training.model.train()
        barrier.wait()
        began = time.perf_counter()
        for _ in range(STEPS):
            step(training, config, *next(batches))
        train_s = (time.perf_counter() - began) / (STEPS * BATCH)
        barrier.wait()
        began = time.perf_counter()
        evaluate(training.model, test, config, training.task)
        test_s = (time.perf_counter() - began) / len(test)
        barrier.wait()
        found.append((train_s, test_s, product_flops(precision, config.filters)))
    train_s, test_s, product = (statistics.median(column) for column in zip(*found, strict=True))
    forward = cost(config, ImageShape(1, 28, 28), 10).forward_flops
    first = 2 * 28 * 28 * 25 * config.filters  # no gradient of the images is taken
    per_image = 3 * forward - first + share * forward
    tell.put((1 / train_s, 1 / test_s, per_image / (train_s + share * test_s), product))


def product_flops(precision: str, filters: int) -> float:
    """Return the FLOP/s of a matrix product as large as the network's widest convolution."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.randn(BATCH * 14 * 14, 9 * filters).to(dtype)
    right = torch.randn(9 * filters, filters).to(dtype)
    left @ right
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < PRODUCTS_S:
        left @ right
        count += 1
    flops = 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return count * flops / (time.perf_counter() - began)


def limits(name: str, root: Path, precision: str) -> dict[str, Any]:
    folder = str(prepare(Data(source="fashion-mnist", root=str(root))).folder)
    tell, barrier = SPAWN.Queue(), SPAWN.Barrier(cores())
    with child_environment(1):
        crew = [
            SPAWN.Process(target=at_the_limit, args=(name, precision, folder, tell, barrier))
            for _ in range(cores())
        ]
        for process in crew:
            process.start()
    got = [tell.get(timeout=300) for _ in crew]
    for process in crew:
        process.join()
    train, test, flops, product = (sum(column) for column in zip(*got, strict=True))
    return {
        "network": name,
        "precision": precision,
        "train_images_per_s": round(train),
        "evaluate_images_per_s": round(test),
        "evaluate_to_train": round(test / train, 2),
        "training_gflops": round(flops / 1e9),
        "product_gflops": round(product / 1e9),
        "share": round(flops / product, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    return "\n".join("  ".join(f"{key} {value}" for key, value in row.items()) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=FIRST)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--only", choices=["study", "limits"])
    asked = parser.parse_args()
    found: dict[str, Any] = {"torch": torch.__version__, "cores": os.cpu_count()}
    if asked.only != "study":
        found["limits"] = [limits(n, asked.data, asked.precision) for n in asked.networks]
        print(table(found["limits"]))
    if asked.only != "limits":
        found["side_by_side"] = side_by_side(
            asked.networks, asked.data, asked.repeats, asked.epochs
        )
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
