"""Early stopping: where it ends a training, whose weights it keeps, and that it can be resumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from made_tasks import digits_as
from made_trainings import BATCHES, CPU, Scores, after, config, scores_of
from torch import Tensor

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import Interrupted, evaluate, train
from hpsearch.training.overfitting import turning_point
from hpsearch.training.state import Training, from_bytes, to_bytes

EPOCHS = 14
PATIENCE = 2
EPOCH = BATCHES + 1  # times that an epoch asks whether to stop

Trained = tuple[list[Scores], dict[str, Tensor], Training]


@pytest.fixture(scope="module")
def noisy() -> SearchData:
    """Return stripes of which a quarter have the wrong class: a network soon learns by heart."""
    rng = np.random.default_rng(1)
    true = np.arange(240) % 2
    lines = (np.arange(8) % 2 * 100).astype(np.uint8)
    images = np.where(true[:, None, None] == 0, lines[None, :, None], lines[None, None, :])
    images = (images + rng.integers(0, 150, (240, 8, 8))).astype(np.uint8)[..., None]
    predictions = np.where(rng.random(240) < 0.25, 1 - true, true)
    return SearchData(
        Labelled(images[:160], predictions[:160]), Labelled(images[160:], predictions[160:]),
        "single-label", ("horizontal", "vertical"), (float(images.mean()),),
        (float(images.std()),), "noisy",
    )  # fmt: skip


def asked(**changes: Any) -> TrialConfig:
    values = {"epochs": EPOCHS, "early_stopping": PATIENCE, "schedule": "constant", "flip": False,
              "shift": 0, "dropout": 0.1, "learning_rate": 0.002, "seed": 3}  # fmt: skip
    return config(**values | changes)


def trained(settings: TrialConfig, data: SearchData, **how: Any) -> Trained:
    curve = []
    for epoch, training in train(settings, data, CPU, **how):  # noqa: B007 - the last one is kept
        curve.append(scores_of(epoch))
    weights = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    return curve, weights, training


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())


def test_a_training_ends_where_test_loss_has_turned_away(noisy: SearchData) -> None:
    whole, _, _ = trained(asked(early_stopping=None), noisy)
    stopped, _, training = trained(asked(), noisy)
    assert len(whole) == EPOCHS and 1 + PATIENCE < len(stopped) < EPOCHS
    assert stopped == whole[: len(stopped)], "until then nothing is different"
    train_losses, test_losses = [e[0] for e in stopped], [e[2] for e in stopped]
    assert turning_point(train_losses, test_losses, PATIENCE) == len(stopped) - PATIENCE
    for epochs in range(len(stopped)):
        assert turning_point(train_losses[:epochs], test_losses[:epochs], PATIENCE) is None
    assert training.turned


def test_the_weights_of_the_best_epoch_are_kept(noisy: SearchData) -> None:
    curve, weights, training = trained(asked(), noisy)
    best = min(training.epochs, key=lambda e: (-e.test_metric, e.test_loss, e.number))
    assert best is training.result and best.number < len(curve)
    split = resident(noisy.test, noisy, CPU)
    scores = evaluate(training.model, split, asked(), training.task)
    assert scores == (best.test_loss, best.test_metric)
    shorter = trained(asked(early_stopping=None, epochs=best.number), noisy)
    assert same(weights, shorter[1]), "those that a training of so many epochs has"


def test_the_best_epoch_counts_where_nothing_was_stopped(noisy: SearchData) -> None:
    curve, weights, training = trained(asked(early_stopping=EPOCHS - 1), noisy)
    assert len(curve) == EPOCHS and not training.turned
    assert training.result.number < EPOCHS
    shorter = trained(asked(early_stopping=None, epochs=training.result.number), noisy)
    assert same(weights, shorter[1])


def test_without_early_stopping_the_last_epoch_counts(noisy: SearchData) -> None:
    _, _, training = trained(asked(early_stopping=None), noisy)
    assert training.result.number == EPOCHS and training.best is None and not training.turned


STOPS = {
    "before the best epoch": [EPOCH + 3],
    "between two epochs": [2 * EPOCH],
    "in every epoch": [4, EPOCH, EPOCH + 2, 0],
    "before evaluations": [BATCHES, EPOCH, EPOCH],
}


@pytest.mark.parametrize("where", STOPS)
def test_a_stopped_training_is_the_same_after_interruptions(where: str, noisy: SearchData) -> None:
    curve, weights, _ = trained(asked(), noisy)
    state = None
    for asks in STOPS[where]:
        with pytest.raises(Interrupted) as stopped:
            list(train(asked(), noisy, CPU, after(asks), state))
        state = from_bytes(to_bytes(stopped.value.training.state()), CPU)
    resumed, resumed_weights, training = trained(asked(), noisy, state=state)
    assert resumed == curve
    assert same(weights, resumed_weights) and training.turned


def test_what_was_kept_after_any_epoch_ends_the_same(noisy: SearchData) -> None:
    curve, weights, _ = trained(asked(), noisy)
    kept = [to_bytes(training.state()) for _, training in train(asked(), noisy, CPU)]
    assert len(kept) == len(curve)
    for content in kept:  # the last one too, of a training that has stopped
        resumed, resumed_weights, _ = trained(asked(), noisy, state=from_bytes(content, CPU))
        assert resumed == curve
        assert same(weights, resumed_weights)


def test_best_is_least_where_the_metric_is_an_error() -> None:
    settings = asked(task="regression", loss="mse", metric="mae", epochs=5, early_stopping=4)
    _, _, training = trained(settings, digits_as("regression"))
    assert training.result.test_metric == min(epoch.test_metric for epoch in training.epochs)
