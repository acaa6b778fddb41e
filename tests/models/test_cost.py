"""The cost of a network, checked against sums made by hand."""

from __future__ import annotations

import pytest
import torch
from made_configs import config_with

from hpsearch.models.cost import Cost, cost
from hpsearch.models.families import build_model
from hpsearch.models.head import ImageShape
from hpsearch.study.axes import FAMILY_NAMES

SMALL = {"filters": 2, "layers": 1, "kernel_size": 3, "units1": 4, "units2": 3}


def test_the_cost_of_a_small_alexnet_is_the_sum_made_by_hand() -> None:
    # 8 x 8 pixels, 1 channel: convolution 5 x 5 to 2 filters, pooled to 4 x 4, head 32-4-3-2
    parameters = (5 * 5 * 2) + (2 + 2) + (32 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = 8 * 8 * 2 * (5 * 5) + 32 * 4 + 4 * 3 + 3 * 2
    config = config_with(family="alexnet", **SMALL)
    assert cost(config, ImageShape(1, 8, 8), 2) == Cost(parameters, 2 * multiply_adds)


def test_the_cost_of_a_small_resnet_is_the_sum_made_by_hand() -> None:
    # stem 3 x 3 to 2 filters, pooled to 4 x 4, a block of two 3 x 3 convolutions to 4 filters
    # beside a 1 x 1 skip, averaged, head 4-4-3-2
    convolutions = 9 * 1 * 2 + 9 * 2 * 4 + 9 * 4 * 4 + 1 * 2 * 4
    normalisations = 2 * (2 + 4 + 4 + 4)
    head = (4 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = 8 * 8 * 9 * 2 + 4 * 4 * (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4) + 4 * 4 + 4 * 3 + 3 * 2
    config = config_with(family="resnet", **SMALL)
    expected = Cost(convolutions + normalisations + head, 2 * multiply_adds)
    assert cost(config, ImageShape(1, 8, 8), 2) == expected


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_without_normalisation_convolutions_have_biases(family: str) -> None:
    shape = ImageShape(1, 8, 8)
    with_norm = cost(config_with(family=family, **SMALL), shape, 2)
    without = cost(config_with(family=family, batch_norm=False, **SMALL), shape, 2)
    biases = {"alexnet": 2, "resnet": 2 + 4 + 4 + 4}[family]
    assert with_norm.parameters - without.parameters == biases
    assert with_norm.forward_flops == without.forward_flops


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_parameters_are_those_of_the_network_that_is_trained(family: str) -> None:
    config, shape = config_with(family=family), ImageShape(3, 20, 20)
    model = build_model(config, shape, 7)
    assert cost(config, shape, 7).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_more_filters_cost_more(family: str) -> None:
    shape = ImageShape(3, 32, 32)
    small, large = (cost(config_with(family=family, filters=f), shape, 10) for f in (4, 16))
    assert large.parameters > small.parameters
    assert large.forward_flops > small.forward_flops


def test_a_network_larger_than_any_memory_has_a_cost_too() -> None:
    config = config_with(family="resnet", filters=2048, layers=8, kernel_size=15)
    assert cost(config, ImageShape(3, 224, 224), 1000).parameters > 10**13


def test_reckoning_a_cost_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    cost(config_with(), ImageShape(1, 8, 8), 2)
    assert torch.equal(torch.rand(4), expected)
