"""Predicting how long epochs take."""

from __future__ import annotations

import pytest
from made_configs import config_with

from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.speed import Speed, Work, fitted
from hpsearch.models.work import work_of

SHAPE = ImageShape(1, 28, 28)


def test_the_speed_of_a_device_is_found_again_from_what_it_took() -> None:
    speed = Speed(5e-12, 2e-10, 4e-5)
    works = [Work(1e12, 1e10, 1e4), Work(1e13, 2e10, 5e4), Work(2e11, 5e10, 2e4), Work(1e9, 1e8, 9)]
    found = fitted(works, [speed.seconds(work) for work in works])
    other = Work(3e12, 7e10, 1e3)
    assert found.seconds(other) == pytest.approx(speed.seconds(other), rel=1e-6)


def test_more_work_is_never_said_to_take_less() -> None:
    works = [Work(1e12, 1e10, 1e4), Work(1e13, 1e10, 1e4), Work(1e12, 1e11, 1e4)]
    found = fitted(works, [2.0, 1.0, 3.0])  # as on a machine that was busy at first
    assert min(found.per_flop, found.per_byte, found.per_call) >= 0
    assert found.seconds(works[0]) > 0


def test_one_timed_configuration_is_enough_for_a_guess() -> None:
    work = Work(1e12, 1e10, 1e4)
    assert fitted([work], [2.0]).seconds(work) == pytest.approx(2.0)


def test_smaller_batches_make_the_same_arithmetic_in_more_calls() -> None:
    large, small = (config_with(family="alexnet", batch_size=size) for size in (128, 32))
    of_large, of_small = (
        work_of(cost(config, SHAPE, 10), config, train=1280, test=100) for config in (large, small)
    )
    assert of_small.flops == of_large.flops
    assert of_small.calls > 3 * of_large.calls
    assert of_small.moved > of_large.moved, "weights are moved in every step"


def test_a_batch_larger_than_train_is_one_step() -> None:
    config = config_with(family="alexnet", batch_size=4096)
    price = cost(config, SHAPE, 10)
    work = work_of(price, config, train=100, test=0)
    assert work.flops == 100 * (price.forward_flops + price.backward_flops)
    assert work.calls == 3 * price.layers
