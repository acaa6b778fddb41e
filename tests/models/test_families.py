"""The families: any configuration makes a network that takes images and returns logits."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_configs import config_with
from torch import nn

from hpsearch.models.families import FAMILIES, build_model
from hpsearch.models.googlenet import Inception
from hpsearch.models.layers import (
    ACTIVATIONS,
    POOLINGS,
    ImageShape,
    halved,
    pool,
    smoothing,
    stem,
    stem_stride,
)
from hpsearch.models.resnet import Block
from hpsearch.models.senet import SqueezeExcitation
from hpsearch.study.axes import FAMILY_NAMES
from hpsearch.study.config import Activation, Pooling, TrialConfig, has

BUILT = [family for family in FAMILY_NAMES if has(family, "filters")]  # but for torchvision's
EACH = pytest.mark.parametrize("family", BUILT)
SHAPES = {
    "digits": (1, 8, 8),
    "grey": (1, 28, 28),
    "colour": (3, 32, 32),
    "photos": (3, 224, 224),
    "spectrograms": (1, 64, 100),
    "text": (70, 1, 256),
}


@st.composite
def configs(draw: st.DrawFn) -> TrialConfig:
    """Draw what decides a network, anywhere in the space that a study file may name."""
    return config_with(
        family=draw(st.sampled_from(BUILT)),
        filters=draw(st.integers(1, 2048)),
        layers=draw(st.integers(1, 8)),
        kernel_size=2 * draw(st.integers(0, 7)) + 1,
        units1=draw(st.integers(1, 8192)),
        units2=draw(st.integers(1, 8192)),
        activation=draw(st.sampled_from(get_args(Activation))),
        pooling=draw(st.sampled_from(get_args(Pooling))),
        batch_norm=draw(st.booleans()),
        convolutions=draw(st.integers(1, 8)),
        reduction=draw(st.integers(1, 64)),
        block=draw(st.sampled_from(["basic", "bottleneck"])),
        blocks=draw(st.integers(1, 4)),
        squeeze=draw(st.integers(1, 256)),
        squeeze_where=draw(st.sampled_from(["all", "last"])),
        dropout=draw(st.floats(0, 0.95)),
    )


sides = st.integers(8, 224)
channels = st.sampled_from([1, 3, 4])
image_shapes = st.builds(ImageShape, channels, sides, sides) | st.builds(
    lambda channels, side: ImageShape(channels, side, side), channels, sides
)
image_shapes |= st.builds(ImageShape, st.just(70), st.just(1), st.integers(8, 1014))


@settings(max_examples=120)
@given(configs(), image_shapes, st.integers(1, 200), st.integers(2, 5), st.booleans())
def test_any_network_turns_any_images_into_logits(
    config: TrialConfig, shape: ImageShape, classes: int, n: int, training: bool
) -> None:
    with torch.device("meta"):
        model = build_model(config, shape, classes).train(training)
        logits = model(torch.empty(n, shape.channels, shape.height, shape.width))
    assert logits.shape == (n, classes)


@settings(max_examples=30)
@given(configs(), image_shapes)
def test_one_image_alone_is_enough_to_ask_a_network(config: TrialConfig, shape: ImageShape) -> None:
    with torch.device("meta"):
        model = build_model(config, shape, 10).eval()
        image = torch.empty(1, shape.channels, shape.height, shape.width)
        assert model(image).shape == (1, 10)


@pytest.mark.parametrize("data", SHAPES)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_learns_from_every_kind_of_data(family: str, data: str) -> None:
    torch.manual_seed(0)
    shape = ImageShape(*SHAPES[data])
    model = build_model(config_with(family=family, unfreeze="all"), shape, 5).train()
    images = torch.randn(4, *SHAPES[data]).to(memory_format=torch.channels_last)
    logits = model(images)
    assert logits.shape == (4, 5)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def one_step(config: TrialConfig, side: int, classes: int = 10) -> nn.Module:
    """Return a network after one forward and one backward pass on random images."""
    torch.manual_seed(0)
    model = build_model(config, ImageShape(1, side, side), classes)
    images = torch.randn(6, 1, side, side).to(memory_format=torch.channels_last)
    loss = nn.functional.cross_entropy(model(images), torch.arange(6) % classes)
    loss.backward()
    return model


@EACH
@pytest.mark.parametrize("side", [8, 28])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": 8, "filters": 2},
        {"kernel_size": 15, "layers": 1, "pooling": "average", "activation": "elu"},
        {"batch_norm": False, "dropout": 0.0, "activation": "gelu"},
        {"block": "bottleneck", "blocks": 2, "squeeze_where": "last", "filters": 8},
    ],
    ids=["plain", "deep", "large kernel", "no normalisation", "bottleneck"],
)
def test_every_weight_of_a_network_learns(family: str, side: int, changes: dict[str, Any]) -> None:
    model = one_step(config_with(family=family, **{"activation": "silu", **changes}), side)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


@EACH
@pytest.mark.parametrize("side", [8, 28])
def test_a_training_batch_of_one_image_does_not_stop_normalisation(family: str, side: int) -> None:
    model = build_model(
        config_with(family=family, layers=8, filters=1), ImageShape(1, side, side), 3
    )
    logits = model.train()(torch.randn(1, 1, side, side))
    assert torch.isfinite(logits).all()


@EACH
def test_a_few_steps_lower_the_loss(family: str) -> None:
    torch.manual_seed(0)
    model = build_model(config_with(family=family, dropout=0.0), ImageShape(1, 8, 8), 2)
    targets = torch.arange(32) % 2
    images = torch.randn(32, 1, 8, 8) * 0.1 + targets[:, None, None, None]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@EACH
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(family: str) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        model = build_model(config_with(family=family, seed=seed), ImageShape(3, 16, 16), 5)
        return [weight.detach() for weight in model.parameters()]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@EACH
def test_asking_a_network_twice_gives_the_same_logits(family: str) -> None:
    model = build_model(config_with(family=family, dropout=0.5), ImageShape(3, 16, 16), 5).eval()
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(model(images), model(images))
    one_by_one = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), one_by_one)


@EACH
def test_the_values_of_a_config_decide_the_network(family: str) -> None:
    changes = {
        "filters": 6,
        "layers": 3,
        "kernel_size": 5,
        "units1": 9,
        "units2": 7,
        "activation": "gelu",
        "pooling": "average",
        "batch_norm": False,
        "dropout": 0.3,
        "convolutions": 3,
        "reduction": 3,
        "block": "bottleneck",
        "blocks": 2,
        "squeeze": 3,
        "squeeze_where": "last",
    }
    changes = {name: value for name, value in changes.items() if has(family, name)}
    shape = ImageShape(3, 32, 32)
    plain = str(build_model(config_with(family=family), shape, 5))
    networks = {
        str(build_model(config_with(family=family, **{key: value}), shape, 5))
        for key, value in changes.items()
    }
    assert len(networks - {plain}) == len(changes)


def test_the_families_are_different_networks() -> None:
    networks = [str(build_model(config_with(family=f), ImageShape(3, 32, 32), 5)) for f in FAMILIES]
    assert len(set(networks)) == len(FAMILIES)


def test_every_name_that_a_study_file_may_use_has_its_module() -> None:
    assert set(FAMILIES) == set(FAMILY_NAMES)
    assert set(ACTIVATIONS) == set(get_args(Activation))
    assert set(POOLINGS) == set(get_args(Pooling))


@EACH
def test_dropout_stands_in_the_head(family: str) -> None:
    model = build_model(config_with(family=family, dropout=0.25), ImageShape(1, 8, 8), 3)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [
        (8, 8, 1),
        (63, 63, 1),
        (64, 64, 2),
        (159, 159, 2),
        (160, 160, 4),
        (224, 224, 4),
        (32, 224, 1),
    ],
)
def test_the_stem_strides_over_large_images(height: int, width: int, stride: int) -> None:
    assert stem_stride(ImageShape(3, height, width)) == stride


@given(st.integers(1, 224), st.integers(1, 224), st.sampled_from(get_args(Pooling)))
def test_pooling_halves_long_axes_and_no_map_vanishes(
    height: int, width: int, name: Pooling
) -> None:
    pooled = pool(name, height, width)(torch.empty(1, 1, height, width, device="meta"))
    assert pooled.shape[2:] == (halved(height), halved(width))
    assert min(pooled.shape) >= 1
    assert halved(height) == (height if height < 4 else height // 2)
    smoothed = smoothing(name, (height, width))(torch.empty(1, 1, height, width, device="meta"))
    assert smoothed.shape[2:] == (height, width)


@given(st.integers(1, 224), st.integers(1, 224), st.integers(0, 7))
def test_a_stem_sees_every_pixel(height: int, width: int, half: int) -> None:
    images = torch.randn(1, 1, height, width, requires_grad=True)
    convolution = stem(ImageShape(1, height, width), 1, 2 * half + 1, bias=False)
    torch.nn.init.ones_(convolution.weight)
    (convolution(images) ** 2).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


# Signals


@EACH
def test_a_signal_has_kernels_and_pooling_along_the_axis_that_exists(family: str) -> None:
    config = config_with(family=family, layers=3, kernel_size=5)
    model = build_model(config, ImageShape(7, 1, 64), 3)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d)]
    windows = [m.kernel_size for m in layers if isinstance(m.kernel_size, tuple)]
    assert len(windows) == len(layers)
    assert {height for height, _ in windows} == {1}
    assert max(width for _, width in windows) >= 3


@EACH
def test_a_signal_that_runs_down_is_the_signal_that_runs_across(family: str) -> None:
    config = config_with(family=family, layers=3, kernel_size=5)
    across, down = (build_model(config, ImageShape(7, *size), 3) for size in ((1, 64), (64, 1)))
    turned = {
        name: weight.transpose(2, 3) if weight.ndim == 4 else weight
        for name, weight in across.state_dict().items()
    }
    down.load_state_dict(turned)
    signals = torch.randn(5, 7, 1, 64)
    torch.testing.assert_close(
        across.eval()(signals), down.eval()(signals.transpose(2, 3)), rtol=1e-3, atol=1e-4
    )


# What each paper is about


def test_a_vgg_stacks_3x3_convolutions_whose_filters_double_up_to_eight_times() -> None:
    config = config_with(family="vgg", filters=3, layers=5, convolutions=2)
    model = build_model(config, ImageShape(3, 32, 32), 5)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert {m.kernel_size for m in convolutions} == {(3, 3)}
    assert [m.out_channels for m in convolutions] == [3, 3, 6, 6, 12, 12, 24, 24, 24, 24]


def test_an_inception_block_is_its_four_branches_side_by_side() -> None:
    torch.manual_seed(0)
    config = config_with(family="googlenet", reduction=2, batch_norm=False)
    block = Inception(16, 32, (9, 9), config, nn.Identity())
    maps = torch.randn(2, 16, 9, 9)
    direct, reduced = block.direct(maps), block.reduced[0](maps).relu()
    branches = [
        direct[:, :8],  # 1 x 1
        block.conv3(reduced[:, :8]),  # of 16 / 2 inputs
        block.conv5(reduced[:, 8:]),  # of a quarter of those
        nn.functional.max_pool2d(direct[:, 8:], 3, stride=1, padding=1),
    ]
    assert [branch.shape[1] for branch in branches] == [8, 16, 4, 4]
    assert (block.conv3.kernel_size, block.conv5.kernel_size) == ((3, 3), (5, 5))
    assert block.conv5.in_channels == 2
    torch.testing.assert_close(block(maps), torch.cat(branches, dim=1).relu())


@pytest.mark.parametrize(("block", "kernels"), [("basic", [3, 3]), ("bottleneck", [1, 3, 1])])
def test_a_residual_block_adds_to_what_it_is_given(block: str, kernels: list[int]) -> None:
    config = config_with(family="resnet", block=block)
    made = Block(16, 16, (9, 9), config, [], nn.Identity())
    convolutions = [m for m in made.residual if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size[0] for m in convolutions] == kernels
    if block == "bottleneck":
        assert [m.out_channels for m in convolutions] == [4, 4, 16]
    nn.init.zeros_(convolutions[-1].weight)
    maps = torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(made(maps), maps.relu())


def test_a_resnet_has_as_many_blocks_in_each_stage_as_it_says() -> None:
    config = config_with(family="resnet", layers=3, blocks=4, filters=2)
    model = build_model(config, ImageShape(3, 32, 32), 5)
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    widths = [block.residual[0].out_channels for block in blocks]
    assert widths == [4] * 4 + [8] * 4 + [16] * 4


@pytest.mark.parametrize(("where", "count"), [("all", 6), ("last", 2)])
def test_a_senet_weighs_filters_in_all_blocks_or_in_those_of_the_last_stage(
    where: str, count: int
) -> None:
    config = config_with(family="senet", layers=3, blocks=2, squeeze_where=where, squeeze=4)
    model = build_model(config, ImageShape(3, 32, 32), 5)
    weighing = [m for m in model.modules() if isinstance(m, SqueezeExcitation)]
    assert len(weighing) == count
    squeezed = weighing[-1].weigh[0]
    assert isinstance(squeezed, nn.Linear)
    assert squeezed.out_features * 4 == squeezed.in_features


def test_squeeze_and_excitation_is_torchvisions() -> None:
    from torchvision import ops

    torch.manual_seed(0)
    theirs, ours = ops.SqueezeExcitation(12, 3), SqueezeExcitation(12, 3, nn.ReLU)
    for linear, convolution in ((ours.weigh[0], theirs.fc1), (ours.weigh[2], theirs.fc2)):
        nn.Module.load_state_dict(
            linear, {"weight": convolution.weight.flatten(1), "bias": convolution.bias}
        )
    maps = torch.randn(5, 12, 6, 7)
    torch.testing.assert_close(ours(maps), theirs(maps))
