"""The training loop: repeatable, interruptible, and it learns."""

import itertools
import math

import numpy as np
import pytest
import torch

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import DataReference
from hpsearch.training.loop import Epoch, Interrupted, evaluate, predict, train

CPU = torch.device("cpu")


def config(**changes: object) -> TrialConfig:
    values: dict[str, object] = {
        "family": "alexnet",
        "filters": 8,
        "layers": 2,
        "kernel_size": 3,
        "units1": 16,
        "units2": 16,
        "activation": "relu",
        "pooling": "max",
        "batch_norm": True,
        "dropout": 0.2,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "batch_size": 16,
        "schedule": "one-cycle",
        "patience": 1,
        "label_smoothing": 0.0,
        "flip": True,
        "shift": 1,
        "epochs": 3,
        "seed": 7,
        "precision": "fp32",
        "threads": 1,
        "data": DataReference(source="digits", fingerprint="none"),
    }
    return TrialConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def stripes() -> SearchData:
    """Two classes that are easy to tell apart: horizontal and vertical stripes, with noise."""
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    lines = (np.arange(8) % 2 * 200).astype(np.uint8)
    images = np.where(targets[:, None, None] == 0, lines[None, :, None], lines[None, None, :])
    noisy = (images + rng.integers(0, 50, (200, 8, 8))).astype(np.uint8)[..., None]
    return SearchData(
        train=Labelled(noisy[:160], targets[:160]),
        test=Labelled(noisy[160:], targets[160:]),
        classes=("horizontal", "vertical"),
        mean=(float(noisy.mean()),),
        std=(float(noisy.std()),),
        fingerprint="stripes",
    )


def curve(settings: TrialConfig, data: SearchData) -> list[tuple[float, ...]]:
    return [
        (e.train_loss, e.train_metric, e.test_loss, e.test_metric)
        for e, _ in train(settings, data, CPU)
    ]


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_family_and_optimizer_learns_stripes(
    family: str, optimizer: str, stripes: SearchData
) -> None:
    settings = config(family=family, optimizer=optimizer, dropout=0.0, epochs=6)
    assert curve(settings, stripes)[-1][3] >= 0.95


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "plateau", "constant"])
def test_every_schedule_learns_stripes(schedule: str, stripes: SearchData) -> None:
    assert curve(config(schedule=schedule, dropout=0.0, epochs=6), stripes)[-1][3] >= 0.95


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
def test_the_same_config_gives_the_same_numbers_twice(family: str, stripes: SearchData) -> None:
    settings = config(family=family)
    assert curve(settings, stripes) == curve(settings, stripes)


def test_another_seed_gives_other_numbers(stripes: SearchData) -> None:
    assert curve(config(), stripes) != curve(config(seed=8), stripes)


def test_what_a_listener_does_between_epochs_changes_nothing(stripes: SearchData) -> None:
    undisturbed = curve(config(), stripes)
    disturbed = []
    for epoch, _ in train(config(), stripes, CPU):
        disturbed.append((epoch.train_loss, epoch.train_metric, epoch.test_loss, epoch.test_metric))
        torch.rand(1000)  # takes numbers from the generator that training uses
    assert disturbed == undisturbed


def test_a_training_stops_between_two_batches_when_asked(stripes: SearchData) -> None:
    asked = itertools.count()
    epochs = train(config(), stripes, CPU, interrupted=lambda: next(asked) >= 14)
    number = next(epochs)[0].number
    with pytest.raises(Interrupted):
        next(epochs)
    assert number == 1  # an epoch has 10 batches


def test_a_rate_far_too_high_is_reported_as_diverged(stripes: SearchData) -> None:
    settings = config(
        optimizer="sgd", learning_rate=10, schedule="constant", batch_norm=False, epochs=10
    )
    epochs = [epoch for epoch, _ in train(settings, stripes, CPU)]
    assert any(e.diverged for e in epochs)
    assert Epoch(1, math.nan, 0.5, 1.0, 0.5, 1.0).diverged
    assert not Epoch(1, 1.0, 0.5, 1.0, 0.5, 1.0).diverged


def test_the_last_epochs_metric_is_that_of_the_model_it_hands_over(stripes: SearchData) -> None:
    *_, (epoch, model) = train(config(), stripes, CPU)
    split = resident(stripes.test, stripes, CPU)
    loss, accuracy = evaluate(model, split, config())
    assert (loss, accuracy) == (epoch.test_loss, epoch.test_metric)
    calls = predict(model, split, config()).argmax(1)
    assert (calls == split.targets).double().mean().item() == accuracy


def test_bf16_learns_as_fp32_does(stripes: SearchData) -> None:
    exact = curve(config(dropout=0.0, epochs=6), stripes)
    rounded = curve(config(dropout=0.0, epochs=6, precision="bf16"), stripes)
    assert rounded != exact, "bf16 was asked for and not used"
    assert rounded[-1][3] >= 0.95


def test_a_batch_larger_than_the_data_is_the_whole_data(stripes: SearchData) -> None:
    assert len(curve(config(batch_size=4096), stripes)) == 3
