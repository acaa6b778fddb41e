"""The cost of a network, checked against sums made by hand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import pytest
import torch
from made_configs import config_with
from torch.utils.flop_counter import FlopCounterMode

from hpsearch.models.cost import cost
from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.axes import FAMILY_NAMES
from hpsearch.study.config import Backbone, TrialConfig, has

BUILT = [family for family in FAMILY_NAMES if has(family, "filters")]
SMALL = {"filters": 2, "layers": 1, "kernel_size": 3, "units1": 4, "units2": 3}


def counted(config: TrialConfig, shape: ImageShape) -> tuple[int, int]:
    """Return parameters and forward FLOPs of a network with two outputs."""
    price = cost(config, shape, 2)
    return price.parameters, price.forward_flops


def test_the_cost_of_a_small_alexnet_is_the_sum_made_by_hand() -> None:
    # 8 x 8 pixels, 1 channel: convolution 5 x 5 to 2 filters, pooled to 4 x 4, head 32-4-3-2
    parameters = (5 * 5 * 2) + (2 + 2) + (32 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = 8 * 8 * 2 * (5 * 5) + 32 * 4 + 4 * 3 + 3 * 2
    config = config_with(family="alexnet", **SMALL)
    assert counted(config, ImageShape(1, 8, 8)) == (parameters, 2 * multiply_adds)


def test_the_cost_of_a_small_resnet_is_the_sum_made_by_hand() -> None:
    # stem 3 x 3 to 2 filters, pooled to 4 x 4, a block of two 3 x 3 convolutions to 4 filters
    # beside a 1 x 1 skip, averaged, head 4-4-3-2
    convolutions = 9 * 1 * 2 + 9 * 2 * 4 + 9 * 4 * 4 + 1 * 2 * 4
    normalisations = 2 * (2 + 4 + 4 + 4)
    head = (4 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = 8 * 8 * 9 * 2 + 4 * 4 * (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4) + 4 * 4 + 4 * 3 + 3 * 2
    config = config_with(family="resnet", **SMALL)
    expected = convolutions + normalisations + head, 2 * multiply_adds
    assert counted(config, ImageShape(1, 8, 8)) == expected


def test_the_cost_of_a_small_bottleneck_with_excitation_is_the_sum_made_by_hand() -> None:
    # stem 3 x 3 to 4 filters, pooled to 4 x 4, a block 1 x 1, 3 x 3, 1 x 1 of 2, 2 and 8 filters
    # beside a 1 x 1 skip, squeezed to 8 / 4 numbers and excited to 8, averaged, head 8-4-3-2
    convolutions = 9 * 4 + (4 * 2 + 9 * 2 * 2 + 2 * 8) + 4 * 8
    normalisations = 2 * (4 + 2 + 2 + 8 + 8)
    excitation = (8 * 2 + 2) + (2 * 8 + 8)
    head = (8 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = (
        8 * 8 * 9 * 4
        + 4 * 4 * (4 * 2 + 9 * 2 * 2 + 2 * 8 + 4 * 8)
        + (8 * 2 + 2 * 8)
        + (8 * 4 + 4 * 3 + 3 * 2)
    )
    changes = {**SMALL, "filters": 4, "block": "bottleneck", "squeeze": 4}
    expected = convolutions + normalisations + excitation + head, 2 * multiply_adds
    assert counted(config_with(family="senet", **changes), ImageShape(1, 8, 8)) == expected


def test_the_cost_of_a_small_vgg_is_the_sum_made_by_hand() -> None:
    # two 3 x 3 convolutions to 2 filters on 8 x 8, two to 4 on 4 x 4, pooled, head 16-4-3-2
    multiply_adds = 64 * (9 * 2 + 9 * 2 * 2) + 16 * (9 * 2 * 4 + 9 * 4 * 4) + 16 * 4 + 4 * 3 + 3 * 2
    convolutions = 9 * 2 + 9 * 2 * 2 + 9 * 2 * 4 + 9 * 4 * 4
    head = (16 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    config = config_with(family="vgg", **{**SMALL, "layers": 2, "convolutions": 2})
    expected = convolutions + 2 * (2 + 2 + 4 + 4) + head, 2 * multiply_adds
    assert counted(config, ImageShape(1, 8, 8)) == expected


def test_the_cost_of_a_small_googlenet_is_the_sum_made_by_hand() -> None:
    # stem 3 x 3 to 8 filters, pooled to 4 x 4; branches of 4, 8, 2 and 2 filters, the 3 x 3 one
    # reduced to 8 / 2 and the 5 x 5 one to 8 / 8 before; averaged, head 16-4-3-2
    inception = 8 * 4 + (8 * 4 + 9 * 4 * 8) + (8 * 1 + 25 * 1 * 2) + 8 * 2
    head = (16 * 4 + 4) + (4 * 3 + 3) + (3 * 2 + 2)
    multiply_adds = 64 * 9 * 8 + 16 * inception + 16 * 4 + 4 * 3 + 3 * 2
    config = config_with(family="googlenet", **{**SMALL, "filters": 8, "reduction": 2})
    expected = 9 * 8 + inception + 2 * (8 + 5 + 16) + head, 2 * multiply_adds
    assert counted(config, ImageShape(1, 8, 8)) == expected


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
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


@pytest.mark.parametrize("family", BUILT)
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


SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224), (1, 64, 100), (70, 1, 256)]
NETWORKS: list[dict[str, Any]] = [
    {"family": "alexnet"},
    {"family": "vgg", "convolutions": 3},
    {"family": "googlenet"},
    {"family": "resnet", "blocks": 2},
    {"family": "resnet", "block": "bottleneck"},
    {"family": "senet", "squeeze_where": "last"},
    *({"family": "pretrained", "backbone": name} for name in get_args(Backbone)),
]


@pytest.mark.parametrize(
    "changes", NETWORKS, ids=lambda changes: "-".join(map(str, changes.values()))
)
def test_the_flops_are_those_that_torch_counts(changes: dict[str, Any]) -> None:
    config = config_with(layers=3, filters=8, **changes)
    for shape in SHAPES if "filters" in config.model_dump() else SHAPES[2:4]:
        with torch.device("meta"):
            model = build_model(config, ImageShape(*shape), 10).eval()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.empty(1, *shape))
        price = cost(config, ImageShape(*shape), 10)
        assert price.forward_flops == pytest.approx(counter.get_total_flops(), rel=0.01), shape
        assert price.parameters == sum(p.numel() for p in model.parameters())
        assert price.impossible is None


def kept_bytes(config: TrialConfig, shape: tuple[int, int, int]) -> int:
    """Return how many bytes of maps a training step keeps for its backward pass."""
    model = build_model(config, ImageShape(*shape), 10).train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(config.batch_size, *shape))
    return sum(size for at, size in kept.items() if at not in weights)


@pytest.mark.parametrize("changes", NETWORKS[:7], ids=str)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_memory_for_a_larger_batch_is_what_its_backward_pass_keeps(
    changes: dict[str, Any], activation: str
) -> None:
    shape = (3, 32, 32)
    few, many = (
        config_with(batch_size=n, activation=activation, filters=8, unfreeze="all", **changes)
        for n in (4, 8)
    )
    estimated = cost(many, ImageShape(*shape), 10).memory_bytes
    estimated -= cost(few, ImageShape(*shape), 10).memory_bytes
    measured = kept_bytes(many, shape) - kept_bytes(few, shape)
    # It counts a gradient or two in flight besides, and misses what is kept between layers.
    assert 0.9 * measured < estimated < 1.9 * measured


def test_frozen_weights_need_neither_gradients_nor_an_optimizer() -> None:
    shape = ImageShape(3, 32, 32)
    prices = {
        unfreeze: cost(config_with(family="pretrained", unfreeze=unfreeze), shape, 10)
        for unfreeze in ("none", "last", "all")
    }
    assert prices["none"].parameters == prices["all"].parameters > 11_000_000
    assert prices["none"].memory_bytes < prices["last"].memory_bytes < prices["all"].memory_bytes
    assert prices["none"].memory_bytes < 2 * 4 * prices["none"].parameters


def test_a_batch_in_parts_and_in_half_precision_needs_less_memory() -> None:
    shape, config = ImageShape(1, 28, 28), {"family": "resnet", "batch_size": 64}
    whole, parts, half = (
        cost(config_with(**config, **changes), shape, 10).memory_bytes
        for changes in ({}, {"micro_batches": 4}, {"precision": "bf16"})
    )
    assert parts < whole / 2
    assert whole / 3 < half < whole


def test_a_map_that_would_vanish_is_known() -> None:
    config = config_with(family="pretrained", backbone="convnext_tiny")
    impossible = cost(config, ImageShape(3, 8, 8), 10).impossible
    assert impossible is not None
    assert "no pixel would be left of a map of 1 x 1" in impossible
    assert cost(config, ImageShape(3, 32, 32), 10).impossible is None


@pytest.mark.parametrize(
    ("batch_size", "micro_batches", "possible"),
    [(1, 1, False), (2, 1, True), (4, 4, False), (5, 4, False), (6, 3, True), (8, 4, True)],
)
def test_one_pixel_of_one_image_cannot_be_normalised(
    batch_size: int, micro_batches: int, possible: bool
) -> None:
    sizes = {"batch_size": batch_size, "micro_batches": micro_batches}
    config = config_with(family="pretrained", unfreeze="all", **sizes)
    assert (cost(config, ImageShape(3, 32, 32), 10).impossible is None) == possible
    frozen = config_with(family="pretrained", unfreeze="none", **sizes)
    assert cost(frozen, ImageShape(3, 32, 32), 10).impossible is None


def test_the_compiler_of_torch_is_not_loaded_for_it() -> None:
    code = """
import sys
from made_configs import config_with
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
for family in ("alexnet", "vgg", "googlenet", "resnet", "senet"):
    cost(config_with(family=family), ImageShape(1, 28, 28), 10)
assert not {"torch._dynamo", "torchvision"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_what_goes_back_and_through_memory_is_the_sum_made_by_hand() -> None:
    # convolution 1 x 8 x 8 -> 2 x 8 x 8, pooled to 4 x 4, normalised, activated, head 32-4-3-2
    config = config_with(family="alexnet", **SMALL)
    price = cost(config, ImageShape(1, 8, 8), 2)
    first = 2 * 8 * 8 * 2 * 25  # images learn nothing: the first layer's weights alone do
    assert price.backward_flops == 2 * price.forward_flops - first
    convolution, pooling, normalisation, activation = 64 + 128, 128 + 32, 64, 64
    head = (32 + 4) + (4 + 4) * 2 + (4 + 3) + (3 + 3) * 2 + (3 + 2)
    assert price.moved == convolution + pooling + normalisation + activation + head
    assert price.layers == 11
