"""What an early test score says of the final one, by schedule: ranks, and how high trainings come.

    python tests/benchmarks/early_scores.py --data DATA [--configurations 24] [--part 0/2]

Random configurations of 12,000 images of Fashion-MNIST, nine epochs, three ways:

* one-cycle over the nine epochs, scored as it is after 1 and 3;
* a constant rate after a warm-up, scored by its own weights and by averaged ones;
* the same, and from 70 % of 1, 3 and 9 epochs on a decay to nothing of its own, on a copy that
  nothing goes on from: a score at a rung is that of a training that has ended there.

Prints Spearman's rank correlation of the scores after 1 and 3 epochs with each way's final ones.
`--part` trains a share of the configurations, so that each core may have one.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from hpsearch.data.batches import Resident, batches_in_epoch, resident
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Data
from hpsearch.study.space import Space
from hpsearch.study.spec import StudySpec, config_from
from hpsearch.training.loop import epoch_seed, evaluate, step, train
from hpsearch.training.state import Epoch, State, Training, begin

RUNGS = (1, 3, 9)
DECAY_FROM = 0.7  # of a rung's steps
SPACE: dict[str, Any] = {
    "filters": {"low": 16, "high": 64, "step": 8},
    "units1": {"low": 32, "high": 128, "step": 8},
    "units2": {"low": 32, "high": 128, "step": 8},
    "kernel_size": [3, 5],
    "layers": {"low": 1, "high": 4},
    "optimizer": ["adam", "adamw", "sgd"],
    "batch_size": [32, 64, 128, 256],
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
}
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a .npz, or what holds FashionMNIST")
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--read", nargs="*", help="files of what earlier parts printed: only rank")
    asked = parser.parse_args()
    if asked.read:
        lines = [line for name in asked.read for line in Path(name).read_text().splitlines()]
        rank([json.loads(line) for line in lines if line.startswith("{")])
        return
    torch.set_num_threads(1)
    source = "arrays" if asked.data.endswith(".npz") else "fashion-mnist"
    data = Data.model_validate({"source": source, "root": asked.data})
    spec = StudySpec(name="early", data=data, space=Space.model_validate(SPACE))
    prepared = prepare(spec.data, None)
    searched = load_search_data(prepared.folder)
    part, of = map(int, asked.part.split("/"))
    found = []
    for number in range(part, asked.configurations, of):
        config = drawn(spec, prepared.fingerprint, number)
        found.append({"configuration": number} | scores_of(config, searched))
        print(json.dumps(found[-1]), flush=True)
    rank(found)


def drawn(spec: StudySpec, fingerprint: str, number: int) -> TrialConfig:
    """Return a random configuration of the space."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=100 + number)).ask()
    for name, value in {"seed": number, "precision": "bf16", "threads": 1}.items():
        trial.set_user_attr(name, value)
    config = config_from(spec, fingerprint, trial)
    return config.model_copy(update={"epochs": RUNGS[-1]})


def scores_of(config: TrialConfig, data: SearchData) -> dict[str, list[float]]:
    """Return the test accuracy at each rung, by the way it was trained."""
    steady = config.model_copy(update={"schedule": "warmup-constant", "averaging": "ema"})
    kept: dict[int, State] = {}
    own, averaged = constant(steady, data, kept)
    return {
        "one-cycle": [
            epoch.test_metric for epoch, _ in train(config, data, CPU) if epoch.number in RUNGS
        ],
        "constant": own,
        "averaged": averaged,
        "decayed": [decayed(steady, data, kept[rung], rung) for rung in RUNGS],
    }


def constant(
    config: TrialConfig, data: SearchData, kept: dict[int, State]
) -> tuple[list[float], list[float]]:
    """Return the scores of a constant rate, by the network itself and by the mean of its weights;
    keep what each rung's decay begins from."""
    taught, test = (resident(s, data, CPU) for s in (data.train, data.test))
    batches = batches_in_epoch(len(taught), config.batch_size)
    starts = {decay_start(rung, batches): rung for rung in RUNGS}
    training = begin(config, data, CPU, batches)
    own, averaged = [], []
    for number in range(1, RUNGS[-1] + 1):
        for _ in steps_of(training, taught, number, 0):
            over = len(training.epochs) * batches + training.batches
            if over in starts:
                found: dict[str, Any] = {"model": training.model, "optimizer": training.optimizer}
                kept[starts[over]] = {n: copy.deepcopy(p.state_dict()) for n, p in found.items()}
        if number in RUNGS:
            own.append(accuracy(training.model, test, training))
            averaged.append(accuracy(training.scored, test, training))
        training.end_epoch(Epoch(number, 0.0, 0.0, 0.0, 0.0, 0.0))
    return own, averaged


def decayed(config: TrialConfig, data: SearchData, state: State, rung: int) -> float:
    """Return the score of a training that decays its rate to nothing up to a rung."""
    taught, test = (resident(s, data, CPU) for s in (data.train, data.test))
    batches = batches_in_epoch(len(taught), config.batch_size)
    training = begin(config, data, CPU, batches)
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    start, end = decay_start(rung, batches), rung * batches
    left = itertools.count(end - start, -1)
    rate(training, next(left) / (end - start))
    begun = start % batches
    for number in range(start // batches + 1, rung + 1):
        for _ in steps_of(training, taught, number, begun):
            rate(training, max(0, next(left)) / (end - start))
        begun = 0
    return accuracy(training.model, test, training)


def decay_start(rung: int, batches: int) -> int:
    return int(DECAY_FROM * rung * batches)


def steps_of(training: Training, taught: Resident, number: int, begun: int) -> Any:
    """Yield after each step of an epoch, from where it was begun."""
    config = training.config
    training.set_generator(epoch_seed(config.seed, number))
    training.model.train()
    seed = epoch_seed(config.seed, number)
    found = taught.training_batches(config.batch_size, config.shift, config.flip, seed)
    for images, targets in itertools.islice(found, begun, None):
        step(training, config, images, targets)
        yield


def rate(training: Training, share: float) -> None:
    for group in training.optimizer.param_groups:
        group["lr"] = training.config.learning_rate * share


def accuracy(model: nn.Module, test: Resident, training: Training) -> float:
    return evaluate(model, test, training.config, training.task)[1]


def rank(found: list[dict[str, Any]]) -> None:
    """Print how well early scores rank trainings, and how high the best of each way come."""
    ways = [way for way in found[0] if way != "configuration"]
    scores = {way: np.array([each[way] for each in found]) for way in ways}
    print(f"{len(found)} configurations: the best five and the median after {RUNGS[-1]} epochs;")
    print("rank correlation of the scores after 1 and 3 epochs with the final ones of each way")
    for way in ways:
        final = np.sort(scores[way][:, -1])
        ranks = {other: correlations(scores[way], scores[other][:, -1]) for other in ways}
        print(f"{way:10} {final[-5:].mean():.4f} {np.median(final):.4f}  {ranks}")


def correlations(early: NDArray[np.float64], final: NDArray[np.float64]) -> list[float]:
    """Return Spearman's correlation of the scores at the first two rungs with final ones."""
    return [round(float(spearmanr(early[:, rung], final)[0]), 2) for rung in (0, 1)]


if __name__ == "__main__":
    main()
