"""Averaged weights: what they are the mean of, and that scores and results are theirs."""

from __future__ import annotations

import copy

import pytest
import torch
from made_configs import config_with
from made_trainings import BATCHES, CPU, config, scores_of
from torch import nn

from hpsearch.data.batches import resident
from hpsearch.data.prepared import SearchData
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.training.averaging import POWER, Averaged
from hpsearch.training.loop import evaluate, train

AVERAGED = config(averaging="ema", schedule="warmup-constant")


def test_the_mean_is_that_of_all_steps_later_ones_counting_more() -> None:
    network = nn.Linear(3, 2)
    averaged = Averaged(network)
    seen: list[torch.Tensor] = []
    weights: list[float] = []
    for step in range(1, 30):
        with torch.no_grad():
            network.weight.normal_()
        averaged.update(step)
        seen.append(network.weight.detach().clone())
        share = 1 - (1 - 1 / step) ** (POWER + 1)
        weights = [weight * (1 - share) for weight in weights] + [share]
    expected = sum(w * s for w, s in zip(weights, seen, strict=True))
    assert sum(weights) == pytest.approx(1)
    assert torch.allclose(
        averaged.model.get_parameter("weight"), torch.as_tensor(expected), atol=1e-6
    )
    assert not averaged.model.get_parameter("weight").requires_grad and network.weight.requires_grad


def test_a_mean_reaches_back_over_the_same_share_of_a_short_and_of_a_long_training() -> None:
    for steps in (100, 10_000):
        age, weight = 0.0, 1.0
        for step in range(steps, 0, -1):
            share = 1 - (1 - 1 / step) ** (POWER + 1)
            age += weight * share * (steps - step)
            weight *= 1 - share
        assert age / steps == pytest.approx(1 / (POWER + 2), abs=0.01)


def test_batch_norm_statistics_are_averaged_too() -> None:
    norm = nn.BatchNorm2d(1)
    averaged = Averaged(norm)
    for step, value in enumerate((1.0, 5.0), start=1):
        norm(torch.full((4, 1, 2, 2), value))
        averaged.update(step)
    old, new = 0.1, 0.9 * 0.1 + 0.1 * 5
    share = 1 - 0.5 ** (POWER + 1)
    mean = averaged.model.get_buffer("running_mean").item()
    assert mean == pytest.approx(old + share * (new - old))
    assert averaged.model.get_buffer("num_batches_tracked").item() == 2


def test_what_is_frozen_is_not_held_twice() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    averaged = Averaged(network)
    assert averaged.model.get_parameter("0.weight") is network.get_parameter("0.weight")
    assert averaged.model.get_parameter("1.weight") is not network.get_parameter("1.weight")


def test_scores_and_the_weights_in_the_end_are_those_of_the_mean(stripes: SearchData) -> None:
    test = resident(stripes.test, stripes, CPU)
    for epoch, training in train(AVERAGED, stripes, CPU):
        averaged = copy.deepcopy(training.scored.state_dict())
        found = evaluate(training.scored, test, AVERAGED, training.task)
        assert found == (epoch.test_loss, epoch.test_metric)
        own = copy.deepcopy(training.model.state_dict())
        assert any(not torch.equal(own[name], mean) for name, mean in averaged.items())
    for name, weight in training.model.state_dict().items():
        assert torch.equal(weight, averaged[name]), name


def test_averaging_changes_nothing_of_what_is_averaged(stripes: SearchData) -> None:
    plain = [e for e, _ in train(config(schedule="warmup-constant"), stripes, CPU)]
    mean = [e for e, _ in train(AVERAGED, stripes, CPU)]
    assert [scores_of(e)[:2] for e in plain] == [scores_of(e)[:2] for e in mean]
    assert [e.test_loss for e in plain] != [e.test_loss for e in mean]


def test_a_training_that_can_be_prolonged_begins_like_a_longer_one(stripes: SearchData) -> None:
    short = [scores_of(e) for e, _ in train(AVERAGED, stripes, CPU)]
    longer = AVERAGED.model_copy(update={"epochs": 5})
    assert [scores_of(e) for e, _ in train(longer, stripes, CPU)][:3] == short
    assert BATCHES * 3 == 30


def test_early_stopping_keeps_the_mean_of_the_best_epoch(stripes: SearchData) -> None:
    settings = config(averaging="ema", early_stopping=2, epochs=5, learning_rate=0.2)
    test = resident(stripes.test, stripes, CPU)
    for _, training in train(settings, stripes, CPU):  # noqa: B007
        pass
    best = training.result
    assert evaluate(training.model, test, settings, training.task)[1] == best.test_metric


def test_the_memory_of_the_mean_is_counted() -> None:
    shape = ImageShape(1, 28, 28)
    plain, mean = (cost(config_with(averaging=a), shape, 10) for a in ("none", "ema"))
    assert mean.memory_bytes - plain.memory_bytes == 4 * plain.parameters
