"""Networks draw from the generator they are given, the values that torch's own layers have."""

from __future__ import annotations

import copy
import pickle
from typing import get_args

import pytest
import torch
from foreign_draws import global_states
from made_configs import config_with
from torch import nn
from torchvision.ops import StochasticDepth as Theirs

from hpsearch.models.families import FAMILIES, build_model
from hpsearch.models.layers import ImageShape
from hpsearch.models.randomness import DrawingFrom, Dropout, StochasticDepth, draw_from
from hpsearch.study.config import Backbone, Family

SHAPE = ImageShape(3, 32, 32)


@pytest.mark.parametrize("family", sorted(set(get_args(Family)) - {"pretrained"}))
def test_a_network_has_torchs_own_initial_values_of_its_seed(family: str) -> None:
    config = config_with(family=family, seed=11)
    torch.manual_seed(11)
    expected = FAMILIES[config.family](config, SHAPE, 4).state_dict()
    assert_drawn_apart(config, expected)


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_a_body_has_torchvisions_own_initial_values_of_its_seed(backbone: str) -> None:
    config = config_with(family="pretrained", backbone=backbone, seed=11)
    torch.manual_seed(11)
    expected = FAMILIES["pretrained"](config, SHAPE, 4).state_dict()
    assert_drawn_apart(config, expected)
    draws = [m for m in build_model(config, SHAPE, 4).modules() if isinstance(m, Theirs)]
    assert not draws, "they draw from everybody's generator"


def assert_drawn_apart(config: object, expected: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(3)
    before = global_states()
    got = build_model(config, SHAPE, 4).state_dict()  # type: ignore[arg-type]
    assert global_states() == before
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(got[name], value), name


@pytest.mark.parametrize("p", [0.0, 0.1, 0.37, 0.5, 0.95])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_dropout_gives_the_numbers_of_torchs_own(p: float, kind: torch.dtype) -> None:
    given = torch.randn(64, 33, generator=torch.Generator().manual_seed(1)).to(kind)
    ours, theirs = Dropout(p), nn.Dropout(p)
    ours.generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    taught, other = (given.clone().requires_grad_() for _ in range(2))
    expected, got = theirs(other), ours(taught)
    assert torch.equal(got, expected)
    got.float().square().sum().backward()
    expected.float().square().sum().backward()
    assert taught.grad is not None and other.grad is not None
    assert torch.equal(taught.grad, other.grad)
    assert torch.equal(ours.eval()(given), given)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_stochastic_depth_gives_the_numbers_of_torchvisions(p: float) -> None:
    maps = torch.ones(50, 3, 2, 2)
    ours, theirs = StochasticDepth(p), Theirs(p, "row")
    ours.generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    assert torch.equal(ours(maps), theirs(maps))
    assert torch.equal(ours.eval()(maps), maps)


def test_without_a_generator_layers_draw_as_torchs_own_do() -> None:
    given = torch.ones(100)
    torch.manual_seed(2)
    expected = nn.Dropout(0.5)(given)
    torch.manual_seed(2)
    assert torch.equal(Dropout(0.5)(given), expected)


def test_a_network_that_is_copied_or_pickled_draws_on_as_it_would_have() -> None:
    model = build_model(config_with(dropout=0.5), SHAPE, 4).train()
    draw_from(model, torch.Generator().manual_seed(5))
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    images = torch.ones(4, 3, 32, 32)
    expected = model(images)
    for other in copies:
        assert torch.equal(other(images), expected)


def test_another_thread_may_build_another_network_meanwhile() -> None:
    generator = torch.Generator().manual_seed(1)
    with DrawingFrom(generator):
        first = nn.Linear(3, 3)
    after = generator.get_state()
    nn.Linear(3, 3)
    assert torch.equal(generator.get_state(), after), "it draws within its block alone"
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(3, 3).weight, first.weight)
