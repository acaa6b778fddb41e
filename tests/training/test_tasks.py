"""Every task with every loss and metric, on real digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from made_tasks import digits_as
from made_trainings import CPU, Scores, after, config, scores_of
from torch import Tensor, nn
from torch.nn import functional

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.errors import DataError, HpsearchError
from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Task
from hpsearch.study.tasks import TASKS, Loss, Metric, default_loss, default_metric, rank
from hpsearch.training.loop import Interrupted, epoch_seed, evaluate, outputs_of, train
from hpsearch.training.schedules import optimizer_for, schedule_for
from hpsearch.training.state import from_bytes, to_bytes
from hpsearch.training.tasks import balancing_weights, check_outputs, task_for

LOSSES = [(task, loss) for task, allowed in TASKS.items() for loss in allowed.losses]
METRICS = [(task, metric) for task, allowed in TASKS.items() for metric in allowed.metrics]


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    param: Task = request.param
    return param


def settings(task: Task, **changes: Any) -> TrialConfig:
    """Return a configuration of a task that learns digits in a few epochs."""
    values = {
        "task": task,
        "loss": default_loss(task),
        "metric": default_metric(task),
        "flip": False,
        "shift": 0,
        "dropout": 0.0,
        "batch_size": 25,
        "epochs": 4,
        "units1": 32,
        "units2": 32,
    }
    return config(**values | changes)


def balanced(kind: str) -> dict[str, str]:
    return {"source": "digits", "fingerprint": "none", "balance": kind}


def curve(configuration: TrialConfig, data: SearchData) -> list[Scores]:
    return [scores_of(epoch) for epoch, _ in train(configuration, data, CPU)]


# The default


def plain_curve(configuration: TrialConfig, data: SearchData) -> list[Scores]:
    """Train by cross-entropy and accuracy in the plainest loop there is."""
    taught, test = (resident(split, data, CPU) for split in (data.train, data.test))
    torch.manual_seed(configuration.seed)
    model = build_model(configuration, ImageShape(*data.image_shape), len(data.outputs))
    model = model.to(memory_format=torch.channels_last)
    optimizer = optimizer_for(configuration, model)
    schedule = schedule_for(configuration, optimizer, len(taught) // configuration.batch_size)
    found: list[tuple[float, ...]] = []
    for number in range(1, configuration.epochs + 1):
        seed = epoch_seed(configuration.seed, number)
        torch.manual_seed(seed)
        model.train()
        total, hits, seen = 0.0, 0, 0
        for images, targets in taught.training_batches(configuration.batch_size, 1, True, seed):
            optimizer.zero_grad()
            logits = model(images)
            smoothing = configuration.label_smoothing
            loss = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
            loss.backward()
            optimizer.step()
            schedule.after_batch()
            total += (loss.detach() * len(targets)).item()
            hits += int((logits.argmax(1) == targets).sum())
            seen += len(targets)
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(images) for images, _ in test.ordered_batches(500)])
        test_loss = functional.cross_entropy(logits, test.targets).item()
        accuracy = int((logits.argmax(1) == test.targets).sum()) / len(test)
        found.append((total / seen, hits / seen, test_loss, accuracy))
    return found


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_default_is_the_plain_loop_of_cross_entropy_to_the_last_digit(
    label_smoothing: float,
) -> None:
    data = digits_as("single-label")
    asked = settings(
        "single-label", label_smoothing=label_smoothing, dropout=0.2, flip=True, shift=1
    )
    assert curve(asked, data) == plain_curve(asked, data)


# Learning


@pytest.mark.parametrize(("task_name", "loss"), LOSSES)
def test_every_loss_teaches_its_task(task_name: Task, loss: Loss) -> None:
    data = digits_as(task_name)
    asked = settings(task_name, loss=loss)
    scores = curve(asked, data)
    first, last = scores[0], scores[-1]
    assert last[0] < first[0] and last[2] < first[2], "losses fall"
    assert rank(asked.metric, last[3]) < rank(asked.metric, first[3])
    guessing = {"single-label": 0.75, "multi-label": 0.8, "regression": float(chance(data))}
    assert rank(asked.metric, last[3]) < rank(asked.metric, guessing[task_name])


def chance(data: SearchData) -> float:
    """Return half of the squared error of telling train's mean of everything."""
    mean = data.train.targets.mean(0)
    return float(((data.test.targets - mean) ** 2).mean()) / 2


@pytest.mark.parametrize(("task_name", "metric"), METRICS)
def test_every_metric_is_kept_of_train_and_of_test(task_name: Task, metric: Metric) -> None:
    data = digits_as(task_name)
    asked = settings(task_name, metric=metric, epochs=2)
    *_, (epoch, training) = train(asked, data, CPU)
    split = resident(data.test, data, CPU)
    again = evaluate(training.model, split, asked, training.task)
    assert again == (epoch.test_loss, epoch.test_metric)
    held = training.task.predictions(outputs_of(training.model, split, asked))
    once = torch.ones(1, len(data.test), dtype=torch.float64)
    assert training.task.scorer.whole(held, split.targets, once).item() == epoch.test_metric
    after_it = evaluate(training.model, resident(data.train, data, CPU), asked, training.task)
    assert epoch.train_metric == pytest.approx(after_it[1], rel=0.6), "of a network that learned on"


@pytest.mark.parametrize(("task_name", "metric"), METRICS)
def test_a_metric_is_the_same_after_an_interruption(task_name: Task, metric: Metric) -> None:
    data = digits_as(task_name)
    asked = settings(task_name, metric=metric, epochs=2)
    with pytest.raises(Interrupted) as stopped:
        list(train(asked, data, CPU, after(7)))
    with pytest.raises(Interrupted) as again:
        state = from_bytes(to_bytes(stopped.value.training.state()), CPU)
        list(train(asked, data, CPU, after(5), state))
    state = from_bytes(to_bytes(again.value.training.state()), CPU)
    resumed = [scores_of(epoch) for epoch, _ in train(asked, data, CPU, state=state)]
    assert resumed == curve(asked, data)


def test_a_task_in_parts_of_a_batch_learns_what_it_learns_whole(task: Task) -> None:
    data = digits_as(task)
    asked = settings(task, batch_norm=False, optimizer="sgd", epochs=2)
    parts = asked.model_copy(update={"micro_batches": 4})
    for whole, cut in zip(curve(asked, data), curve(parts, data), strict=True):
        assert cut == pytest.approx(whole, rel=1e-3)


def test_a_task_learns_in_bf16(task: Task) -> None:
    data = digits_as(task)
    rounded = curve(settings(task, precision="bf16"), data)
    assert rounded[-1][2] < rounded[0][2]


# Losses


def sample(task: Task) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    outputs = torch.randn(60, 3, generator=rng)
    if task == "single-label":
        return outputs, torch.randint(0, 3, (60,), generator=rng)
    if task == "multi-label":
        return outputs, (torch.rand(60, 3, generator=rng) < 0.3).float()
    return outputs, torch.randn(60, 3, generator=rng) * 5 + 100


def small(task: Task) -> SearchData:
    """Return skewed data of three outputs: the sample's targets."""
    _, targets = sample(task)
    split = Labelled(np.zeros((60, 8, 8, 1), np.uint8), targets.numpy())
    return SearchData(split, split, task, ("a", "b", "c"), (0.0,), (1.0,), "made")


def loss_of(task: Task, loss: Loss, **changes: Any) -> float:
    outputs, targets = sample(task)
    return (
        task_for(settings(task, loss=loss, **changes), small(task), CPU)
        .loss(outputs, targets)
        .item()
    )


def test_nll_on_log_softmax_is_cross_entropy_and_bce_on_sigmoid_is_bce_with_logits() -> None:
    assert loss_of("single-label", "nll") == pytest.approx(
        loss_of("single-label", "cross-entropy"), rel=1e-6
    )
    assert loss_of("multi-label", "bce") == pytest.approx(
        loss_of("multi-label", "bce-with-logits"), rel=1e-6
    )
    pairs: tuple[tuple[Task, Loss, Loss], ...] = (
        ("single-label", "nll", "cross-entropy"),
        ("multi-label", "bce", "bce-with-logits"),
    )
    for task, one, other in pairs:
        weighted = loss_of(task, one, data=balanced("weights"))
        assert weighted == pytest.approx(loss_of(task, other, data=balanced("weights")), rel=1e-6)
        assert weighted != pytest.approx(loss_of(task, one), rel=1e-3)


@pytest.mark.parametrize("loss", TASKS["regression"].losses)
def test_numbers_are_standardised_as_train_is(loss: Loss) -> None:
    outputs, targets = sample("regression")
    standard = (targets - targets.mean(0)) / targets.std(0, correction=0)
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": functional.mse_loss,
        "huber": functional.huber_loss,
        "mae": functional.l1_loss,
    }
    expected = losses[loss](outputs, standard)
    assert loss_of("regression", loss) == pytest.approx(expected.item(), rel=1e-5)


def test_statistics_of_the_prepared_data_are_used_where_there_are_some() -> None:
    data = dataclasses.replace(
        small("regression"), target_mean=(1.0, 2.0, 3.0), target_std=(2.0, 2.0, 0.0)
    )
    task = task_for(settings("regression"), data, CPU)
    zeros = torch.zeros(1, 3)
    assert task.predictions(zeros).tolist() == [[1.0, 2.0, 3.0]]
    assert task.predictions(zeros + 1).tolist() == [[3.0, 4.0, 4.0]], "a number that never varies"


def test_other_units_of_a_number_change_no_loss_and_scale_the_metric() -> None:
    data = digits_as("regression")
    scaled = dataclasses.replace(
        data,
        train=Labelled(data.train.images, data.train.targets * 16 + 256),
        test=Labelled(data.test.images, data.test.targets * 16 + 256),
    )
    asked = settings("regression", metric="mae", epochs=2)
    for one, other in zip(curve(asked, data), curve(asked, scaled), strict=True):
        assert other[0] == pytest.approx(one[0], rel=2e-2)
        assert other[3] == pytest.approx(one[3] * 16, rel=2e-2)


# Skewed data


def test_weights_make_every_class_and_both_sides_of_a_label_weigh_the_same() -> None:
    classes = balancing_weights(small("single-label"))
    counts = torch.bincount(sample("single-label")[1])
    assert (classes * counts).tolist() == pytest.approx([20.0, 20.0, 20.0])
    labels = balancing_weights(small("multi-label"))
    with_it = sample("multi-label")[1].sum(0)
    assert (labels * with_it).tolist() == pytest.approx((60 - with_it).tolist())


@pytest.mark.parametrize("task_name", ["single-label", "multi-label"])
def test_what_train_lacks_keeps_the_weight_1(task_name: Task) -> None:
    data = small(task_name)
    targets = data.train.targets.copy()
    if task_name == "single-label":
        targets[targets == 2] = 1
    else:
        targets[:, 2] = 0
    lacking = dataclasses.replace(data, train=Labelled(data.train.images, targets))
    weights = balancing_weights(lacking)
    assert weights[2] == 1 and torch.isfinite(weights).all() and (weights > 0).all()


def test_a_weighted_batch_in_parts_adds_up() -> None:
    outputs, targets = sample("single-label")
    task = task_for(
        settings("single-label", data=balanced("weights"), label_smoothing=0.1),
        small("single-label"),
        CPU,
    )
    halves = [task.loss(outputs[i : i + 30], targets[i : i + 30]) for i in (0, 30)]
    assert torch.stack(halves).mean().item() == pytest.approx(
        task.loss(outputs, targets).item(), rel=1e-6
    )


def test_weights_and_sampling_teach_a_rare_class() -> None:
    data = digits_as("single-label")
    threes = np.flatnonzero(data.train.targets == 3)
    kept = np.setdiff1d(np.arange(len(data.train)), threes[4:])
    rare = dataclasses.replace(
        data, train=Labelled(data.train.images[kept], data.train.targets[kept])
    )
    split = resident(data.test, data, CPU)

    def told_threes(kind: str) -> int:
        asked = settings("single-label", data=balanced(kind), epochs=5, seed=1)
        *_, (_, training) = train(asked, rare, CPU)
        return int((outputs_of(training.model, split, asked).argmax(1) == 3).sum())

    skewed = told_threes("none")
    assert told_threes("weights") > skewed
    assert told_threes("sampling") > skewed


# What does not fit


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_a_network_that_ends_in_what_its_loss_applies_is_refused(last: nn.Module) -> None:
    check_outputs(nn.Sequential(nn.Sigmoid(), nn.Linear(2, 2)))
    with pytest.raises(HpsearchError, match=f"ends in {type(last).__name__}.*Leave the last layer"):
        check_outputs(nn.Sequential(nn.Linear(2, 2), last))


def test_data_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match=r"data is regression.*for a single-label task"):
        next(train(settings("single-label"), digits_as("regression"), CPU))
