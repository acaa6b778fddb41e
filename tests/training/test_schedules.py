"""The learning rate over a training, by the names of the study file."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_configs import config_with
from torch import nn

from hpsearch.training.schedules import optimizer_for, schedule_for

BATCHES = 10  # in an epoch


def rates(epochs: int, losses: tuple[float, ...] = (), **changes: Any) -> list[float]:
    """Return the rate of every batch, relative to the configured one."""
    config = config_with(epochs=epochs, learning_rate=0.1, optimizer="sgd", **changes)
    optimizer = optimizer_for(config, nn.Linear(2, 2))
    schedule = schedule_for(config, optimizer, BATCHES)
    found = []
    for epoch in range(epochs):
        for _ in range(BATCHES):
            found.append(optimizer.param_groups[0]["lr"] / 0.1)
            optimizer.step()
            schedule.after_batch()
        schedule.after_epoch(losses[epoch] if losses else 1.0)
    return found


def by_epoch(found: list[float]) -> list[float]:
    """Return the rate of each epoch, which has to be one."""
    epochs = [set(found[i : i + BATCHES]) for i in range(0, len(found), BATCHES)]
    assert all(len(rate) == 1 for rate in epochs)
    return [rate.pop() for rate in epochs]


def test_a_constant_rate_stays() -> None:
    assert set(rates(3, schedule="constant")) == {1.0}


def test_steps_come_at_a_half_and_at_three_quarters() -> None:
    found = by_epoch(rates(8, schedule="step", factor=0.1))
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_steps_fit_into_short_trainings(epochs: int) -> None:
    found = rates(epochs, schedule="step", factor=0.5)
    assert found[0] == 1 and found[-1] == 0.25


def test_the_rate_falls_by_the_factor_when_patience_with_test_loss_is_over() -> None:
    losses = (1.0, 0.9, 0.95, 0.92, 0.93, 0.5, 0.6)
    found = by_epoch(rates(7, losses, schedule="plateau", patience=2, factor=0.2))
    assert found == pytest.approx([1, 1, 1, 1, 1, 0.2, 0.2])


def test_cosine_warms_up_and_ends_near_nothing() -> None:
    found = rates(10, schedule="cosine")
    peak = found.index(max(found))
    assert found[0] < 0.1 and peak == 10 and found[peak] == pytest.approx(1)
    assert found[peak:] == sorted(found[peak:], reverse=True) and found[-1] < 0.01


def test_one_cycle_rises_for_three_tenths_and_falls() -> None:
    found = rates(10, schedule="one-cycle")
    peak = found.index(max(found))
    assert peak == pytest.approx(30, abs=1) and found[peak] == pytest.approx(1)
    assert found[-1] < found[0] < 0.1


def test_a_constant_rate_after_a_warm_up_does_not_depend_on_how_many_epochs_follow() -> None:
    found = rates(10, schedule="warmup-constant")
    assert found[:3] == pytest.approx([0.25, 0.5, 0.75]) and set(found[3:]) == {1.0}


def test_the_earliest_plateau_is_where_the_study_file_says_that_it_is() -> None:
    rising = (1.0, *[2.0] * 9)
    found = by_epoch(rates(10, rising, schedule="plateau", patience=3, factor=0.5))
    assert found.index(0.5) == 3 + 2, "after epoch patience + 2, counted from 1"


def test_a_schedule_holds_for_all_groups_of_parameters() -> None:
    config = config_with(epochs=2, schedule="step", factor=0.1)
    optimizer = optimizer_for(config, nn.Linear(2, 2))
    schedule = schedule_for(config, optimizer, 2)
    for _ in range(4):
        optimizer.step()
        schedule.after_batch()
    assert len({group["lr"] for group in optimizer.param_groups}) == 1
    assert isinstance(optimizer, torch.optim.Optimizer) and len(optimizer.param_groups) == 2
